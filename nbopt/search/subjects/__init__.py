"""What a study trains, and how it is judged."""
