"""The data of a run, as a script takes, splits and deals them."""

from __future__ import annotations

import torch

from nbopt.data.tensor_source import TensorSource
from nbopt.record.script_optimizer import optimizers_of
from nbopt.record.script_section import Section
from nbopt.record.source import literal
from nbopt.words import _

_EVALUATION_BYTES = 2**24  # samples that are evaluated in one go, as in the run
_FEW, _MANY = 64, 4096


class DataSource(Section):
    """What a script says of its data.

    Raises
    ------
    ValueError
        For data that are not in memory, or a ``forward`` that cannot be written out.
    """

    def write(self) -> None:
        """See `Section`."""
        story = self.story
        train = _in_memory("train", story.train)
        val = None if story.val is None else _in_memory("val", story.val)
        self._write_columns(train, val)
        self._write_batches(train)
        self._write_evaluation(train if val is None else val)

    def _write_columns(self, train: TensorSource, val: TensorSource | None) -> None:
        story = self.story
        columns = [*train.columns, *(() if val is None else val.columns)]
        own = story.forward is not None
        single = own and len(train.columns) == 1
        self.flags.update(
            single=single,
            columns=own and not single,
            pair=not own,
            bytes=any(column.dtype == torch.uint8 and column.ndim > 1 for column in columns),
            complex=any(column.is_complex() for column in columns),
            share=story.share is not None,
            stratified=story.stratified,
        )

    def _write_batches(self, train: TensorSource) -> None:
        story, flags, words = self.story, self.flags, self.words
        flags["shuffle"] = train._shuffle
        words["dealt"] = "shuffled" if train._shuffle else "data"
        batches = not all(kind.full_batch for kind in optimizers_of(story))
        words["batch_size"] = self.use("batch_size") if batches else ""
        flags["parts"] = any(story.values_of("micro_batch"))
        words["micro_batch"] = self.use("micro_batch") if flags["parts"] else ""
        words["outputs"] = "model(batch[0]), batch[1]"
        if story.forward is not None:
            name = self.sources.name_for(_("forward"), story.forward)
            words["outputs"] = f"{name}(model, batch[0])" if flags["single"] else f"{name}(model, batch)"
        if story.share is not None:
            self.constants["VAL_SHARE"] = literal(float(story.share))

    def _write_evaluation(self, measured: TensorSource) -> None:
        size = max(1, measured.size or 0)
        at_once = _EVALUATION_BYTES * size // max(1, measured.nbytes())
        self.constants["EVALUATION_BATCH"] = literal(max(_FEW, min(_MANY, at_once)))


def _in_memory(role: str, source: object) -> TensorSource:
    if isinstance(source, TensorSource):
        return source
    rule = _("a script takes samples in memory, as (X, y)")
    raise ValueError(
        _(
            "{role} is read through a Dataset or DataLoader, but {rule}. Give the run arrays, tensors or a "
            "TensorDataset; to_yaml works for any data.",
            role=role,
            rule=rule,
        )
    )
