"""Training: recipes, the loop, distributed processes, events."""
