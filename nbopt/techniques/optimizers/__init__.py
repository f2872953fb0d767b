"""Optimizers, and what becomes of gradients before a step."""
