"""A step, a validation, and the one training loop."""
