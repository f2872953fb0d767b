"""What a run is made of. Each file declares its own hyperparameters; the loop knows none of them by name."""
