"""The state of any Python object as JSON and tensors: taken down, put back, checked."""
