"""The cursor: which samples come next.

An epoch's order is a permutation drawn from (seed, epoch); the cursor is a position in it. So a new batch
size takes effect at the very next batch, no sample of an epoch is skipped or seen twice, and two integers
say where a run is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbopt.data.noise import ORDER, derive_seed
from nbopt.data.sources import AnySource, StreamSource, sample_count
from nbopt.hyperparams import Int, Tunable
from nbopt.words import _


class Cursor(Tunable):
    """Deals out batches, epoch after epoch.

    Attributes
    ----------
    epoch : int
        Epochs completed.
    position : int
        Samples of the current epoch already used.
    whole : bool
        Whether a batch is all that is left of the epoch, whatever the batch size.
    """

    batch_size = Int(
        64,
        low=8,
        high=1024,
        powers=True,
        ge=1,
        label=_("Batch size"),
        group=_("Batches"),
        help=_("Samples per step. A new size takes effect at the very next batch."),
    )

    def __init__(self, source: AnySource, seed: int) -> None:
        self.source = source
        self.seed = seed
        self.epoch = 0
        self.position = 0
        self.whole = False
        self._begun = False
        self._stop = 0  # where the batch last dealt out ends
        self._stream: Iterator[Any] | None = None
        self._ahead: list[Any] = []
        self._used = 0  # batches of a stream's current epoch

    @property
    def epoch_size(self) -> int | None:
        """Samples in an epoch; None for a stream."""
        return self.source.size

    @property
    def usual_size(self) -> int:
        """Samples in a batch; 1 for a stream that does not tell."""
        if isinstance(self.source, StreamSource):
            return getattr(self.source.loader, "batch_size", None) or 1
        return self.source.size if self.whole and self.source.size else self.batch_size

    @property
    def progress(self) -> float:
        """Epochs completed, the current one counted in part where its length is known."""
        if isinstance(self.source, StreamSource):
            length = self.source.length
            return self.epoch + (min(1.0, self._used / length) if length else 0.0)
        return self.epoch + (self.position / self.source.size if self.source.size else 0.0)

    def peek(self, batches: int = 1) -> Any:
        """Return the next batch, or so many in one. The cursor stays: `advance` moves on once the step is done."""
        if isinstance(self.source, StreamSource):
            return self._peek_stream(self.source)
        if not self._begun:
            self.source.begin(self._order_seed())
            self._begun = True
        left = (self.source.size or 0) - self.position
        self._stop = self.position + (left if self.whole else batches * self.batch_size)
        return self.source.batch(self.position, self._stop)

    def advance(self, batch: Any) -> bool:
        """Mark ``batch``, which `peek` returned, as used; return whether the epoch is complete."""
        if isinstance(self.source, StreamSource):
            self._ahead.pop(0)
            self._used += 1
            self.position += sample_count(batch)
            self._fill()
            done = not self._ahead
        else:
            assert self.source.size is not None
            self.position = min(self._stop, self.source.size)
            done = self.position == self.source.size
        if done:
            self.epoch += 1
            self.position = self._used = 0
            self._begun = False
        return done

    def ends_within(self, batches: int) -> bool:
        """Whether the epoch may be complete after this many batches of the present size."""
        size = self.source.size
        return size is None or self.whole or size - self.position <= batches * self.batch_size

    def place(self) -> list[int]:
        """Return where the cursor is, for `seek`."""
        return [self.epoch, self.position, self._used]

    def seek(self, epoch: int, position: int, used: int) -> None:
        """Go to a place that `place` returned."""
        self.epoch, self.position, self._used = epoch, position, used
        self._begun = False

    def _order_seed(self) -> int:
        return derive_seed(self.seed, ORDER, self.epoch)

    def _peek_stream(self, source: StreamSource) -> Any:
        if not self._begun:
            self._stream = source.batches(self._order_seed())
            self._ahead.clear()
            for _used in range(self._used):
                next(self._stream, None)
            self._begun = True
            self._fill()
            if not self._ahead:
                raise ValueError(_("train yielded no batch in epoch {epoch}.", epoch=self.epoch))
        return self._ahead[0]

    def _fill(self) -> None:
        # One batch ahead: only so is the last one of an epoch known to be the last.
        assert self._stream is not None
        try:
            self._ahead.append(next(self._stream))
        except StopIteration:
            pass
        except Exception:  # whatever the user's Dataset raises
            self._begun = False  # a stream that raised is over: it is opened anew, and goes on from here
            raise
