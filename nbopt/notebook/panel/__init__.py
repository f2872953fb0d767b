"""The panel: controls, transport and status."""
