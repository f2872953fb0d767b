"""How a process may end. It imports nothing that takes long, for each process imports it."""

import os


def end_with(code):
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)
