"""The panel of a population: its members as a fan of curves, as points, and as rows."""
