"""Whether what is done at once is what each run would do by itself."""

from __future__ import annotations

from collections.abc import Sequence

from nbopt.training.compile.plain import agree
from nbopt.training.many.gradients import Passed
from nbopt.training.many.member import OneOfMany
from nbopt.training.many.noise import Pair

_CLOSE = (1e-3, 1e-6)  # how far gradients may be from those of a single run: of their length, and of the longest


def agree_alone(trainings: Sequence[OneOfMany], batches: Sequence[Pair], passed: Passed) -> bool:
    """Whether the first and the last of these runs have the gradients that they have by themselves."""
    for row in {0, len(trainings) - 1}:
        training = trainings[row]
        training.buffers.keep()
        try:
            own = batches[0 if len(batches) == 1 else row]
            whole = len(own[1])
            size = min(whole, training.cursor.batch_size)
            training.eager.gradients((own[0][:size], own[1][:size]), training.step, False)
        finally:
            training.buffers.put_back()
        weights = training.find_trained()
        order = sorted(weights, key=lambda weight: weight.ndim < 2)
        if any(weight.grad is None for weight in order):
            return False
        plain = [weight.grad for weight in order if weight.grad is not None]
        if not all(bool(gradient.isfinite().all()) for gradient in plain):
            continue  # one that diverges tells nothing of how steps are done
        if not agree(plain, [gradient[row] for gradient in passed.gradients], *_CLOSE):
            return False
    return True
