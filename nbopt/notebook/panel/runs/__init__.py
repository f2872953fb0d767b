"""Runs side by side: the list of runs in a panel, and which of them its charts show."""
