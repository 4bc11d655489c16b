"""The page as a folder of files, with no server behind it."""
