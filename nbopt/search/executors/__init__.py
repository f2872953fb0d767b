"""Where trials are carried out: here, in threads, processes and populations, on a Ray cluster."""
