"""A run as a recipe and as a plain script."""
