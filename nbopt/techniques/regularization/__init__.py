"""What keeps a model from fitting too well, and training from going wrong."""
