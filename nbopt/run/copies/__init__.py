"""Copies of what a run trains, which have nothing in common with the originals but data."""
