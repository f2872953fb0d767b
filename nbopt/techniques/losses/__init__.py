"""Losses, and what is known of each."""
