"""Who chooses the values of trials, and which trials end early."""
