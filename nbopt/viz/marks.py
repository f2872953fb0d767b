"""The marks that stand where a hyperparameter was changed."""

from __future__ import annotations

from typing import Any, NamedTuple

from nbopt.record.journal import Journal


class Mark(NamedTuple):
    """All changes at one step.

    Attributes
    ----------
    step : int
    text : str
        One line for each change: name, old and new value.
    """

    step: int
    text: str


def change_marks(journal: Journal) -> list[Mark]:
    """Return the marks of a run, in order; changes at one step share a mark."""
    marks: list[Mark] = []
    for entry in journal.changes():
        text = f"{entry.name} {number(entry.old)} → {number(entry.new)}"
        if marks and marks[-1].step == entry.step:
            text = f"{marks.pop().text}\n{text}"
        marks.append(Mark(entry.step, text))
    return marks


def brief(value: float) -> str:
    """Write a measurement with four digits."""
    return number(float(f"{value:.4g}"))


def number(value: Any) -> str:
    """Write a value as briefly as it can be read back: 0.001, 3e-5, 64, adam."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}"
    mantissa, exponent = f"{value:.5e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
