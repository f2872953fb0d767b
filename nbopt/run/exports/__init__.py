"""A run as a script, as a recipe and as a file."""
