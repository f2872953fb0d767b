"""What a study has found, as numbers, tables and pages."""
