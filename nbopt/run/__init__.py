"""A run: a training that a person steers, and its past."""
