"""What is done to the inputs of a model."""
