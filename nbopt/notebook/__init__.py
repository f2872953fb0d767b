"""The notebook side: panel, controls, curves and magics. The only folder that imports Jupyter."""
