"""The one training loop, and the run that drives it."""
