"""What a trained model costs whoever uses it: how many weights it has, and how long it takes for a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.benchmark import Timer

from nbopt.data.tree import tree_map
from nbopt.errors import InvalidHyperparam
from nbopt.i18n import _
from nbopt.search.executors.batched import Batched
from nbopt.search.executors.executor import Executor, Inline
from nbopt.training.snapshots.outside import unchanged
from nbopt.training.validation import walk

_SECONDS = 0.1  # of measuring at least, in blocks whose median counts


def count_parameters(session: Any) -> int:
    """Return how many numbers the weights of a run's model hold, trained or not."""
    return sum(weight.numel() for weight in session.model.parameters())


def measure_latency(session: Any) -> float:
    """Return how many milliseconds a run's model takes for one sample: the median by `torch.utils.benchmark`.

    One sample, of the validation data where there are any, passes the model in evaluation mode, on the run's device,
    and on the CPU in one thread. What techniques put around every pass, as mixed precision, is in it.
    """
    training = session.training
    batch = training.cursor.peek() if training.val is None else next(iter(walk(training.val, 0)))
    sample = tree_map(lambda tensor: tensor[:1], batch)
    pass_, noise = training.pass_, training.noise

    def predict() -> Any:
        return pass_.predict(sample)

    with (
        unchanged(training),
        training.material.evaluating(),
        torch.set_grad_enabled(pass_.needs_graph),
        noise.lock,
        noise.seeded(training.evaluation_seed),
    ):
        predict()
        timer = Timer("predict()", globals={"predict": predict}, num_threads=1)
        return 1e3 * float(timer.blocked_autorange(min_run_time=_SECONDS).median)


LATENCY = "latency"
SIZES: dict[str, Callable[[Any], float]] = {"parameters": count_parameters, LATENCY: measure_latency}


def tell_inexact(objectives: Sequence[str]) -> str:
    """Return why a study of these objectives cannot be repeated exactly, in words; "" if it can."""
    return _("latency is measured by a clock, which never says the same twice") if LATENCY in objectives else ""


def check_alone(objectives: Sequence[str], executor: Executor) -> None:
    """Raise InvalidHyperparam where others would train while a clock runs."""
    if LATENCY in objectives and not isinstance(executor, (Batched, Inline)):
        rule = _("it is measured by a clock, which other trials that train meanwhile disturb")
        raise InvalidHyperparam(_("objective 'latency': {rule}: give executor='inline'.", rule=rule))
