"""What is found out of a run's size and quality while somebody looks: on a copy, between two steps of the run."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from nbopt.errors import tell_error
from nbopt.formatting import count
from nbopt.i18n import _
from nbopt.record.snapshots import Snapshot
from nbopt.run.exports.artifact import find_computed, measure_kernels, size_in_full
from nbopt.run.size.kernels import Kernel
from nbopt.run.size.latency import Latency
from nbopt.run.size.layers import Layer, list_layers, macs_of, time_pass
from nbopt.run.size.others import next_other, stamp_of
from nbopt.run.size.probe import CannotMeasure, Probe, Slices
from nbopt.run.size.state import Sizes, State, find_state, pack_all, spread, state_of, structure_of
from nbopt.run.size.tradeoff import Tradeoff, find_compressing, sensitivity, sensitivity_of_inputs, tradeoff, values_of
from nbopt.run.trained import TrainedSession
from nbopt.training.state import RunState
from nbopt.training.validation import measure

_SHARE = 0.1  # of the time of a run that trains
_EVERY_SECONDS = 1.0  # between two looks at a run that trains
_TRAIL = 60  # states that are remembered
_SNAPSHOTS = 24  # that are looked at
_LOWER = ("loss", "mae", "rmse")


class Explorer:
    """Keeps up to date where a run's model stands, and finds out what is asked for, one thing after the other.

    Parameters
    ----------
    run : TrainedSession
        Not changed by a bit, nor is its journal.
    wake : callable
        Called, from any thread, when something new was found out.
    is_seen : callable
        Whether anybody looks; while nobody does, nothing is found out beside a run that trains.

    Attributes
    ----------
    metric : str
        The measurement that models are judged by: the first metric of the run's validations, or else their loss.
    trail : list of State
        Where the model was, oldest first; the last one is where it is.
    full : State or None
        The same weights as they are, none of them pruned or rounded.
    others : dict of str to (str, State)
        The runs of its family that are at rest, by ``id``, each with its name.
    layers : list of Layer
    packed : Sizes
        Of the file that the run would write.
    stored : dict of int to State
        Where the model was at the run's snapshots, by step.
    lost, lost_inputs : dict of str to float
        By how much the score is worse where one layer's weights alone, or its inputs, are compressed, by layer.
    tradeoffs : dict of str to Tradeoff
        The newest by hyperparameter.
    latencies : dict of str to Latency
        Of forward passes, by the structures of models (`State.structure`), as measured last.
    kernels : list of Kernel
        Files that the run would write, and how long they take, as measured last.
    at_work, problem : str
        What is being found out, and why the last thing could not be, in words.
    """

    def __init__(
        self,
        run: TrainedSession,
        wake: Callable[[], None] = lambda: None,
        is_seen: Callable[[], bool] = lambda: True,
    ) -> None:
        own = [name for name in run.measures if name not in ("loss", *_LOWER)]
        self.metric = f"val_{own[0]}" if own else "val_loss"
        self.trail: list[State] = []
        self.full: State | None = None
        self.others: dict[str, tuple[str, State]] = {}
        self.layers: list[Layer] = []
        self.packed = Sizes(0, {}, {})
        self.stored: dict[int, State] = {}
        self.lost: dict[str, float] = {}
        self.lost_inputs: dict[str, float] = {}
        self.tradeoffs: dict[str, Tradeoff] = {}
        self.latencies: dict[str, Latency] = {}
        self.kernels: list[Kernel] = []
        self.at_work = self.problem = ""
        self._run, self._wake, self._is_seen = run, wake, is_seen
        self._probe: Probe | None = None
        self._macs: Counter[str] = Counter()
        self._shape: Any = None  # the edits that the model had when its operations were counted
        self._stamp: Any = None
        self._seen_at = 0.0
        self._jobs: deque[tuple[str, Callable[[], Slices]]] = deque()
        self._known: dict[str, Any] = {}
        self._samples = 0  # that latency is measured with, once it was asked for
        self._past: dict[int, Any] = {}  # what tells whether a snapshot is the one that was looked at
        self._stir, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower score is a better one."""
        name = self.metric.removeprefix("val_")
        return name in _LOWER or any(name.endswith(f"_{low}") for low in _LOWER)

    @property
    def compressing(self) -> dict[str, list[str]]:
        """See `find_compressing`."""
        return find_compressing(self._run.training)

    # -- what is asked for, on any thread

    def begin(self) -> None:
        """Look where the model is, now and whenever that changes."""
        if self._thread is None:
            self._run.watch(self._stir.set)
            self._thread = threading.Thread(target=self._work, name=f"nbopt sizes of {self._run.name}", daemon=True)
            self._thread.start()

    def sweep(self, name: str, by: str = "") -> None:
        """Find out what the score is with all values of a hyperparameter, and all ways ``by`` another one."""
        self._ask(_("Sweep of {name}", name=self._run.hyperparams.label(name)), lambda: self._sweep(name, by))

    def find_sensitivity(self) -> None:
        """Find out what each layer alone costs."""
        self._ask(_("Sensitivity of each layer"), self._sensitivity)

    def time(self, samples: int) -> None:
        """Measure how long the model takes for so many samples."""
        self._samples, self.latencies = samples, {}
        self._known.clear()  # others are measured when they are looked at
        self._ask(_("Latency"), lambda: self._time(samples))

    def find_kernels(self, samples: int) -> None:
        """Write the model for ONNX Runtime, and measure how long the files take for so many samples."""
        self._ask(_("ONNX Runtime"), lambda: self._find_kernels(samples))

    def close(self) -> None:
        """Find out nothing any more."""
        self._closing.set()
        self._stir.set()
        self._run.unwatch(self._stir.set)

    def _ask(self, what: str, begin: Callable[[], Slices]) -> None:
        self.problem = ""
        self._jobs.append((what, begin))
        self.begin()
        self._stir.set()

    # -- on a thread of its own

    def _work(self) -> None:
        while not self._closing.is_set():
            self._stir.clear()  # before anything is looked at: what changes from here on is looked at next
            if self._is_new:
                self._find(self._run, _("Where the model is"), self._look)
            elif self._jobs:
                self._find(self._run, *self._jobs.popleft())
            elif (other := next_other(self._run, self._known)) is not None:
                self._find(other, _("Where {name} is", name=other.name), lambda: self._look_at(other))
            elif (snapshot := self._next_snapshot()) is not None:
                step = count(snapshot.step)
                self._find(self._run, _("Where step {step} was", step=step), lambda: self._look_back(snapshot))
            else:
                self._stir.wait(_EVERY_SECONDS)  # of other runs, nobody says so

    @property
    def _is_training(self) -> bool:
        return self._run.state is RunState.RUNNING

    @property
    def _is_new(self) -> bool:
        """Whether the run is not where it was, and it is time to look."""
        if self._stamp == stamp_of(self._run):
            return False
        since = time.monotonic() - self._seen_at
        return not self._is_training or (self._is_seen() and since > _EVERY_SECONDS)

    def _next_snapshot(self) -> Snapshot | None:
        """Return one of a resting run's snapshots that was not looked at yet."""
        if self._is_training or not self.trail:
            return None
        kept = spread([*self._run.snapshots], _SNAPSHOTS)
        steps = {each.step for each in kept}
        self.stored = {step: state for step, state in self.stored.items() if step in steps}
        return next((each for each in kept if self._past.get(each.step) is not each.facts), None)

    def _find(self, run: TrainedSession, what: str, begin: Callable[[], Slices]) -> None:
        """Do a job slice by slice, each between two steps of a run."""
        self.at_work = what
        self._wake()
        try:
            slices = begin()
            sent: Any = None
            while not self._closing.is_set():
                is_done, beside = run.worker.between_steps(partial(self._slice, slices, sent))
                if is_done:
                    break
                sent = None if beside is None else beside()
                if run.state is RunState.RUNNING:
                    self._closing.wait(self._took * (1 / _SHARE - 1))
                else:
                    time.sleep(0)  # others want the run's lock, too
        except Exception as error:  # whatever model, loss or data of the user's raise
            self.problem = str(error) if isinstance(error, CannotMeasure) else tell_error(error)
        self.at_work = ""
        self._wake()

    def _slice(self, slices: Slices, sent: Any) -> tuple[bool, Callable[[], Any] | None]:
        """Do some of a job; return whether it is done, and what is to be done beside the run's steps."""
        start = time.perf_counter()
        try:
            return False, slices.send(sent)
        except StopIteration:
            return True, None
        finally:
            device = self._run.device.torch
            if device.type == "cuda":  # what was begun there keeps the run's own steps waiting
                torch.cuda.synchronize(device)
            self._took = time.perf_counter() - start

    def _renewed(self) -> Probe:
        """Return a copy of the run as it is now; called between two steps."""
        if self._probe is None:
            self._probe = Probe(self._run)
        else:
            self._probe.renew()
        return self._probe

    def _look(self) -> Slices:
        self._stamp, self.problem = stamp_of(self._run), ""
        probe = self._renewed()
        training = probe.training
        scores = yield from probe.score()
        if self._shape != [*training.edits]:
            self._macs, self._shape = macs_of(training), [*training.edits]
            self.lost, self.lost_inputs, self.tradeoffs = {}, {}, {}
            yield
        layers = list_layers(training, self._macs)
        found = find_computed(probe.copy)
        packed = yield lambda: pack_all(found)
        self.layers, self.packed = layers, packed
        now = state_of(probe, scores.get(self.metric), layers, self._macs, packed.total)
        if training.acting.change_weights or training.acting.change_activations:
            with probe.computing_with({}):
                scores = yield from measure(training)
            full = state_of(probe, scores.get(self.metric), layers, self._macs, size_in_full(found))
            self.full = full._replace(nonzero=full.parameters, values={})
        self.trail = [*self.trail, now][-_TRAIL:]
        self._seen_at = time.monotonic()

    def _sweep(self, name: str, by: str) -> Slices:
        probe = self._renewed()
        values = values_of(self._run.hyperparams, name)
        self.tradeoffs = {**self.tradeoffs, name: (yield from tradeoff(probe, self.metric, name, values, by))}

    def _sensitivity(self) -> Slices:
        probe = self._renewed()
        self.lost = self._worse((yield from sensitivity(probe, self.metric, self.layers)))
        self.lost_inputs = self._worse((yield from sensitivity_of_inputs(probe, self.metric, self.layers)))

    def _worse(self, scores: dict[str, float]) -> dict[str, float]:
        """Return by how much scores are worse than that of ""."""
        whole, sign = scores.pop("", 0.0), 1 if self.lower_is_better else -1
        return {layer: sign * (score - whole) for layer, score in scores.items()}

    def _time(self, samples: int) -> Slices:
        yield
        self._measure(self._renewed(), samples)

    def _measure(self, probe: Probe, samples: int) -> None:
        with probe.computing_with({}):
            found = time_pass(probe.training, samples)
        self.latencies = {**self.latencies, structure_of(probe.training): found}

    def _find_kernels(self, samples: int) -> Slices:
        self.kernels = yield lambda: measure_kernels(self._run, samples)

    def _look_back(self, snapshot: Snapshot) -> Slices:
        self._past[snapshot.step] = snapshot.facts
        probe = self._renewed()
        probe.go_to(snapshot)
        self.stored = {**self.stored, snapshot.step: (yield from find_state(probe, self.metric))}

    def _look_at(self, other: TrainedSession) -> Slices:
        self._known[other.id] = stamp_of(other)
        probe = Probe(other)
        state = yield from find_state(probe, self.metric)
        self.others = {**self.others, other.id: (other.name, state)}
        if self._samples and state.structure not in self.latencies:
            self._measure(probe, self._samples)
