"""Whether steps done again give what they gave the first time."""
