"""What tests and notebooks that use one kernel after the other run in between."""

FORGET = """
from ipywidgets import Widget
from nbopt.notebook.panel.panel import retire
from nbopt.run.registry import live_runs
for run in live_runs():
    run.stop()
    retire(run)
Widget.close_all()
get_ipython().reset(new_session=False)
"""
"""Ends all runs, takes all widgets away, and leaves no name; what is imported stays imported."""
