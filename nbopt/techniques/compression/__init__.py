"""A model made smaller: fewer weights, fewer bits."""
