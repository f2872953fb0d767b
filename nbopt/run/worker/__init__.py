"""Who has a run's steps done: a thread of its own, or the caller's."""
