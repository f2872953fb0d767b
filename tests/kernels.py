"""What tests run in kernels: in between, where one test uses a kernel after the other, and to keep compilers out."""

FORGET = """
from ipywidgets import Widget
from nbopt.notebook.panel.panel import retire
from nbopt.run.session.registry import live_runs
for run in live_runs():
    run.stop()
    retire(run)
Widget.close_all()
get_ipython().reset(new_session=False)  # collects all garbage
__import__("gc").freeze()
"""
"""Ends all runs, takes all widgets away, and leaves no name; what is imported stays imported.

The garbage collector leaves to themselves what is left then, which it takes a fifth of a second to look at.
"""

STAY_EAGER = """
import nbopt.training.many.compiled, nbopt.training.step.mode
nbopt.training.many.compiled._TRAINED_SECONDS = nbopt.training.step.mode._TRAINED_SECONDS = 1e9
nbopt.training.many.compiled._KEPT_TRAINED = 1e9
"""
"""Has no run compile its steps because it trains for long: compilers beside the tests take more time than they do.

Nor does any take what was compiled before, on which no test is to depend.
"""

AFTER_EACH_CELL = f"""
def _stay_eager(*_results, ways={STAY_EAGER!r}):
    import sys
    if "nbopt.training.many.compiled" in sys.modules:
        exec(ways, {{}})

get_ipython().events.register("post_run_cell", _stay_eager)
"""
"""The same, as a kernel's startup file: it imports nothing that a cell has not."""

FREEZE = """
__import__("gc").collect()
__import__("gc").freeze()
"""
"""Has the garbage collector look at nothing that is there: what notebooks have imported takes it 0.2 s each time."""
