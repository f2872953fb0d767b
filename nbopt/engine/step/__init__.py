"""How a training step is done: one operation after the other, or compiled."""
