"""The data of a run, as a script takes, splits and deals them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import IterableDataset, Subset

from nbopt.data.dataset_source import Gathered
from nbopt.data.order import LoaderOrder
from nbopt.data.places import Place
from nbopt.data.sources import AnySource, DatasetSource, StreamSource
from nbopt.data.split import is_label
from nbopt.data.stream_source import hear_epochs
from nbopt.data.structure import Structure
from nbopt.data.tensor_source import TensorSource
from nbopt.export.script.section import Section
from nbopt.export.script.text import fill, lines
from nbopt.export.source import literal
from nbopt.i18n import _

_EVALUATION_BYTES = 2**24  # samples that are evaluated in one go, as in the run
_FEW, _MANY = 64, 4096

_SPLIT = """\
if val is None:
    rows, val_rows = train_test_split(
        range($size),
        test_size=VAL_SHARE,
        random_state=derive_seed(SEED, SPLIT) % 2**32,
        $stratify
    )
    $cut
else:
    val = $given
"""
_CUT_COLUMNS = """\
val = [column[val_rows] for column in data]
data = [column[rows] for column in data]
"""
_CUT_SAMPLES = """\
dataset, collate = train.dataset, train.collate_fn
val = DataLoader(Subset(dataset, val_rows), collate_fn=collate)
train = DataLoader(Subset(dataset, rows), collate_fn=collate)
"""


_STRUCTURE = '''\
def flatten(data):
    """Return the columns in ``data``, one by one."""
    return [
        $columns
    ]


def structure($names):
    """Return the columns of a batch as they stood in the data."""
    return $batch
'''


class Data(Section):
    """What a script says of its data: columns in memory, samples of a Dataset, or batches as a loader yields them.

    Attributes
    ----------
    sized : bool
        Whether batches are dealt by the number of their samples.
    outputs : str
        The call that makes outputs and targets of a batch.

    Raises
    ------
    ValueError
        For data that cannot be dealt alike.
    """

    def write(self) -> None:
        """See `Section`."""
        story = self.story
        self.train, self.val = story.train, story.train if story.val is None else story.val
        self.of_loaders = story.wrapped or not all(isinstance(each, TensorSource) for each in (self.train, self.val))
        columns = [each for each in (self.train, self.val) if isinstance(each, TensorSource)]
        self.single = story.forward is not None and bool(columns) and columns[0].bare
        if columns:
            types = [column.dtype for column in columns[0].columns]
            types[0] = columns[0].needed or types[0]
            self.values.constants["DTYPES"] = f"({', '.join(map(str, types))}{',' * (len(types) == 1)})"
        self.sized = not isinstance(self.train, StreamSource)
        self.called, self.outputs = "call", "model(batch[0]), batch[1]"
        if story.forward is not None:
            self.called = self.sources.name_for(_("forward"), story.forward, "forward")
            self.outputs = f"{self.called}(model, {'batch[0]' if self.single else 'batch'})"
        self.structure = columns[0].structure if columns else None
        if self.structure is not None:
            self.sources.definitions.append(self._structure(self.structure))
        self._write_evaluation()
        self.words.update(setup=self._setup(), begin_epoch=self._begin(), progress=self._progress())
        self.words.update(call=self.called, told_data=self._told())

    # -- before the loop

    def _setup(self) -> str:
        story, of_columns = self.story, isinstance(self.train, TensorSource)
        made = self._given("train", self.train)
        first = f"data = {made}" if of_columns else "" if made == "train" else f"train = {made}"
        given = self._given("val", self.val)
        deal, val = self._dealt("data" if of_columns else "train", self.train), self._dealt("val", self.val, True)
        if story.share is None:
            wrapped = self._dealt(given, self.val, True)
            val_lines = ["if val is not None:", f"    val = {wrapped}"]
        else:
            self.values.constants["VAL_SHARE"] = literal(float(story.share))
            labels = self._stratified() if of_columns else self._labels() if story.stratified else ""
            split = fill(
                _SPLIT,
                size="len(data[0])" if of_columns else "len(train.dataset)",
                stratify=f"stratify={labels}," if story.stratified else "",
                cut=_CUT_COLUMNS if of_columns else _CUT_SAMPLES,
                given=given,
            )
            val_lines = [split, f"val = {val}"]
        return lines(first, *val_lines, f"batches = {deal}")

    def _given(self, name: str, source: AnySource) -> str:
        """Return what a script makes of what it is given."""
        if isinstance(source, TensorSource):
            columns = f"columns_of({name})" if self.of_loaders else name
            if source.structure is not None:
                return f"as_tensors(flatten({columns}), device)"
            return f"as_tensors({f'({columns},)' if self.single else columns}, device)"
        if isinstance(source, StreamSource):
            if not isinstance(getattr(source.loader, "dataset", None), IterableDataset):
                return name
            return f"as_loader({name}, batch_size={literal(getattr(source.loader, 'batch_size', None))})"
        if not isinstance(_within(source), Gathered):
            return f"as_loader({name})"
        if converted := source.converted:
            rule = _("a script takes sparse tensors in the types that the model needs")
            raise ValueError(_("train cannot be exported: {told}; {rule}.", told=converted, rule=rule))
        return f"DataLoader(Gathered({name}), collate_fn=Gathered.collate)"

    def _dealt(self, name: str, source: AnySource, measured: bool = False) -> str:
        """Return what deals a source's batches."""
        if isinstance(source, StreamSource):
            return f"Stream({name}, device)"
        shuffles = source.shuffle and (not measured or self.story.val is not None)
        if isinstance(source, TensorSource):
            picks = "lambda size, seed: torch.tensor(list(train.sampler))"
            order = picks if source.sampler is not None else "permutation" if shuffles else ""
            if source.structure is not None:
                return f"Structured({name}, structure{f', {order}' * bool(order)})"
            return f"Columns({name}, {order})" if order else f"Columns({name})"
        draw = "picked" if source.sampler is not None else "shuffled" if shuffles else "in_order"
        return f"Samples({name}, device, {draw})"

    def _stratified(self) -> str:
        """Return an expression for the labels by which columns were cut."""
        if self.structure is None:
            return "data[-1].cpu().numpy()"
        assert isinstance(self.train, TensorSource)
        columns = zip(self.structure.places, self.train.columns, strict=True)
        labels = [k for k, (place, column) in enumerate(columns) if place[0] == 1 and is_label(column)]
        return f"torch.stack([{', '.join(f'data[{k}]' for k in labels)}], 1).cpu().numpy()"

    def _structure(self, structure: Structure) -> str:
        """Return the function that makes a batch of its columns."""
        names = [_name(place) for place in structure.places]
        if len(set(names)) < len(names) or not all(name.isidentifier() for name in names):
            names = [f"column_{k}" for k in range(len(names))]
        made, columns = _written(structure(names)), "\n".join(f"data{_way(place)}," for place in structure.places)
        return fill(_STRUCTURE, columns=columns, names=", ".join(names), batch=made[1:-1] if made[0] == "(" else made)

    def _labels(self) -> str:
        """Return an expression for the labels by which a dataset was cut, which are in memory."""
        dataset = _within(self.train)
        if isinstance(dataset, list):
            labels = "[sample[-1] for sample in train.dataset]"
            stacked = isinstance(dataset[0][-1], torch.Tensor)
            return f"torch.stack({labels}).numpy()" if stacked else f"torch.tensor({labels}).numpy()"
        if hasattr(dataset, "targets"):
            return "torch.as_tensor(train.dataset.targets).numpy()"
        rule = _("it was cut by labels that a script does not look up")
        raise ValueError(_("train cannot be exported: {rule}; give val its own data.", rule=rule))

    def _told(self) -> str:
        """Return what ``train`` says of its data."""
        if self.of_loaders:
            kinds = {
                TensorSource: _("arrays or rows of tensors"),
                DatasetSource: _("a Dataset or DataLoader"),
                StreamSource: _("a loader of batches"),
            }
            given = _(" and ").join(dict.fromkeys(kinds[type(source)] for source in (self.train, self.val)))
            told = f"``train``, and ``val`` if there is one, are of the kinds that the run had:\n{given}."
        elif self.structure is not None:
            told = "``train`` and ``val`` hold arrays or tensors by name, as the run's data did."
        elif self.single:
            told = "``train`` and ``val`` are arrays or tensors."
        elif self.story.forward is not None:
            told = "``train`` and ``val`` are tuples of arrays or tensors."
        else:
            told = "``train`` and ``val`` are pairs (X, y) of arrays or tensors."
        aside = "Without ``val``, a part of ``train`` is set aside for it." if self.story.share is not None else ""
        return "\n\n".join(filter(None, [told, aside]))

    @property
    def example(self) -> str:
        """What ``train`` is called with."""
        if self.of_loaders:
            return "train=loader, val=val_loader"
        plain = self.story.forward is None and self.structure is None
        return "train=(X, y), val=(X_val, y_val)" if plain else "train=data, val=val_data"

    # -- in the loop

    def _begin(self) -> str:
        """Return the lines that begin an epoch."""
        source: Any = self.train
        told = not isinstance(source, TensorSource) and hear_epochs(source if self.sized else source.loader)
        drawn = isinstance(source, DatasetSource) and source.sampler is not None and source.generator is not None
        drawn = drawn or (isinstance(source, TensorSource) and isinstance(source.sampler, LoaderOrder))
        plain = isinstance(source, TensorSource) and (source.sampler is not None or not source.shuffle)
        return lines(
            "for part in hear_epochs(train):\n    part.set_epoch(epoch)" if told else "",
            "# As a loader does, for its workers.\n" if drawn else "",
            "torch.empty((), dtype=torch.int64).random_(generator=train.generator)" if drawn else "",
            f"batches.begin({'' if plain else 'derive_seed(SEED, ORDER, epoch)'})",
        )

    def _progress(self) -> str:
        """Return how many epochs are done, as an expression."""
        if self.sized:
            return "epoch + batches.position / batches.size"
        known = isinstance(self.train, StreamSource) and self.train.length is not None
        return "epoch + min(1.0, batches.position / len(train))" if known else "epoch"

    def _write_evaluation(self) -> None:
        measured, given = self.val, self.story.val is not None
        drops = not isinstance(measured, StreamSource) and given and measured.drop_last
        streams = isinstance(measured, StreamSource)
        plain = isinstance(measured, TensorSource) and not (given and measured.shuffle)
        self.evaluation = {
            "seed": "" if plain else "derive_seed(SEED, EVALUATION)",
            "left": "batches.left(EVALUATION_BATCH) == EVALUATION_BATCH" if drops else "batches.left()",
            "take": "" if streams else "EVALUATION_BATCH",
            "number": "batches.position" if streams else "batches.position // EVALUATION_BATCH",
        }
        at_once = measured.batch_size or _FEW
        if isinstance(measured, TensorSource) and measured.batch_size is None:
            size = max(1, measured.size or 0)
            at_once = max(_FEW, min(_MANY, _EVALUATION_BYTES * size // max(1, measured.nbytes())))
        self.values.constants["EVALUATION_BATCH"] = literal(at_once)


def _name(place: Place) -> str:
    """Return what a script may call a column."""
    name = "_".join(map(str, place[1:] if place[0] in (0, 1) else place))
    return name or ("x" if place[0] == 0 else "y")


def _way(place: Place) -> str:
    return "".join(f"[{literal(key)}]" for key in place)


def _written(tree: Any) -> str:
    """Return a tree of names as source."""
    if isinstance(tree, str):
        return tree
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{literal(key)}: {_written(part)}" for key, part in tree.items()) + "}"
    if hasattr(tree, "_fields"):
        rule = _("a script does not hold {kind}: give the columns in a dict or tuple", kind=type(tree).__name__)
        raise ValueError(_("train cannot be exported: {rule}.", rule=rule))
    return "(" + ", ".join(map(_written, tree)) + "," * (len(tree) == 1) + ")"


def _within(source: AnySource) -> Any:
    """Return the dataset of a source, that which a part was cut off from."""
    dataset = source.dataset if isinstance(source, DatasetSource) else None
    return dataset.dataset if isinstance(dataset, Subset) else dataset
