"""Search: many runs under the same declarations, whose values a sampler chooses."""
