"""What a run leaves behind: journal, history, snapshots."""
