"""Plain data for every picture: named tuples of arrays and texts, no drawing."""
