"""The user's own functions that steps run, and what they read."""
