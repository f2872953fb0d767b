"""How large a run's model is, how fast, and what smaller ones would lose."""
