"""What a run leaves behind: its journal of changes and its history of measurements."""
