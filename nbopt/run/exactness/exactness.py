"""Whether steps done again give what they gave the first time: each value measured is held against the one recorded."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbopt.i18n import _
from nbopt.record.journal import EDIT, NOT_EXACT, SWITCH, TUNING, Journal, Operation
from nbopt.run.exactness.causes import find_causes
from nbopt.run.exactness.recorded import Recorded, are_alike, find_places, in_order
from nbopt.run.stored.fingerprint import circumstances
from nbopt.training.user_code.modes import find_modes

if TYPE_CHECKING:
    from nbopt.training.training import Training

_OWN = ("run", "guard")  # who does what nobody asked for


class Exactness:
    """Compares what a run measures with what was recorded, for as long as the same is done to it.

    Up to the step that a run is led back to, all has to be as it was. Beyond, it is compared until something else is
    done than the first time.

    Parameters
    ----------
    journal : Journal

    Attributes
    ----------
    compared : int
        Values measured again that were the same.
    """

    def __init__(self, journal: Journal) -> None:
        self.compared = 0
        self._journal = journal
        self._training: Training | None = None
        self._made_with: Mapping[str, Any] = {}
        self._modes: dict[str, None] = {}  # of torch, that steps were done in
        self._read = 0  # entries of the journal that were looked at
        self._parting: Any = None
        self._forget()

    def begin(self, training: Training) -> None:
        """Take note of what the steps of a run are done with, before the first."""
        self._training, self._made_with = training, circumstances(training)

    def note_modes(self, tell: Callable[[str], None]) -> None:
        """Take note of torch's modes around the steps that this thread is about to do, and ``tell`` of new ones."""
        for mode in find_modes():
            self._modes[mode] = None
            rule = _("steps done again elsewhere, and scripts, do not have it")
            tell(_("{mode} is on around this training: {rule}.", mode=mode, rule=rule))

    def _forget(self) -> None:
        self._recorded: Recorded | None = None
        self._promised = 0  # up to here, nothing else is to be done than the first time
        self._limit: float = math.inf  # the first step whose loss may be other, as something else was done
        self._touched: float = math.inf  # ... and the first that it was done to
        self._entries = -1  # of the journal, when the limit was found
        self._end = 0
        if self._training is not None:
            self._training.history.check = None

    @property
    def words(self) -> str:
        """What is known, in words; nothing where nothing was done again."""
        parted = self._find_parting()
        if parted is not None:
            return _("not exact: {reason}", reason=parted["reason"] if isinstance(parted, dict) else parted)
        if self._training is not None and self._training.lost:
            return _("not exact: {reason}", reason=self._training.lost)
        return _("exact") if self.compared else ""

    @property
    def verdict(self) -> bool | None:
        """Whether all that was done again was the same; None where nothing was."""
        if self._find_parting() is not None or (self._training is not None and self._training.lost):
            return False
        return True if self.compared else None

    def _find_parting(self) -> Any:
        """Return what the journal tells of the last time that the run was not exact; None if it always was."""
        entries = self._journal[self._read :]
        self._read += len(entries)
        for entry in entries:
            if entry.name == NOT_EXACT:
                self._parting = entry.new
        return self._parting

    # -- what is expected

    def record(self) -> Recorded:
        """Return what is recorded of the run: of a future that it gave up, too, if it has gone the same way since."""
        assert self._training is not None
        recorded, step = self._recorded, self._training.step
        if recorded is not None and recorded.end > step and self._compare_ways(recorded)[0] > step:
            return recorded
        return Recorded.of(self._training.history, self._journal, {**self._made_with, "modes": list(self._modes)})

    def expect(self, recorded: Recorded, promised: int) -> None:
        """Compare from now on what the run measures; all up to step ``promised`` is to be as recorded."""
        assert self._training is not None
        self._forget()
        self._recorded, self._promised, self._end = recorded, promised, recorded.end
        self._training.history.check = self._look

    def _find_limit(self, recorded: Recorded) -> float:
        """Return the first step that something else was done to than the first time."""
        if len(self._journal) != self._entries:
            self._entries = len(self._journal)
            self._limit, self._touched, other = self._compare_ways(recorded)
            if other is not None and other.step < self._promised and other.source in _OWN:
                self._part({"step": other.step, "name": other.name, "old": None, "new": None}, _describe_other(other))
        return self._limit

    def _compare_ways(self, recorded: Recorded) -> tuple[float, float, Operation | None]:
        """Return the first step whose loss may be another than the first time, the first that may be, and why."""
        was, now = recorded.operations, in_order(self._journal)
        pairs = zip(was, now, strict=False)
        alike = next((k for k, (one, other) in enumerate(pairs) if not are_alike(one, other)), min(len(was), len(now)))
        others = [*was[alike:], *now[alike:]]
        # A learning rate acts on what a step changes, not on the loss that it begins with.
        limit = min((operation.step + (operation.name == "lr") for operation in others), default=math.inf)
        first = min((operation.step for operation in others), default=math.inf)
        return limit, first, now[alike] if now[alike:] else None

    # -- comparing

    def _look(self, name: str, steps: Sequence[int] | NDArray[np.int64], values: Sequence[float]) -> None:
        """Compare values just measured."""
        recorded = self._recorded
        if recorded is None:
            return
        limit = self._find_limit(recorded)
        if steps[0] >= min(limit, self._end):
            if steps[0] >= self._promised:
                self._forget()
            return
        if name not in recorded.series:
            return
        steps, now = np.asarray(steps), np.asarray(values, np.float64)
        there, places = find_places(recorded.series[name][0], steps)
        there &= steps < (limit if name == "loss" or name.startswith("val_") else self._touched)
        steps, now, was = steps[there], now[there], recorded.series[name][1][places[there]]
        differ = np.flatnonzero((now.view(np.int64) != was.view(np.int64)) & ~(np.isnan(now) & np.isnan(was)))
        self.compared += len(now) if not len(differ) else int(differ[0])
        if len(differ):
            at = int(differ[0])
            step, old, new = int(steps[at]), float(was[at]), float(now[at])
            detail = {"step": step, "name": name, "old": old, "new": new}
            self._part(detail, f"{_describe(step, name, old, new)} {self._explain(recorded, step)}")

    def _part(self, detail: dict[str, Any], reason: str) -> None:
        """Tell where the run parted from what is recorded."""
        assert self._training is not None
        self._forget()
        self._journal.event(self._training.step, NOT_EXACT, {**detail, "reason": reason})
        with suppress(Warning):  # where they are errors: a word ends no run
            text = _("not exact: {reason} The run goes on from what it has now.", reason=reason)
            warnings.warn(text, stacklevel=2)

    def _explain(self, recorded: Recorded, step: int) -> str:
        """Say why, as far as that can be known."""
        assert self._training is not None
        try:
            causes = find_causes(self._training, recorded.made_with)
        except Exception:  # whatever objects of the user's do when they are looked at
            causes = []
        for operation in recorded.operations:
            if operation.name == SWITCH and operation.step <= step and operation.value.get("many"):
                causes.append(
                    _("the steps from {step} on were done {how}", step=operation.step, how=operation.value["reason"])
                )
            if operation.name == TUNING and operation.step <= step and operation.value.get("touched"):
                causes.append(_("by hand at step {step}, {what}", step=operation.step, what=operation.value["reason"]))
        if causes:
            return _("Why: {causes}.", causes="; ".join(causes))
        return _("The cause is not known: something that forward, loss or data read, perhaps, such as a file.")


def _describe_other(operation: Operation) -> str:
    if operation.name == SWITCH:
        return _(
            "from step {step} on, steps were done in another way than the first time ({what}), and may differ by "
            "rounding.",
            step=operation.step,
            what=operation.value["reason"],
        )
    value = operation.value["reason"] if operation.name == EDIT else operation.value
    return _(
        "at step {step}, {name} became {value}, which did not happen the first time.",
        step=operation.step,
        name=operation.name,
        value=value,
    )


def _describe(step: int, name: str, old: float, new: float) -> str:
    digits = next((count for count in range(4, 17) if f"{old:.{count}g}" != f"{new:.{count}g}"), 17)
    values = {"step": step, "name": name, "old": f"{old:.{digits}g}", "new": f"{new:.{digits}g}"}
    if name in ("loss", "lr"):
        return _("step {step} was done again, and its {name} is {new}; the first time it was {old}.", **values)
    return _("after step {step} was done again, {name} is {new}; the first time it was {old}.", **values)
