"""A step, one operation after the other."""
