"""The material of a run once data and model are known: what a step does, what a validation does.

Knows nothing of threads, pauses or notebooks. `nbopt.engine.loop` calls it in order; whatever a later `events()` needs
to go on after an interruption is here, none of it in the generator.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nbopt.data.cursor import Cursor
from nbopt.data.noise import EVALUATION, NOISE, Noise, derive_seed
from nbopt.data.sources import AnySource, StreamSource, TensorSource, sample_count
from nbopt.data.tree import tensors
from nbopt.engine.capture import capture
from nbopt.engine.prepare import check_labels
from nbopt.hyperparams import Hyperparams
from nbopt.parts.accumulation import Accumulation
from nbopt.parts.dropout import Dropout
from nbopt.parts.guard import Guard
from nbopt.parts.losses import LOSS, Loss
from nbopt.parts.metrics import Metric
from nbopt.parts.optimizers import OPTIMIZER, Optimizer
from nbopt.parts.penalties import L1
from nbopt.parts.stopping import EarlyStopping
from nbopt.record.history import History
from nbopt.record.snapshots import Snapshots
from nbopt.words import _

Forward = Callable[[nn.Module, Any], tuple[Any, Any]]

_FLUSH_SECONDS = 0.05  # how long a measured loss may wait on the device
_EVALUATION_BYTES = 2**24  # samples that are evaluated in one go
_RECENT_BATCHES = 16  # training metrics are of the last batches
_RECENT_NUMBERS = 100_000  # ... unless outputs are larger than this; snapshots hold them too


_PART_SEEDS = 1_000_003  # keeps the noise of a batch's parts apart from that of the next steps
_SNAPSHOT_SECONDS = 1.0  # between two snapshots taken on the way
_SNAPSHOT_SHARE = 0.02  # ... of which taking one may take this part


class Trouble(NamedTuple):
    """What stops a run from going on as it is.

    Attributes
    ----------
    step : int
        The step it happened in.
    text : str
        What happened.
    memory : bool
        Whether memory ran out; otherwise the loss went wrong.
    """

    step: int
    text: str
    memory: bool


class Training:
    """Model, data and parts of one run, ready to step.

    Attributes
    ----------
    step : int
        Steps completed.
    validation_due : bool
        Whether an epoch is complete and not yet judged.
    trouble : Trouble or None
        What has to be put right before the next step.
    """

    def __init__(
        self,
        model: nn.Module,
        train: AnySource,
        val: AnySource | None,
        hyperparams: Hyperparams,
        history: History,
        metrics: dict[str, Metric],
        forward: Forward | None,
        optimizer: torch.optim.Optimizer | None,
        seed: int,
        device: torch.device,
        keep_dropout: bool,
    ) -> None:
        self.model = model
        self.val = val
        self.hyperparams = hyperparams
        self.history = history
        self.step = 0
        self.validation_due = False
        self.trouble: Trouble | None = None
        self.best_weights: dict[str, Tensor] = {}
        self.snapshots = Snapshots()
        self._metrics = metrics
        self._forward = forward or call_on_pair
        self._device = device
        self._params = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._tuned = self._params if optimizer is None else _params_of(optimizer)
        self._noise = Noise(device)
        self._step_seed = derive_seed(seed, NOISE)
        self._evaluation_seed = derive_seed(seed, EVALUATION)
        self._pending: list[Tensor] = []
        self.recent: deque[tuple[Tensor, Any]] = deque(maxlen=_RECENT_BATCHES)
        self._clock = 0.0
        self._ticking = False
        self._restored_at = -1
        self._resumed_at = time.perf_counter()
        self._flush_at = self._snapshot_at = 0.0
        self.steps_per_second: float | None = None

        self.cursor = Cursor(train, seed)
        self.stopping = EarlyStopping()
        self.dropout = Dropout(model)
        self.accumulation = Accumulation()
        self._l1 = L1(model)
        self._guard = Guard()
        for part in (self.cursor, self.accumulation, self.stopping, self._l1, self.dropout, self._guard):
            hyperparams.bind(part)
        if not keep_dropout:
            self.dropout.on_change("dropout")
        self.loss: Loss
        self.optimizer: Optimizer
        self._choose_loss()
        self._choose_optimizer(adopt=optimizer)

    # -- changes

    def changed(self, name: str) -> None:
        """React to a change of strategy; all other hyperparameters reach their part by themselves."""
        if name == "optimizer":
            before = self.optimizer
            self._choose_optimizer()
            self.hyperparams.unbind(before)
        elif name == "loss":
            self.hyperparams.unbind(self.loss)
            self._choose_loss()
            self.stopping.reset()
            self.best_weights = {}

    def _choose_loss(self) -> None:
        spec: Any = self.hyperparams.spec(LOSS.name)
        self.loss = spec.classes[self.hyperparams["loss"]]()
        self.hyperparams.bind(self.loss)
        self._checked = False

    def _choose_optimizer(self, adopt: torch.optim.Optimizer | None = None) -> None:
        spec: Any = self.hyperparams.spec(OPTIMIZER.name)
        optimizer: Optimizer = spec.classes[self.hyperparams["optimizer"]]()
        if type(adopt) is not optimizer.torch_class:  # swapped before the start
            adopt = None
        self.hyperparams.bind(optimizer)
        self.torch_optimizer = optimizer.build(self._tuned, adopt)
        self.optimizer = optimizer

    # -- one step

    def train_step(self) -> int | None:
        """Do one step on the next batch; return its number, or None if memory ran out and nothing was done."""
        batch = self.cursor.peek()
        if not self.model.training:
            self.model.train()
        for parameter in self._params:
            parameter.grad = None
        try:
            loss = self._backward(batch)
        except Exception as error:
            smaller = self.accumulation.half_of(sample_count(batch))
            if not _out_of_memory(error) or smaller is None:
                raise
            self.trouble = Trouble(self.step, str(error), memory=True)
            return None
        if self._l1.l1:
            self._l1.apply()
        self.torch_optimizer.step()

        self._pending.append(loss)
        step = self.step
        self.step = step + 1
        if self.cursor.advance(batch):
            self.validation_due = True
        if time.perf_counter() >= self._flush_at:
            self.flush()
        return step

    def _backward(self, batch: Any) -> Tensor:
        """Add the gradients of the batch's loss, and return that loss; in parts, if the batch is to be split."""
        total: Tensor | None = None
        for index, (part, share) in enumerate(self.accumulation.parts(batch)):
            with self._noise.seeded(self._step_seed + self.step + _PART_SEEDS * index):
                output, target = self._outputs(part)
                if not self._checked:
                    self._check(output, target)
                loss = self._lose(output, target)
            if share != 1.0:
                loss = loss * share
            loss.backward()  # type: ignore[no-untyped-call]
            total = loss.detach() if total is None else total + loss.detach()
            if self._metrics:
                self._keep(output, target)
        assert total is not None
        return total

    def _outputs(self, batch: Any) -> tuple[Any, Any]:
        try:
            return self._forward(self.model, batch)
        except Exception as error:
            shapes = ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in tensors(batch))
            note = _("nbopt: raised in step {step}, on a batch of shape {shapes}", step=self.step, shapes=shapes)
            error.add_note(note)
            raise

    def _lose(self, output: Any, target: Any) -> Tensor:
        try:
            return self.loss(output, self.loss.prepare(output, target))
        except Exception:
            self.loss.check(output, target)  # says it in the user's words, where it can
            raise

    def _check(self, output: Any, target: Any) -> None:
        """Look once, on the first batch of a loss, whether outputs and targets suit it."""
        self.loss.check(output, target)
        for source in (self.cursor.source, self.val):
            check_labels(source, output, self.loss)
        if self._metrics and not (isinstance(output, Tensor) and isinstance(target, Tensor)):
            raise ValueError(
                _("metrics need outputs and targets that are tensors; leave metrics out or adapt forward.")
            )
        self._checked = True

    def _keep(self, output: Tensor, target: Any) -> None:
        if output.numel() > _RECENT_NUMBERS:
            self.recent.clear()
        self.recent.append((output.detach(), target))

    # -- validation

    def validate(self) -> Iterator[None]:
        """Measure loss and metrics on the validation data, yielding after each part of it."""
        self.flush()
        measured = self._measure("", list(self.recent))
        if self.val is not None:
            losses: list[Tensor] = []
            counts: list[int] = []
            results: list[tuple[Any, Any]] = []
            for index, batch in enumerate(_walk(self.val, self._evaluation_seed)):
                output, target, loss = self._evaluate(batch, index)
                losses.append(loss)
                counts.append(sample_count(batch))
                if self._metrics:
                    results.append((output, target))
                yield
            if not losses:
                raise ValueError(_("val yielded no batch."))
            pairs = zip(torch.stack(losses).tolist(), counts, strict=True)
            measured["val_loss"] = sum(loss * count for loss, count in pairs) / sum(counts)
            measured.update(self._measure("val_", results))
        # All of a validation or, where it raised, nothing: it is then done again.
        self.recent.clear()
        self.history.append("_epoch", self.step, float(self.cursor.epoch))
        for name, value in measured.items():
            self.history.append(name, self.step, value)
        if self.val is not None and self.stopping.observe(measured["val_loss"], self.step):
            self.best_weights = {name: t.detach().to("cpu", copy=True) for name, t in self.model.state_dict().items()}
            self.validation_due = False
            self.snapshots.add(capture(self), best=True)
        self.validation_due = False

    def _evaluate(self, batch: Any, index: int) -> tuple[Any, Any, Tensor]:
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                with self._noise.seeded(self._evaluation_seed + index):
                    output, target = self._outputs(batch)
                    return output, target, self._lose(output, target)
        finally:
            self.model.train(training)

    def _measure(self, prefix: str, results: list[tuple[Tensor, Any]]) -> dict[str, float]:
        if not results or not self._metrics:
            return {}
        with torch.no_grad():
            output = torch.cat([output.to(self._device) for output, _target in results])
            target = torch.cat([target.to(self._device) for _output, target in results])
            return {prefix + name: float(metric(output, target)) for name, metric in self._metrics.items()}

    # -- ends

    def end_reason(self) -> str:
        """Return why the run is over, or ""."""
        if self.stopping.due:
            count = self.stopping.patience
            return _("stopped early: no better validation loss in {count} validations", count=count)
        if self.cursor.epoch >= self.hyperparams["epochs"]:
            return _("all {count} epochs done", count=self.hyperparams["epochs"])
        return ""

    def act(self, action: str) -> bool:
        """Do one of `nbopt.record.journal.ACTIONS`; return whether it changed anything.

        ``restore_best`` gives the model the weights of its best validation; ``reopen`` gives patience a fresh start.
        """
        if action == "reopen":
            due = self.stopping.due
            self.stopping.waited = 0 if due else self.stopping.waited
            return due
        if not self.best_weights or self.step in (self.stopping.best_step, self._restored_at):
            return False
        self.model.load_state_dict(self.best_weights)
        self._restored_at = self.step
        return True

    # -- snapshots

    def secure(self) -> None:
        """Take a snapshot of the state before a change, unless there is one."""
        newest = self.snapshots[-1] if self.snapshots else None
        if newest is None or newest.step != self.step or newest.facts["validation_due"] != self.validation_due:
            self.snapshots.add(capture(self))

    def forget_unmeasured(self, seconds: float) -> None:
        """Drop what was not measured yet, and set the run's clock: the run is somewhere else now."""
        self._pending.clear()
        self.recent.clear()
        self.trouble = None
        self._restored_at = -1
        self._clock, self._resumed_at = seconds, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds trained."""
        return self._clock + time.perf_counter() - self._resumed_at if self._ticking else self._clock

    # -- clock and metrics on their way to the history

    def tick(self, running: bool) -> None:
        """Start or stop the run's own clock: seconds trained, pauses left out."""
        now = time.perf_counter()
        if running:
            self._resumed_at = now
            self.steps_per_second = None
        else:
            self._clock = self.seconds
        self._ticking = running
        self._flush_at = now

    def flush(self) -> None:
        """Move the losses measured since the last flush from the device to the history, in one transfer."""
        now = time.perf_counter()
        self._flush_at = now + _FLUSH_SECONDS
        count = len(self._pending)
        if not count:
            return
        values = torch.stack(self._pending).tolist()
        self._pending.clear()
        first = self.step - count
        if (wrong := self._guard.find_trouble(values)) is not None:
            text = _("loss {loss:g} in step {step}", loss=values[wrong], step=first + wrong)
            self.trouble = Trouble(first + wrong, text, memory=False)
        self.history.extend("loss", range(first, self.step), values)
        elapsed = self.seconds
        before = self.history.last("_time") or 0.0
        self.history.append("_time", self.step - 1, elapsed)
        self.history.append("_epoch", self.step - 1, self.cursor.progress)
        if elapsed > before and first:
            rate = count / (elapsed - before)
            old = self.steps_per_second
            self.steps_per_second = rate if old is None else 0.8 * old + 0.2 * rate
        if self.trouble is None and now >= self._snapshot_at:
            self.secure()
            spent = time.perf_counter() - now
            self._snapshot_at = now + max(_SNAPSHOT_SECONDS, spent / _SNAPSHOT_SHARE)


def _out_of_memory(error: Exception) -> bool:
    """Whether this is torch's way of saying so; the CPU's allocator has no exception of its own."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def call_on_pair(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    """Do the usual forward pass, of a batch (x, y)."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        parts = isinstance(batch, (tuple, list))
        kind = _("{count} parts", count=len(batch)) if parts else type(batch).__name__
        rule = _("give forward=callable(model, batch) -> (output, target)")
        raise ValueError(_("a batch holds {kind}, not (x, y): {rule}.", kind=kind, rule=rule))
    return model(batch[0]), batch[1]


def _params_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _walk(source: AnySource, seed: int) -> Iterator[Any]:
    if isinstance(source, StreamSource):
        yield from source.batches(seed)
        return
    assert source.size is not None
    if source.sampled:
        source.begin(seed)
    if isinstance(source, TensorSource):
        size = max(64, min(4096, _EVALUATION_BYTES * source.size // max(1, source.nbytes())))
    else:
        size = source.batch_size or 64
    for start in range(0, source.size, size):
        yield source.batch(start, min(start + size, source.size))
