"""Populations: many runs that train as one, and what is found out by them."""
