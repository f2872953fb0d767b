"""Tiers: the ways of doing steps, and which one a run is on.

All of them compute the same, up to float rounding. Every change of tier is journaled, and what tier a step is done on
follows from the journal and the run's state alone, never from a clock or from who pulls: so a replay repeats it.
Within a tier, steps that do not fill what was compiled (the end of an epoch) are done eagerly. Machine code does one
step, and is called several times in a row: how often decides nothing, so that it may go by the clock and by who pulls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from nbopt.hyperparams import Tunable
from nbopt.i18n import _
from nbopt.training.compile.artifact import Artifact, sign
from nbopt.training.compile.background import BackgroundCompile
from nbopt.training.compile.captured import RECORDERS
from nbopt.training.compile.compiled import Compiled, Compiler
from nbopt.training.compile.marks import Marks
from nbopt.training.compile.obstacles import find_obstacle
from nbopt.training.compile.reads import Reads
from nbopt.training.compile.step import CannotCompile, Signature
from nbopt.training.core import Core
from nbopt.training.step.pace import Pace

Library = dict[Signature, Artifact | str]
"""What was compiled, by signature; where it failed, why. Runs of the same model and data share it."""

_SIZES = (4, 2, 1)  # steps of a graph, as each launch costs; a step of machine code costs the same alone
_MOST_STEPS = 32  # that are done in a row
_CALL_SECONDS = 0.01  # how long these may take at the speed that is known: changes act between two calls
_TRAINED_SECONDS = 5.0  # before compiling is thought of
_LEFT_SECONDS = 60.0  # ... and how much has to lie ahead, at the present speed
_WATCHED_SECONDS = 2.0  # how long a tier is watched before its speed is taken for known
_GAIN = 1.05  # what it must bring


class StepModes:
    """Decides how steps are done.

    Parameters
    ----------
    training : Core

    Attributes
    ----------
    steps : int
        Steps of what was compiled: 1 of machine code, several of a graph; 0 on the eager tier.
    reason : str
        Why the run is on its tier.
    library : dict
        See `Library`.
    held_until : int
        Before this step, the tier follows from the journal alone.
    room, planned : callable
        How many steps whoever pulls may want, 0 while each is to wait for its time; how many there are to the next
        planned change.
    """

    _signature = Signature(0, 0, torch.optim.Optimizer, Tunable, False, 0, (), False)
    _refused: frozenset[Signature] = frozenset()  # found no faster, or not suiting the model any more
    _kept: frozenset[Signature] = frozenset()  # judged, and found faster

    def __init__(self, training: Core) -> None:
        self.steps = self.held_until = 0
        self.reason = ""
        self.library: Library = {}
        self.room: Callable[[], float] = lambda: math.inf
        self.planned: Callable[[], float] = lambda: math.inf
        self._training = training
        self._pace = Pace()
        training.hyperparams.bind(self._pace)
        self._compiled: Compiled | None = None
        self._next: dict[str, Any] | None = None
        self._job: BackgroundCompile | None = None
        self._eager_speed = 0.0  # to judge the compiled tier by; 0 once it is judged
        self._since = (0, 0.0)  # the step and the trained seconds since when the speed is watched
        self._dirty = False
        self._captured = training.device.type in RECORDERS
        self._reads: Reads
        self._marks: Marks | None = None  # of the model when its code was read

    def reads(self) -> Reads:
        """Return what the model's code reads now."""
        if self._marks is None or not self._marks.are_same() or self._reads.watched.find_change():
            training = self._training
            self._reads, self._marks = Reads(training.model), Marks(training.model, training.torch_optimizer)
        return self._reads

    # -- which tier

    @property
    def place(self) -> dict[str, Any]:
        """The tier, as a snapshot holds it."""
        return {"steps": self.steps, "reason": self.reason}

    def restore(self, place: dict[str, Any]) -> None:
        """Be on the tier that a snapshot was taken on."""
        self.steps, self.reason = place.get("steps", 0), place.get("reason", "")
        self._signature = sign(self._training, self.steps)
        self._compiled, self._next, self._eager_speed = None, None, 0.0
        self._dirty = False
        self._watch()

    def note_change(self) -> None:
        """Take note that a hyperparameter changed."""
        self._dirty = True

    def due(self) -> dict[str, Any] | None:
        """Return the change of tier that is due before the next step, for the journal; None if there is none."""
        if self._dirty:
            self._dirty, self._next = False, None
            compiled = self._compiled
            if compiled is not None and (
                compiled.signature != sign(self._training, self.steps) or not compiled.adapt()
            ):
                self._compiled = None
            if not self.steps and sign(self._training, 0) != self._signature:
                self._signature = sign(self._training, 0)
                self._watch()
            if self.steps and (reason := self._unwanted()):
                return self._change(0, reason)
        if self._next is not None:
            change, self._next = self._next, None
            return change
        if self.steps > 1 and self.room() < self.steps and self._training.cursor.fills(self.steps):
            return self._change(0, _("fewer steps are to be done than one compiled call does"))
        return None

    def switch(self, change: dict[str, Any]) -> None:
        """Go to another tier, as `due` or the journal says."""
        self.steps, self.reason = change["steps"], change["reason"]
        self._signature = sign(self._training, self.steps)
        if self.steps and self._compiled is not None and self._compiled.signature != self._signature:
            self._compiled = None
        self._watch()

    def _change(self, steps: int, reason: str) -> dict[str, Any]:
        return {"from": self.steps, "steps": steps, "reason": reason}

    def _unwanted(self) -> str:
        if self._pace.tier == "eager":
            return _("as requested")
        if sign(self._training, self.steps) != self._signature:
            return _("this has to be recompiled")
        return find_obstacle(self._training)

    # -- steps

    def _count(self) -> int:
        """Return how many of the next steps may be done in a row by what was compiled."""
        training, steps, compiled = self._training, self.steps, self._compiled
        in_row = _most_in_row(compiled.step_seconds if compiled else math.inf)
        most = min(steps if steps > 1 else max(1, min(in_row, self.room())), self.planned())
        most = min(most, training.plan.ahead(training.step), training.acting.ahead(training.step, steps > 1))
        return training.cursor.count_full(int(most)) if most >= steps else 0

    def ready(self) -> tuple[Compiled, int] | None:
        """Return what does the next steps, and how many; None where the next one is to be done eagerly.

        Raises
        ------
        CannotCompile
            If a tier that the journal tells of cannot be had here.
        """
        count = self._count() if self.steps else 0
        if not count or count < self.steps:
            return None
        if self._compiled is None or not self._compiled.fits:
            found = self.library.get(self._signature)
            if found is None:
                found = self.library[self._signature] = Compiler(self._training, self.steps).make()
            if isinstance(found, str):
                raise CannotCompile(found)
            try:
                self._compiled = Compiled(self._training, found, self.steps)
            except CannotCompile as error:
                self._give_up(str(error))
                return None
        return self._compiled, count

    def _give_up(self, reason: str) -> None:
        """Leave the compiled tier: what was compiled suits the model no more."""
        self._refused |= {self._signature}  # the library keeps the code: a replay may come by it
        self._next = self._change(0, reason)

    # -- choosing

    def look(self) -> None:
        """Think about the tier, now and then; what comes of it is `due` before the next step."""
        training = self._training
        if training.step < self.held_until or self._next is not None:
            return
        if not self.room():  # the speed says nothing
            self._watch()
            return
        if self.steps:
            self._judge()
            return
        if self._pace.tier == "eager":
            self.reason = _("as requested")
            return
        if self._job is not None and self._job.is_alive():
            return
        if self._job is not None:
            self.library[self._job.signature], self._job = self._job.result, None
            self._watch()  # the speed so far was that beside the compiler
        steps, speed = self._find_ready(), self._speed()
        known = steps and (self._pace.tier == "compiled" or sign(training, steps) in self._kept)
        if not speed and not known:
            return
        steps = steps or (_fitting(speed) if self._captured else 1)
        signature = sign(training, steps)
        found = self.library.get(signature)
        if isinstance(found, str):
            self.reason = found
        elif found is not None and signature not in self._refused:
            if obstacle := find_obstacle(training):
                self.reason = obstacle
            elif self.room() >= 2 * steps:
                self._eager_speed = 0.0 if known else speed
                self._next = self._change(steps, self._told(steps))
        elif found is None and self._captured and self._pace.tier == "auto":
            self.reason = _('tier="compiled" captures them as a CUDA graph, not tested on a GPU yet')
        elif found is None and self._pays():
            self._begin(steps)

    def _begin(self, steps: int) -> None:
        training = self._training
        weights = [parameter for parameter in training.model.parameters() if parameter.requires_grad]
        self.reason = find_obstacle(training)
        if not self.reason and any(weight.grad is None for weight in weights):
            self.reason = _("some weights get no gradient")
        if not self.reason:
            try:
                self._job = BackgroundCompile(Compiler(training, steps))
            except Exception as error:  # the model as it is was never called like this
                self.reason = self.library[sign(training, steps)] = str(error) or type(error).__name__
                return
            self.reason = _("compiling in the background")
            if self._captured:
                self._job.run()  # takes no time worth a thread
            else:
                self._job.start()

    def _find_ready(self) -> int:
        """Return the steps of a call that there is for the run as it is now; 0 if there is none."""
        sizes = _SIZES if self._captured else (1,)
        ready = (steps for steps in sizes if isinstance(self.library.get(sign(self._training, steps)), Artifact))
        return next(ready, 0)

    def _watch(self) -> None:
        """Watch the speed from now on."""
        self._since = (self._training.step, self._training.meter.seconds)

    def _speed(self) -> float:
        """Return steps per second since what does them last changed; 0 while that is too short to tell."""
        step, seconds = self._since
        passed = self._training.meter.seconds - seconds
        return (self._training.step - step) / passed if passed > _WATCHED_SECONDS else 0.0

    def _pays(self) -> bool:
        """Whether the run goes on long enough to gain by compiling; asked for by hand, it always does."""
        training = self._training
        if self._pace.tier == "compiled":
            return True
        seconds, share = training.meter.seconds, training.share
        if seconds < _TRAINED_SECONDS or not training.plan.has_end:
            return seconds >= _TRAINED_SECONDS
        return share > 0 and seconds / share * (1 - share) > _LEFT_SECONDS

    def _told(self, steps: int) -> str:
        return _("captured as a graph, {steps} steps a launch", steps=steps) if self._captured else _("compiled")

    def _judge(self) -> None:
        """Go back if the tier brings nothing."""
        speed = self._speed()
        if not speed or not self._eager_speed or self._pace.tier == "compiled":
            return
        gain, self._eager_speed = speed / self._eager_speed, 0.0
        if gain < _GAIN:
            self._refused |= {self._signature}
            self._next = self._change(0, _("{tier}: {gain:.2f} times as fast", tier=self._told(self.steps), gain=gain))
        else:
            self._kept |= {self._signature}
            self.reason = _("{tier}: {gain:.1f} times as fast", tier=self._told(self.steps), gain=gain)


def _most_in_row(seconds: float) -> float:
    """Return how many steps may be done in a row, for changes to act soon, where one takes so long."""
    return min(_MOST_STEPS, _CALL_SECONDS // seconds)


def _fitting(speed: float) -> int:
    """Return how many of them a graph may do."""
    return next((steps for steps in _SIZES if steps <= _CALL_SECONDS * speed), 1)
