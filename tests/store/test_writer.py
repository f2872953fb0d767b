from tests import zygote

AT_WORK = """
import threading, pathlib
import torch
from nbopt.store import writer

begun = threading.Event()

class Follower:
    folder = pathlib.Path("nowhere")
    is_over = False
    due = 0.0
    def update(self):
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            while threading.main_thread().is_alive():
                torch.randn(100_000).sort()
            for _each in range(20):
                torch.randn(100_000).sort()
        return True
    def leave(self): ...
    def stop(self): ...

writer.add(Follower())
begun.wait()
"""


def test_a_process_that_ends_waits_for_what_the_thread_is_at():
    """Otherwise Python breaks the thread off in the midst of torch's code, which aborts the process."""
    done = zygote.run(AT_WORK)
    assert done.returncode == 0, done.stderr
