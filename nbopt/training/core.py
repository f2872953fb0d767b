"""What everything in a training works on: its parts, and where it stands.

`nbopt.training.training` adds those who work on it, of whom this knows no more than what it tells them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nbopt.data.cursor import Cursor
from nbopt.data.noise import EVALUATION, NOISE, Noise, seed_of
from nbopt.data.sources import AnySource
from nbopt.formatting import brief, count
from nbopt.hyperparams import Hyperparams
from nbopt.i18n import _
from nbopt.objects.keeper import Keeper
from nbopt.record.history import History
from nbopt.record.snapshots import Snapshots
from nbopt.techniques.base import Technique
from nbopt.techniques.context import Context
from nbopt.techniques.losses.base import Loss
from nbopt.techniques.losses.choice import LOSS
from nbopt.techniques.metrics.choice import Metric
from nbopt.techniques.metrics.measuring import Measuring
from nbopt.techniques.optimizers.base import Optimizer
from nbopt.techniques.optimizers.groups import Groups
from nbopt.techniques.plan import Plan
from nbopt.training.active_hooks import ActiveHooks
from nbopt.training.compile.reads import Reads
from nbopt.training.failure import Failure, is_sound
from nbopt.training.loss_buffer import LossBuffer
from nbopt.training.material import Material
from nbopt.training.step.buffers import Buffers
from nbopt.training.step.eager import Eager, OutputBuffer
from nbopt.training.step.passes import Forward, ForwardPass

_LOOK_SECONDS = 0.1  # between two thoughts about the tier


Call = Callable[[Sequence[tuple[Tensor, Tensor]]], tuple[Tensor, Sequence[Tensor]]]
"""Does steps on their batches, some in each pair; returns losses and, if wanted, outputs, those of each pair."""


class Steps(Protocol):
    """What does the steps: `nbopt.training.stepper.Stepper`."""

    leaves_out: bool

    def choose(self) -> None:
        """Have steps done on weights, and by an optimizer, as they are now."""


class Modes(Protocol):
    """What decides how steps are done: `nbopt.training.step.mode.StepModes`."""

    steps: int
    held_until: int

    @property
    def place(self) -> dict[str, Any]:
        """The tier, as a snapshot holds it."""

    def note_change(self) -> None:
        """Take note that something changed that steps are done by."""

    def look(self) -> None:
        """Think about the tier."""

    def reads(self) -> Reads:
        """Return what the model's code reads now."""

    def ready(self) -> tuple[Call, int] | None:
        """Return what does the next steps, and how many, if anything but the eager step does."""


class Secures(Protocol):
    """What takes snapshots: `nbopt.training.snapshots.securing.Securing`."""

    def take_if_due(self) -> None:
        """Take one on the way, if the last is long enough ago."""


class Core:
    """Model, data and parts of one run, and what is known of the steps that were done.

    Attributes
    ----------
    step : int
        Steps completed.
    validation_due : bool
        Whether an epoch, or what is to be validated of one, is complete and not yet judged.
    trouble : Failure or None
        What has to be put right before the next step.
    material : Material
    groups : Groups
    half_done : bool
        Whether something is under way: what an interrupt leaves so, `Worker.put_right` does again.
    edits : list of dict
        What was made of the model's shape, as the journal has it.
    given : dict of str to Module
        The modules that these were given by the user, by their fingerprints.
    around : callable
        Yields all that the user's objects lead to, with the way there.
    lost : str
        What a snapshot could not put back, in words.
    undoing : list of list
        For each of these, how the model gets back the structure that it had before, see
        `nbopt.training.structure.structure`.
    may_end : bool
        Whether anything happened since `end_reason` was asked that could be a reason.
    restored_at : int
        The step after which the best weights were put back last; -1 for none.
    """

    loss: Loss
    optimizer: Optimizer
    torch_optimizer: torch.optim.Optimizer
    stepper: Steps
    tiers: Modes
    securing: Secures

    def __init__(
        self,
        train: AnySource,
        val: AnySource | None,
        hyperparams: Hyperparams,
        history: History,
        metrics: dict[str, Metric],
        material: Material,
        forward: Forward | None,
        optimizer: torch.optim.Optimizer | None,
        seed: int,
        device: torch.device,
        techniques: Sequence[Technique] = (),
    ) -> None:
        self.model = model = material.model
        self.val = val
        self.hyperparams = hyperparams
        self.history = history
        self.step = 0
        self.validation_due = False
        self.trouble: Failure | None = None
        self.half_done = False
        self.best_weights: dict[str, Any] = {}  # a state_dict
        self.edits: list[dict[str, Any]] = []
        self.given: dict[str, nn.Module | None] = {}
        self.undoing: list[list[Any]] = []
        self.lost = ""
        self.around: Callable[[], Iterable[tuple[str, Any]]] = tuple
        self.keeper = Keeper()
        self.snapshots = Snapshots()
        self.metrics = metrics
        self.device = device
        self.noise = Noise(device)
        self.evaluation_seed = seed_of(seed, EVALUATION)
        self.measuring = Measuring(metrics)
        self.recent = OutputBuffer(self.measuring.places)
        self.material = material
        self.buffers = Buffers([model, *material.others.values()])
        self.parts_compared = False  # whether samples that are evaluated in parts were found independent
        self.most_evaluated = 0  # samples that a validation may evaluate at once; 0: as many as its batches have
        material.settle()
        self.resettled: dict[str, Any] = {}  # hyperparameters that the hand set in the optimizer
        self.touched = ""  # what the user's hand changed and is not journaled yet, in words
        self.is_tuned = False  # whether the user changed what trains, and it was not journaled yet
        self.params = list(self.material.parameters.values())
        self.groups = Groups(self.params, optimizer)
        self.groups.resting = self.find_resting()
        self.restored_at = -1
        self.may_end = True
        self._look_at = 0.0

        self.cursor = Cursor(train, seed)
        self.plan = Plan()
        for part in (self.cursor, self.plan):
            hyperparams.bind(part)
        measures = [name for technique in techniques for name in technique.measures]
        kinds: Any = hyperparams.spec(LOSS.name)
        measures += [name for kind in kinds.classes.values() for name in kind.measures]
        self.techniques = techniques
        self.context = Context(model, device, seed, self, measures)
        self.acting = ActiveHooks(hyperparams, self.find_trained(), train, self.context, techniques)
        self.judge = self.acting.judging
        self.meter = LossBuffer(history, self.acting)
        self.pass_ = ForwardPass(model, forward, (train, val), self.acting, self.measuring, self.noise)
        self.pass_.calibration.peek = self.cursor.peek
        self.eager = Eager(self.pass_, self.params, self.noise, seed_of(seed, NOISE), self.recent)

    @property
    def step_seed(self) -> int:
        """What the noise of a step follows from, with its number."""
        return self.eager.seed

    @step_seed.setter
    def step_seed(self, seed: int) -> None:
        self.eager.seed = seed

    @property
    def share(self) -> float:
        """The part of the run that is done, from 0 to 1."""
        return self.plan.share(self.step, self.cursor.progress)

    def measure_anew(self, why: str = "scale") -> None:
        """Take note that losses have another size from the next batch on, see `Hooks.losses_change`."""
        for note in self.acting.losses_change:
            note(why)
        if why == "loss":  # those before are not comparable: the next validation is the best so far
            self.best_weights = {}
        self.pass_.look_again()

    # -- what trains

    def find_resting(self) -> set[int]:
        """Return the ids of the weights that do not train."""
        return {id(self.material.parameters[name]) for name in self.material.resting}

    def find_trained(self) -> list[nn.Parameter]:
        """Return the weights that steps move, in the model's order: those of the optimizer that are not frozen."""
        held = {id(weight) for group in self.groups.trained for weight in group}
        return [weight for weight in self.params if id(weight) in held]

    def notice(self) -> None:
        """Look whether the user froze or unfroze weights, or set anything by hand."""
        self.is_tuned = bool(self.resettled) or self.find_tuning() is not None

    def look_soon(self) -> None:
        """Look so after this step."""
        self._look_at = 0.0

    def find_tuning(self) -> dict[str, Any] | None:
        """Return what the user changed in model and optimizer since they were last looked at; None if nothing."""
        change, touched = self.material.find_change(), self.touched
        if touched:
            change = change or {**self.material.place(), "reason": ""}
            change.update(reason="; ".join(filter(None, [change["reason"], touched])), touched=True)
        return change

    # -- between two steps

    def advance(self, count: int) -> None:
        """Take note that ``count`` steps are done: go on to the next batch, and look at what is due."""
        self.step += count
        try:
            done = self.cursor.advance(count)
        except Exception:  # the next batch could not be had: this step is done
            self.half_done = False
            raise
        if done:
            self.end_epoch(done)
        plan = self.plan
        if (plan.validate_every or plan.steps) and plan.validates_step(self.step):  # most runs have neither
            self.validation_due = self.may_end = True
        self.half_done = False
        now = time.perf_counter()
        if now >= self.meter.due:
            self.flush()
        if now >= self._look_at:  # not with the losses: validations move them too, and would put this off
            self._look_at = now + _LOOK_SECONDS
            self.buffers.look()
            self.notice()
            self.tiers.look()

    def end_epoch(self, done: bool) -> None:
        """Take note that an epoch is complete, if it is ``done``."""
        if done and self.plan.validates_epoch(self.step, self.cursor.epoch):
            self.validation_due = self.may_end = True

    def flush(self) -> None:
        """Move the losses measured since the last flush to the history; look at them, and take a snapshot if due."""
        news = self.meter.waiting
        before, self.half_done = self.half_done, True
        sound = partial(is_sound, self.stepper.leaves_out, self.groups.trained, self.pass_.tell)
        wrong = self.meter.flush(self.step, self.cursor.progress, sound)
        self.context.hand_over(self.history.append)
        if self.history.is_thinned:
            text = _("after so many steps, the history keeps only the extremes of the older losses.")
            self.pass_.tell(text)
            self.history.is_thinned = False
        if wrong is not None:
            step, loss = wrong
            text = _("loss {loss} in step {step}", loss=brief(loss), step=count(step))
            self.trouble = Failure(step, text, memory=False, loss=loss)
        self.half_done = before
        if news and self.trouble is None:
            self.securing.take_if_due()
