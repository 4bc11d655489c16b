"""serdemo: which emotion a voice carries."""

__version__ = "0.1.0"
