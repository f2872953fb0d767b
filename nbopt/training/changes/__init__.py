"""Changes of hyperparameters: asked for, applied between two steps, and what follows from them."""
