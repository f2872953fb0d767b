"""What somebody takes away from a panel: curves, settings, a report."""
