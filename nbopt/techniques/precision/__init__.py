"""Number formats and memory formats."""
