"""Several steps as one call of machine code, or as one CUDA graph."""
