"""The part of a panel that tells of a model's size."""
