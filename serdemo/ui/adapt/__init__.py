"""The tab section that adapts a model to one voice."""
