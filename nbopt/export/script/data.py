"""The data of a run, as a script takes, splits and deals them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import IterableDataset, Subset

from nbopt.data.dataset_source import Gathered
from nbopt.data.order import LoaderOrder
from nbopt.data.samples import count_samples, cut
from nbopt.data.sources import AnySource, DatasetSource, StreamSource, sample_count
from nbopt.data.stream_source import hear_epochs
from nbopt.data.tensor_source import TensorSource
from nbopt.data.tree import tree_map
from nbopt.export.script.optimizer import optimizers_of
from nbopt.export.script.section import Section
from nbopt.export.source import literal
from nbopt.i18n import _

_EVALUATION_BYTES = 2**24  # samples that are evaluated in one go, as in the run
_FEW, _MANY = 64, 4096


class DataSource(Section):
    """What a script says of its data: columns in memory, samples of a Dataset, or batches as a loader yields them.

    Raises
    ------
    ValueError
        For a ``forward`` that cannot be written out.
    """

    def write(self) -> None:
        """See `Section`."""
        train, val = self.story.train, self.story.val
        measured = train if val is None else val
        self._write_kinds(train, measured)
        self._write_columns([source for source in (train, measured) if isinstance(source, TensorSource)])
        self._write_preparation(train, measured)
        self._write_batches(train)
        self._write_evaluation(measured)

    def _write_kinds(self, train: AnySource, measured: AnySource) -> None:
        flags, sources = self.flags, [train, measured]
        datasets = [source.dataset for source in sources if isinstance(source, DatasetSource)]
        for name, kind in (("tensors", TensorSource), ("samples", DatasetSource), ("stream", StreamSource)):
            flags[f"train_{name}"] = isinstance(train, kind)
            flags[f"val_{name}"] = isinstance(measured, kind)
            flags[name] = any(isinstance(source, kind) for source in sources)
        flags["streams"] = flags.pop("stream")
        flags["loaders"] = self.story.wrapped or not flags["train_tensors"] or not flags["val_tensors"]
        flags["loaders_of_tensors"] = flags["loaders"] and flags["tensors"]
        flags["trees"] = not flags["train_tensors"]
        within = [dataset.dataset if isinstance(dataset, Subset) else dataset for dataset in datasets]
        flags["getitems"] = all(hasattr(dataset, "__getitems__") for dataset in within)
        flags["sampled"] = isinstance(train, DatasetSource) and train.sampler is not None
        flags["val_sampled"] = isinstance(measured, DatasetSource) and measured.sampler is not None
        flags["counts_batches"] = isinstance(train, StreamSource) and train.length is not None
        flags["moves"] = flags["samples"] or flags["streams"]
        flags["tells_epoch"] = flags["trees"] and bool(
            hear_epochs(train.loader if isinstance(train, StreamSource) else train)
        )
        if flags["tells_epoch"]:
            self.sources.name_for(_("the data"), hear_epochs)
        self._write_parts()

    def _write_parts(self) -> None:
        """Write how a batch is cut that goes through the model in parts."""
        trees, parts = self.flags["trees"], any(self.story.values_of("micro_batch"))
        leaf = self.story.split.get("leaf")
        self.words["sample_count"] = "sample_count(whole)" if leaf is None else f"count_samples(whole, {leaf})"
        used: list[Callable[..., Any]] = []
        if trees and (parts or any(self.story.values_of("channels_last"))):
            used.append(tree_map)
        if trees and parts:
            used += [cut, sample_count if leaf is None else count_samples]
        for function in used:
            self.sources.name_for(_("the data"), function)

    def _write_columns(self, sources: list[TensorSource]) -> None:
        story = self.story
        own = story.forward is not None
        single = own and bool(sources) and sources[0].bare
        if sources:
            types = [column.dtype for column in sources[0].columns]
            types[0] = sources[0].needed or types[0]
            names = ", ".join(map(str, types))
            self.constants["DTYPES"] = f"({names},)" if len(types) == 1 else f"({names})"
        self.flags.update(
            single=single,
            columns=own and not single and not self.flags["loaders"],
            pair=not own and not self.flags["loaders"],
            share=story.share is not None,
            stratified=story.stratified,
        )

    def _write_preparation(self, train: AnySource, measured: AnySource) -> None:
        flags, words = self.flags, self.words
        columns = "columns_of(train)" if flags["loaders"] else "train"
        words["train_columns"] = f"({columns},)" if flags["single"] else columns
        flags["wraps_train"] = _is_wrapped(train)
        flags["wraps"] = flags["wraps_train"] or _is_wrapped(measured)
        batched = [source for source in (train, measured) if isinstance(source, StreamSource) and _is_wrapped(source)]
        flags["batched"] = bool(batched)
        flags["gathered"] = any(_is_gathered(source) for source in (train, measured))
        flags["plain"] = not flags["batched"] and not flags["gathered"]
        if flags["gathered"]:
            if converted := train.converted or measured.converted:
                rule = _("a script takes sparse tensors in the types that the model needs")
                raise ValueError(_("train cannot be exported: {told}; {rule}.", told=converted, rule=rule))
            self.sources.name_for(_("the data"), Gathered)
        words["labels"] = self._labels(train) if flags["stratified"] and flags["train_samples"] else ""
        words["stream_size"] = literal(getattr(batched[0].loader, "batch_size", None)) if batched else ""
        words["val_as_given"] = "val = as_loader(val)" if _is_wrapped(measured) else ""
        if flags["val_tensors"]:
            columns = "columns_of(val)" if flags["loaders"] else "val"
            words["val_as_given"] = f"val = as_tensors({f'({columns},)' if flags['single'] else columns}, device)"
        if flags["wraps"]:
            self.sources.used.add("DataLoader")
        if flags["share"] and flags["train_samples"]:
            self.sources.used.update(("DataLoader", "Subset"))
        flags["prepares_val"] = bool(words["val_as_given"])
        kinds = {
            TensorSource: _("arrays or rows of tensors"),
            DatasetSource: _("a Dataset or DataLoader"),
            StreamSource: _("a loader of batches"),
        }
        words["given_data"] = _(" and ").join(dict.fromkeys(kinds[type(source)] for source in (train, measured)))

    def _labels(self, train: AnySource) -> str:
        """Return an expression for the labels by which a dataset was cut, which are in memory."""
        dataset: Any = train.dataset if isinstance(train, DatasetSource) else None
        dataset = dataset.dataset if isinstance(dataset, Subset) else dataset
        if isinstance(dataset, list):
            labels = "[sample[-1] for sample in train.dataset]"
            stacked = isinstance(dataset[0][-1], torch.Tensor)
            return f"torch.stack({labels}).numpy()" if stacked else f"torch.tensor({labels}).numpy()"
        if hasattr(dataset, "targets"):
            return "torch.as_tensor(train.dataset.targets).numpy()"
        rule = _("it was cut by labels that a script does not look up")
        raise ValueError(_("train cannot be exported: {rule}; give val its own data.", rule=rule))

    def _write_batches(self, train: AnySource) -> None:
        story, flags, words = self.story, self.flags, self.words
        flags["permutes"] = not isinstance(train, StreamSource) and train.shuffle and not flags["sampled"]
        flags["ordered"] = isinstance(train, TensorSource) and train.sampler is not None
        flags["shuffle"] = flags["permutes"] or flags["sampled"] or flags["ordered"]
        seeding = flags["sampled"] and train.generator is not None  # type: ignore[union-attr]
        flags["seeds_workers"] = seeding or (flags["ordered"] and isinstance(train.sampler, LoaderOrder))  # type: ignore[union-attr]
        flags["begins"] = flags["shuffle"] or flags["trees"]
        words["dealt"] = "shuffled" if flags["shuffle"] else "data"
        batches = not flags["train_stream"] and not all(kind.full_batch for kind in optimizers_of(story))
        words["batch_size"] = self.use("batch_size") if batches else ""
        words["usual_size"] = words["batch_size"] or "size"
        if batches and any(kind.full_batch for kind in optimizers_of(story)):
            words["usual_size"] = f"size if full else {words['batch_size']}"
        if isinstance(train, StreamSource):
            words["usual_size"] = literal(getattr(train.loader, "batch_size", None) or 1)
        varies = batches and len(set(story.values_of("batch_size"))) > 1
        flags["drops"] = batches and train.drop_last
        flags["drops_varying"] = flags["drops"] and varies
        flags["leaves_two"] = varies and not flags["drops"]
        flags["parts"] = any(story.values_of("micro_batch"))
        words["micro_batch"] = self.use("micro_batch") if flags["parts"] else ""
        words["outputs"] = "model(batch[0]), batch[1]"
        if story.forward is not None:
            name = self.sources.name_for(_("forward"), story.forward, "forward")
            words["outputs"] = f"{name}(model, batch[0])" if flags["single"] else f"{name}(model, batch)"
        if story.share is not None:
            self.constants["VAL_SHARE"] = literal(float(story.share))

    def _write_evaluation(self, measured: AnySource) -> None:
        flags, given = self.flags, self.story.val is not None
        flags["val_shuffled"] = flags["val_drops"] = False
        if isinstance(measured, StreamSource):
            return
        flags["val_shuffled"] = given and measured.shuffle and not flags["val_sampled"]
        flags["val_drops"] = given and measured.drop_last
        at_once = measured.batch_size or _FEW
        if isinstance(measured, TensorSource) and measured.batch_size is None:
            size = max(1, measured.size or 0)
            at_once = max(_FEW, min(_MANY, _EVALUATION_BYTES * size // max(1, measured.nbytes())))
        self.constants["EVALUATION_BATCH"] = literal(at_once)


def _is_gathered(source: AnySource) -> bool:
    """Whether the run made a dataset of columns that cannot be cut into rows, as sparse tensors."""
    dataset = source.dataset if isinstance(source, DatasetSource) else None
    return isinstance(dataset.dataset if isinstance(dataset, Subset) else dataset, Gathered)


def _is_wrapped(source: AnySource) -> bool:
    """Whether a script has to make a DataLoader of what is given, where it is none."""
    if isinstance(source, StreamSource):
        return isinstance(getattr(source.loader, "dataset", None), IterableDataset)
    return isinstance(source, DatasetSource)
