"""Models as small files."""
