"""What widgets of several kinds share, and the bridge to the page."""
