"""Batches as whoever makes them yields them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from nbopt.data.noise import Noise
from nbopt.data.tree import to_device


class StreamSource:
    """The batches of a loader that is iterated as it is: order and batch size are its own.

    Parameters
    ----------
    loader : iterable
        A ``DataLoader``, or anything else that yields an epoch's batches each time it is iterated.

    Attributes
    ----------
    length : int or None
        Batches in an epoch, as ``len(loader)`` tells; None where it does not know.
    """

    size: int | None = None
    batch_size: int | None = None
    drop_last = False  # by the loader itself
    converted = ""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        try:
            self.length: int | None = len(loader)  # type: ignore[arg-type]
        except (TypeError, NotImplementedError):  # the dataset or the sampler has no length
            self.length = None
        self._device = torch.device("cpu")
        self.look_at_generators()

    def look_at_generators(self) -> None:
        """Find out what generators batches are drawn from."""
        self._noise = Noise(self._device, self.loader)

    def generators(self, position: int) -> dict[str, Sequence[Any]]:
        """Return the states of generators of the user's as the epoch began."""
        return {"epoch": self._noise.began}

    def put_generators(self, states: dict[str, list[Any]]) -> None:
        """Put them back to states that `generators` returned."""
        self._noise.began = self._noise.take(states.get("epoch", []))

    def complete(self) -> None:
        """Let the next epoch draw on."""
        self._noise.complete()

    def batches(self, seed: int, epoch: int | None = None) -> Iterator[Any]:
        """Yield the batches of an epoch, on the device; what they draw follows from ``seed``.

        Samplers and datasets that want to be told the epoch are told, in training; a validation has none.
        """
        if epoch is not None:
            for part in hear_epochs(self.loader):
                part.set_epoch(epoch)
        self._noise.begin_again()
        with self._noise.lock, self._noise.seeded(seed, goes_on=True):
            stream = iter(self.loader)
        while True:
            seed += 1
            with self._noise.lock, self._noise.seeded(seed, goes_on=True):
                try:
                    batch = next(stream)
                except StopIteration:
                    return
            yield to_device(batch, self._device)

    def nbytes(self) -> int:
        """Return 0: no more than a batch is on the device."""
        return 0

    def to(self, device: torch.device) -> None:
        """Move each batch to ``device``."""
        self._device = device


def hear_epochs(loader: Any) -> list[Any]:
    """Return all of a loader that has a method ``set_epoch``.

    Loops call it before each epoch: of loader, samplers and dataset.
    """
    batches = getattr(loader, "batch_sampler", None)
    parts = [loader, batches, getattr(batches, "sampler", None)]
    parts += [getattr(loader, "sampler", None), getattr(loader, "dataset", None)]
    known = {id(part): part for part in parts}
    return [part for part in known.values() if hasattr(part, "set_epoch")]
