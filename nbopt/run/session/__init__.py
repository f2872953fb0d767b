"""What can be shown and steered in a panel, whatever trains in it."""
