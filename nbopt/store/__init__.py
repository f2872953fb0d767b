"""The store: runs outlive their process."""
