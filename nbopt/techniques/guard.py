"""The guard against divergence: it sees a loss go wrong; the engine goes back and cuts the learning rate."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nbopt.hyperparams import Flag
from nbopt.i18n import N_
from nbopt.objects.plain import is_number
from nbopt.techniques.base import Technique
from nbopt.techniques.own_lines import OwnLines, Told

_EXPLODED = 1000.0
_BLOCK = 100  # losses whose median tells how large losses are by now
_GROWTH = 2.0  # how much larger than before that may be; what grows faster explodes


class Guard(Technique):
    """Tells whether losses are still sane: finite, and below a thousand times their usual size.

    A run then goes back to an earlier snapshot, as is done by hand where a loss spikes (Chowdhery et al. 2022, section
    5.1).

    The usual size is that of an output that knows nothing, or of the first loss if that is larger, and never falls: a
    loss near 0 is no reason to expect another one. It follows losses that grow slowly, as a critic's may. Negative
    losses are good ones, however large. All of it depends on the losses and the changes made alone, so that a replay
    finds the same.
    """

    recover = Flag(
        True,
        label=N_("Recover from divergence"),
        group=N_("Safety"),
        help=N_("If the loss explodes or is NaN, go back to the last good snapshot and lower the learning rate."),
    )

    memory: ClassVar[tuple[str, ...]] = ("state",)
    compiles = True
    off: ClassVar[Mapping[str, Any]] = {"recover": False}

    def __init__(self) -> None:
        self.renew()
        self._usual: float | None = None
        self._floor, self._known = 1.0, False
        self._block: list[float] = []

    @classmethod
    def own_lines(cls, told: Told) -> OwnLines:
        """Nothing: what it did is in the schedule."""
        return OwnLines()

    def renew(self) -> None:
        """Take note that losses have another size from the next step on."""
        self.waits = True
        self._block = []

    def forget(self) -> None:
        """Take the next loss for usual, whatever losses were before: the weights are others."""
        self.renew()
        self._usual = None

    def losses_change(self, why: str) -> None:
        """Learn at the next batch how large losses are."""
        if why == "weights":
            self.forget()
        else:
            self.renew()

    def expect_loss(self, size: float, known: bool) -> None:
        """Take note of the size to expect, at the first batch after `renew`.

        From one known size to another, the usual size changes as they do; otherwise the next loss, of weights that no
        step with another loss has touched yet, is taken for usual.
        """
        if not self.waits:
            return
        floor = size
        if not (math.isfinite(floor) and floor > 0):
            floor, known = 1.0, False
        if self._usual is not None and known and self._known:
            self._usual = min(self._usual * (floor / self._floor), sys.float_info.max)
        else:
            self._usual = None
        self._floor, self._known, self.waits = floor, known, False

    def find_trouble(self, losses: Sequence[float], sound: bool = False) -> int | None:
        """Return the index of the first loss gone wrong, or None.

        Where the weights are ``sound``, a loss that is no number is that of a batch in which nothing counts: its
        gradient is 0.
        """
        start = 0
        while start < len(losses):
            part = losses[start : start + _BLOCK - len(self._block)]
            wrong = self._look_at(part, sound)
            if wrong is not None and self.recover:
                return start + wrong
            self._block += filter(math.isfinite, part)
            if len(self._block) >= _BLOCK:
                self._follow()
            start += len(part)
        return None

    def _look_at(self, losses: Sequence[float], sound: bool) -> int | None:
        if self._usual is None:
            first = next(filter(math.isfinite, losses), None)
            if first is None:
                return next((k for k, loss in enumerate(losses) if not (sound and math.isnan(loss))), None)
            self._usual = max(abs(first), self._floor)
        limit = min(_EXPLODED * self._usual, sys.float_info.max)
        if math.isfinite(sum(losses)) and max(losses) <= limit:  # as nearly always
            return None
        passed = [(sound and math.isnan(loss)) or -math.inf < loss <= limit for loss in losses]
        return None if all(passed) else passed.index(False)

    def _follow(self) -> None:
        assert self._usual is not None
        size = statistics.median(map(abs, self._block))
        self._usual = max(self._usual, min(size, _GROWTH * self._usual))
        self._block = []

    # -- snapshots

    @property
    def state(self) -> dict[str, Any]:
        """What it knows, as JSON can hold it."""
        return {
            "usual": self._usual,
            "floor": self._floor,
            "known": self._known,
            "waits": self.waits,
            "block": list(self._block),
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        if not state:  # of a run stored by an earlier version
            self.forget()
            return
        self._usual, self._floor, self._known = state["usual"], state["floor"], state["known"]
        self.waits, self._block = state["waits"], list(state["block"])

    @classmethod
    def recall(cls, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return its memory from a snapshot of an earlier version, of which the earliest had none."""
        return {"state": facts.get("guard", {})}

    @classmethod
    def is_memory(cls, memory: Mapping[str, Any]) -> bool:
        """Whether these are numbers and flags."""
        state = memory["state"]
        if not state:
            return isinstance(state, dict)
        flags = all(isinstance(state[name], bool) for name in ("known", "waits"))
        usual = state["usual"] is None or is_number(state["usual"])
        return flags and usual and is_number(state["floor"]) and all(map(is_number, state["block"]))
