"""The page as folders for hosts."""
