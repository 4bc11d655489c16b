"""The tab Recognise."""
