"""The space of a study: which values its trials may have."""
