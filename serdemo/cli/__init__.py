"""The commands, their flags, and what they show in a terminal."""
