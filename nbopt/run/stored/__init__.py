"""A run in the store, and opened again."""
