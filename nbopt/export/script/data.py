"""The data of a run, as a script takes, splits and deals them."""

from __future__ import annotations

from typing import Any

from torch.utils.data import IterableDataset, Subset

from nbopt.data.dataset_source import Gathered
from nbopt.data.order import LoaderOrder
from nbopt.data.places import Place
from nbopt.data.sources import AnySource, DatasetSource, StreamSource, evaluation_size
from nbopt.data.split import is_label
from nbopt.data.stream_source import hear_epochs
from nbopt.data.structure import Structure
from nbopt.data.tensor_source import TensorSource
from nbopt.export.script.section import Section
from nbopt.export.script.text import break_long, fill, lines
from nbopt.export.source import literal
from nbopt.export.source_values import written
from nbopt.i18n import _

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
    """Columns in memory, samples of a Dataset, or batches as a loader yields them."""

    def write(self) -> None:
        """See `Section`."""
        story, words, constants = self.story, self.words, self.draft.constants
        train, val = story.train, story.train if story.val is None else story.val
        columns = [each for each in (train, val) if isinstance(each, TensorSource)]
        self.of_loaders = story.wrapped or len(columns) < 2
        self.single = story.forward is not None and bool(columns) and columns[0].bare
        self.structure = columns[0].structure if columns else None
        if self.structure is not None:
            self.sources.definitions.append(self._structure(self.structure))
        if columns:
            types = [columns[0].needed or columns[0].columns[0].dtype, *(each.dtype for each in columns[0].columns[1:])]
            constants["DTYPES"] = f"({', '.join(map(str, types))}{',' * (len(types) == 1)})"
        constants["EVALUATION_BATCH"] = literal(0 if isinstance(val, StreamSource) else evaluation_size(val))
        words["call"], words["outputs"] = "call", "model(batch[0]), batch[1]"
        if story.forward is not None:
            words["call"] = self.sources.name_for(_("forward"), story.forward, "forward")
            words["outputs"] = f"{words['call']}(model, {'batch[0]' if self.single else 'batch'})"
        words.update(begin_epoch=self._begin(train), told_data=self._told(train, val))
        self._write_setup(train, val)
        words["rest"] = "" if story.forward is None or self.of_loaders else ", *batch[2:]"
        words.update(single=self.single, structured=self.structure is not None)
        self._write_taking(train)
        self._write_evaluation(val)

    # -- before the loop

    def _write_setup(self, train: AnySource, val: AnySource) -> None:
        story, words, of_columns = self.story, self.words, isinstance(train, TensorSource)
        words.update(of_columns=of_columns, splits=story.share is not None)
        name, made = "data" if of_columns else "train", self._given("train", train)
        words["made"] = f"{name} = {made}" if made != "train" else ""
        words.update(given_val=self._given("val", val), dealt=self._dealt(name, train, True), stratify="")
        split = story.share is not None
        words["dealt_val"] = self._dealt("val" if split else words["given_val"], val, split or story.val is not None)
        words["size"] = "len(data[0])" if of_columns else "len(train.dataset)"
        if story.share is not None:
            self.draft.constants["VAL_SHARE"] = literal(float(story.share))
            self.sources.imports.append("from sklearn.model_selection import train_test_split")
        if story.stratified:
            labels = self._stratified(train) if isinstance(train, TensorSource) else self._labels(train)
            words["stratify"] = f"stratify={labels},"

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

    def _dealt(self, name: str, source: AnySource, shuffles: bool) -> str:
        """Return what deals a source's batches."""
        if isinstance(source, StreamSource):
            return f"Stream({name}, device)"
        picks, shuffles = source.sampler is not None, shuffles and source.shuffle
        if isinstance(source, DatasetSource):
            return f"Samples({name}, device, {'picked' if picks else 'shuffled' if shuffles else 'in_order'})"
        order = "lambda size, seed: torch.tensor(list(train.sampler))" if picks else "permutation" if shuffles else ""
        return f"Columns({name}, {order})" if order else f"Columns({name})"

    def _stratified(self, train: TensorSource) -> str:
        """Return an expression for the labels by which columns were cut."""
        if self.structure is None:
            return "data[-1].cpu().numpy()"
        columns = zip(self.structure.places, train.columns, strict=True)
        labels = [k for k, (place, column) in enumerate(columns) if place[0] == 1 and is_label(column)]
        return f"torch.stack([{', '.join(f'data[{k}]' for k in labels)}], 1).cpu().numpy()"

    def _structure(self, structure: Structure) -> str:
        """Return the function that makes a batch of its columns."""
        names = [_name(place) for place in structure.places]
        if len(set(names)) < len(names) or not all(name.isidentifier() for name in names):
            names = [f"column_{k}" for k in range(len(names))]
        columns = lines(*(f"data{_way(place)}," for place in structure.places))
        made = written(structure([*map(_Named, names)]), _name_of)
        batch = made[1:-1] if made[0] == "(" else made
        return break_long(fill(_STRUCTURE, columns=columns, names=", ".join(names), batch=batch))

    def _labels(self, train: AnySource) -> str:
        """Return an expression for the labels by which a dataset was cut, which are in memory."""
        dataset = _within(train)
        if isinstance(dataset, list):
            return "np.stack([sample[-1] for sample in train.dataset])"
        if hasattr(dataset, "targets"):
            return "torch.as_tensor(train.dataset.targets).numpy()"
        rule = _("it was cut by labels that a script does not look up")
        raise ValueError(_("train cannot be exported: {rule}; give val its own data.", rule=rule))

    def _told(self, train: AnySource, val: AnySource) -> str:
        """Return what ``train`` says of its data; put down how it is called with them."""
        kinds = {
            TensorSource: _("arrays or rows of tensors"),
            DatasetSource: _("a Dataset or DataLoader"),
            StreamSource: _("a loader of batches"),
        }
        given = _(" and ").join(dict.fromkeys(kinds[type(source)] for source in (train, val)))
        told = f"``train``, and ``val`` if there is one, are of the kinds that the run had:\n{given}."
        self.words["example"] = "train=loader, val=val_loader"
        if not self.of_loaders:
            pairs = self.story.forward is None and self.structure is None
            many = "pairs (X, y) of " if pairs else "" if self.single else "tuples of "
            told = f"``train`` and ``val`` are {many}arrays or tensors."
            if self.structure is not None:
                told = "``train`` and ``val`` hold arrays or tensors by name, as the run's data did."
            self.words["example"] = "train=(X, y), val=(X_val, y_val)" if pairs else "train=data, val=val_data"
        aside = "\n\nWithout ``val``, a part of ``train`` is set aside for it."
        return told + aside * (self.story.share is not None)

    # -- in the loop

    def _begin(self, train: AnySource) -> str:
        """Return the lines that begin an epoch."""
        told = not isinstance(train, TensorSource) and hear_epochs(
            train.loader if isinstance(train, StreamSource) else train
        )
        sampler, generator = getattr(train, "sampler", None), getattr(train, "generator", None)
        drawn = isinstance(sampler, LoaderOrder) or (sampler is not None and generator is not None)
        unseeded = isinstance(train, TensorSource) and (sampler is not None or not train.shuffle)
        return lines(
            "for part in hear_epochs(train):\n    part.set_epoch(epoch)" if told else "",
            "# As a loader does, for its workers." if drawn else "",
            "torch.empty((), dtype=torch.int64).random_(generator=train.generator)" if drawn else "",
            f"batches.begin({'' if unseeded else 'derive_seed(SEED, ORDER, epoch)'})",
        )

    def _write_taking(self, train: AnySource) -> None:
        words = self.words
        if isinstance(train, StreamSource):
            words.update(count="", complete="not batches.left()")
            words["usual"] = literal(getattr(train.loader, "batch_size", None) or 1)
            words["progress"] = "epoch" if train.length is None else "epoch + min(1.0, batches.position / len(train))"
            return
        varies = len(set(self.story.values_of("batch_size"))) > 1
        size = "larger" if varies else "hyper.batch_size"
        words["number"] = "number" if varies and not train.drop_last else "hyper.batch_size"
        words["complete"] = f"batches.left({size}) < {size}" if train.drop_last else "not batches.left()"
        words["progress"] = "epoch + batches.position / batches.size"

    def _write_evaluation(self, val: AnySource) -> None:
        given, streams = self.story.val is not None, isinstance(val, StreamSource)
        unseeded = isinstance(val, TensorSource) and not (given and val.shuffle)
        size = "EVALUATION_BATCH"
        self.words.update(
            seed="" if unseeded else "derive_seed(SEED, EVALUATION)",
            left=f"batches.left({size}) == {size}" if given and val.drop_last else "batches.left()",
            take="" if streams else size,
            batch_number="batches.position" if streams else f"batches.position // {size}",
        )


def _name(place: Place) -> str:
    """Return what a script may call a column."""
    name = "_".join(map(str, place[1:] if place[0] in (0, 1) else place))
    return name or ("x" if place[0] == 0 else "y")


def _way(place: Place) -> str:
    return "".join(f"[{literal(key)}]" for key in place)


class _Named(str):
    """A name, where texts are written in quotes."""


def _name_of(part: Any) -> str:
    if isinstance(part, _Named):
        return part
    rule = _("a script does not hold {kind}: give the columns in a dict or tuple", kind=type(part).__name__)
    raise ValueError(_("train cannot be exported: {rule}.", rule=rule))


def _within(source: AnySource) -> Any:
    """Return the dataset of a source, that which a part was cut off from."""
    dataset = source.dataset if isinstance(source, DatasetSource) else None
    return dataset.dataset if isinstance(dataset, Subset) else dataset
