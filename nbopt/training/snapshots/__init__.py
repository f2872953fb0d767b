"""What a run keeps to go back to: snapshots taken and put back."""
