"""An interrupt that comes between any two lines of nbopt."""

from __future__ import annotations

import dis
import sys
from functools import cache
from pathlib import Path

import nbopt

PACKAGE = str(Path(nbopt.__file__).parent)


@cache
def ends_of_blocks(code):
    """Return where ``with`` blocks of a function end: between their last line and the call that gives back their locks.

    An interrupt never comes there: Python looks for one after calls and at the begin of loops and functions only.
    """
    found, before = set(), []
    for step in dis.get_instructions(code):
        names = [instruction.opname for instruction in before[-3:]]
        if step.opname == "PRECALL" and step.arg == 2 and names == ["LOAD_CONST"] * 3:
            if all(instruction.argval is None for instruction in before[-3:]):
                found |= {instruction.offset for instruction in before[-3:]}
                found |= {instruction.offset for instruction in before[-4:-3] if instruction.opname == "SWAP"}
        before.append(step)
    return found


class Interrupt:
    """Raises KeyboardInterrupt in the ``with`` block, before line number ``at`` of nbopt's that is come by there."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.where = ""

    def __enter__(self):
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_error):
        sys.settrace(None)

    def _trace(self, frame, event, _argument):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line" and frame.f_lasti not in ends_of_blocks(frame.f_code):
            self.left -= 1
            if self.left == 0:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._trace
