"""The cursor: which samples come next.

An epoch's order is a permutation drawn from (seed, epoch); the cursor is a position in it. So a new batch
size takes effect at the very next batch, no sample of an epoch is skipped or seen twice, and two integers
say where a run is. What a loader's ``drop_last`` drops is the exception: what is left at the end of an epoch,
too few samples for a batch of the present size.

With one batch size, batches begin at its multiples. Where it changed within an epoch they do not, and a single
sample left over would be owed to the change alone: the batch before leaves it a second one, since batch
normalization cannot train on one sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbopt.data.noise import ORDER, seed_of
from nbopt.data.sources import AnySource, Samples, StreamSource
from nbopt.hyperparams import Int, Tunable
from nbopt.i18n import N_, _


class Cursor(Tunable):
    """Deals out batches, epoch after epoch.

    Attributes
    ----------
    epoch : int
        Epochs completed.
    position : int
        Samples of the current epoch already used; batches, of a stream.
    whole : bool
        Whether a batch is all that is left of the epoch, whatever the batch size.
    """

    batch_size = Int(
        64,
        low=8,
        high=1024,
        powers=True,
        ge=1,
        label=N_("Batch size"),
        group=N_("Batches"),
        unit=N_("samples"),
        rank=2,
        help=N_("Samples per step. A new size takes effect with the next batch."),
        synonyms="batch bs batchsize train_batch_size minibatch_size per_device_train_batch_size",
    )

    def __init__(self, source: AnySource, seed: int) -> None:
        self.source = source
        self.seed = seed
        self.epoch = 0
        self.position = 0
        self.whole = False
        self._begun = False
        self._dealt: dict[int, int] = {}  # where so many batches end, as they were last dealt out from here
        self._stream: Iterator[Any] | None = None
        self._ahead: list[Any] = []

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
        return self.progress_ahead(1)[0]

    def progress_ahead(self, batches: int) -> list[float]:
        """Return `progress` before each of the next batches, which are to be of the present size, and in this epoch."""
        source, epoch, position, size = self.source, self.epoch, self.position, self.batch_size
        if isinstance(source, StreamSource):
            length = source.length  # as it says itself
            return [epoch + (min(1.0, (position + k) / length) if length else 0.0) for k in range(batches)]
        length = source.size or 1
        return [epoch + (position + k * size) / length for k in range(batches)]

    @property
    def full_batches(self) -> int:
        """How many batches of the present size are left in the epoch; 0 for a stream."""
        return (
            0 if isinstance(self.source, StreamSource) else ((self.source.size or 0) - self.position) // self.batch_size
        )

    def peek(self, batches: int = 1) -> Any:
        """Return the next batch, or so many in one. The cursor stays: `advance` moves on once the step is done."""
        if isinstance(self.source, StreamSource):
            return self._peek_stream(self.source)
        source = self.source
        if not self._begun:
            self._begin(source)
        stop = self._stop(source, batches)
        if source.drop_last and not source.reaches(stop) and not self.whole:
            rule = _("drop_last=True leaves no batch of {size}", size=self.batch_size)
            raise ValueError(_("train holds {count} samples: {rule}.", count=source.size, rule=rule))
        self._dealt[batches] = stop
        return source.batch(self.position, stop)

    def peek_each(self, batches: int, joined: int = 1) -> list[Any]:
        """Return the next batches, all of the present size, ``joined`` of them in one; the cursor stays.

        `advance` moves on by all of them.
        """
        assert not isinstance(self.source, StreamSource)
        source, size, start = self._begin(self.source), joined * self.batch_size, self.position
        stop = self._dealt[batches] = start + batches * self.batch_size
        return [source.batch(at, at + size) for at in range(start, stop, size)]

    def deal(self, batches: int) -> None:
        """Take what another cursor, which stands at the same place in the same order, dealt out for its own.

        Also, take note that only so many of the batches that `peek` returned in one are used.
        """
        assert not isinstance(self.source, StreamSource)
        self._dealt[batches] = self._stop(self.source, batches)

    def _stop(self, source: Samples, batches: int) -> int:
        """Return where the next so many batches end."""
        size, position = self.batch_size, self.position
        stop = position + batches * size
        if self.whole:
            assert source.size is not None
            return max(source.size, position + 1)
        if position % size and size > 2 and self._strands(stop):  # as nothing is where they are dropped
            return stop - 1
        return stop

    def advance(self, batches: int = 1) -> bool:
        """Mark the batches that ``peek(batches)`` returned as used; return whether the epoch is complete.

        Whoever looked at another number of them meanwhile has moved nothing.
        """
        if isinstance(self.source, StreamSource):
            self._ahead.pop(0)
            self.position += 1
            self._fill()
            done = not self._ahead
        else:
            self.position = self._dealt[batches]
            self._dealt.clear()
            done = self._is_complete(self.source)
        if done:
            self._complete()
        return done

    def fills(self, batches: int) -> bool:
        """Whether the next so many batches are all of the present size."""
        if isinstance(self.source, StreamSource) or self.whole:
            return False
        stop = self.position + batches * self.batch_size
        return self._begin(self.source).reaches(stop) and not self._strands(stop)

    def count_full(self, most: int) -> int:
        """Return how many of the next batches, of ``most``, are of the present size."""
        count = 0 if self.whole else min(most, self.full_batches)
        return count if not count or self.fills(count) else count - 1  # the last one leaves a sample to who comes next

    def ends_within(self, batches: int) -> bool:
        """Whether the epoch may be complete after this many batches of the present size."""
        size = self.source.size
        left = batches + 1 if self.source.drop_last else batches
        return size is None or self.whole or size - self.position <= left * self.batch_size

    def resize(self) -> bool:
        """React to a new batch size; return whether that completes the epoch: `drop_last` drops what is left."""
        source = self.source
        if isinstance(source, StreamSource) or not source.drop_last or not self.position:
            return False
        if done := self._is_complete(self._begin(source)):
            self._complete()
        return done

    def leave_out(self) -> bool:
        """Complete the epoch without the single sample that is left, where only a change of batch size left it."""
        source = self.source
        if isinstance(source, StreamSource) or self.whole or not self.position % self.batch_size:
            return False
        self._begin(source)
        if left_out := self._strands(self.position):
            self._complete()
        return left_out

    def place(self) -> list[int]:
        """Return where the cursor is, for `seek`."""
        used = self.position if isinstance(self.source, StreamSource) else 0
        return [self.epoch, self.position, used]

    def seek(self, epoch: int, position: int, used: int) -> None:
        """Go to a place that `place` returned: epochs, samples of an epoch, batches of a stream's epoch."""
        self.epoch, self.position = epoch, used if isinstance(self.source, StreamSource) else position
        self._begun = False

    def _begin(self, source: Samples) -> Samples:
        if not self._begun:
            source.begin(self.order_seed, self.epoch)
            self._begun = True
        return source

    def _is_complete(self, source: Samples) -> bool:
        return not source.reaches(self.position + (self.batch_size if source.drop_last and not self.whole else 1))

    def _complete(self) -> None:
        self.source.complete()
        self.epoch += 1
        self.position = 0
        self._begun = False

    def _strands(self, stop: int) -> bool:
        """Whether a single sample is left where batches of one size, from the epoch's beginning, would not leave it."""
        source = self.source
        if isinstance(source, StreamSource) or source.drop_last or not self.position % self.batch_size:
            return False
        return source.reaches(stop + 1) and not source.reaches(stop + 2)

    @property
    def order_seed(self) -> int:
        """What the order of the present epoch is drawn from."""
        return seed_of(self.seed, ORDER, self.epoch)

    def _peek_stream(self, source: StreamSource) -> Any:
        if not self._begun:
            self._stream = source.batches(self.order_seed, self.epoch)
            self._ahead.clear()
            for _used in range(self.position):
                next(self._stream, None)
            self._begun = True
            self._fill()
            if not self._ahead:
                self._begun = False
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
