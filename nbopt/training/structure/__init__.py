"""A model's structure, and what changes it in the midst of a run."""
