"""The panel of a study, in a notebook."""
