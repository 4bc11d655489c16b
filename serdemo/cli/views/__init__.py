"""Results printed to the terminal."""
