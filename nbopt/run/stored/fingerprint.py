"""What a run was made with, as JSON can hold it: stored with the run, and checked when it is opened again."""

from __future__ import annotations

import platform
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nbopt.data.sources import AnySource, StreamSource
from nbopt.data.tensor_source import TensorSource
from nbopt.i18n import _
from nbopt.objects.given import fingerprint_of
from nbopt.record.snapshots import Snapshots
from nbopt.techniques.base import Technique
from nbopt.techniques.losses.by_output import names_of
from nbopt.techniques.metrics.by_output import OfOutput, read_metrics
from nbopt.training.device import pick_device
from nbopt.training.material import find_tensors
from nbopt.training.user_code.own_code import digest_code

if TYPE_CHECKING:
    from nbopt.run.spec import RunSpec
    from nbopt.training.training import Training

_SAMPLED = 64  # samples that tell one data set from another
_LONGEST = 100  # characters of a value that a technique was made with
_NAMED = 3  # differences of one kind that an error names


def describe_spec(spec: RunSpec, initial: Mapping[str, Any], loss_modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Return what is known of a run before its data are looked at.

    Parameters
    ----------
    spec : RunSpec
        As `RunSpec.checked` returns it.
    initial : mapping of str to object
        The hyperparameters' values before the first step.
    loss_modules : mapping of str to torch.nn.Module
        Those that the loss is made of.
    """
    return {
        "seed": spec.seed,
        "device": str(pick_device(spec.device).torch),
        **_tools(),
        "initial": initial,
        "given": sorted(spec.hyperparams),
        # A name is enough to make these again; None stands for what only the user has.
        "loss": [initial["loss"], isinstance(spec.loss, str) or names_of(spec.loss) is not None],
        "optimizer": [initial["optimizer"], isinstance(spec.optimizer, str)],
        "metrics": _name_metrics(spec.metrics, read_metrics(spec.metrics, spec.loss)),
        "techniques": {type(one).__name__: _made_with(one) for one in spec.techniques},
        "forward": None if spec.forward is None else getattr(spec.forward, "__name__", type(spec.forward).__name__),
        "val_fraction": spec.val_fraction,
        "model": describe_model(spec.model),
        "loss_tensors": {name: _shape(tensor) for name, tensor in find_tensors(spec.model, loss_modules).items()},
    }


def describe_begun(model: nn.Module, snapshots: Snapshots, training: Training | None) -> dict[str, Any]:
    """Return what is known of a run besides, and more once it has a training."""
    known: dict[str, Any] = {"model": describe_first(model, snapshots)}
    if training is None:
        return {**known, "frozen": find_frozen(model), "code": {}, "data": None}
    frozen, code = snapshots[0].facts.get("resting", []), digest_code(training)
    return {**known, "frozen": frozen, "code": code, "data": describe_data(training.cursor.source, training.val)}


def circumstances(training: Training) -> dict[str, Any]:
    """Return what the steps of a run are done with: tools, data and the user's own code."""
    data = describe_data(training.cursor.source, training.val)
    return {**_tools(), "data": data, "code": digest_code(training)}


def describe_model(model: nn.Module) -> dict[str, Any]:
    """Return shape and dtype of each of the model's weights and buffers."""
    return {name: _shape(value) for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def describe_first(model: nn.Module, snapshots: Snapshots) -> dict[str, Any]:
    """Return shape and dtype of what the model held when the run began, whatever was made of it since."""
    if not snapshots:
        return describe_model(model)
    named = snapshots[0].tensors.items()
    return {name.removeprefix("model."): _shape(tensor) for name, tensor in named if name.startswith("model.")}


def find_frozen(model: nn.Module) -> list[str]:
    """Return the names of the weights that require no gradient."""
    return [f"model.{name}" for name, weight in model.named_parameters() if not weight.requires_grad]


def compare_frozen(stored: list[str], given: list[str]) -> list[str]:
    """Say in words which weights are frozen in one of them only."""
    states = {
        name: [_("frozen") if name in names else _("trained") for names in (stored, given)]
        for name in dict.fromkeys([*stored, *given])
    }
    then, now = ({name.removeprefix("model."): both[k] for name, both in states.items()} for k in range(2))
    return differences(then, now, _("model"))


def describe_data(train: AnySource, val: AnySource | None) -> dict[str, Any]:
    """Return the fingerprints of a run's data."""
    return {"train": _fingerprint(train), "val": None if val is None else _fingerprint(val)}


def differences(stored: Mapping[str, Any], given: Mapping[str, Any], what: str) -> list[str]:
    """Say in words how two descriptions differ, entry by entry."""
    found = []
    for name in dict.fromkeys([*stored, *given]):
        before, now = stored.get(name), given.get(name)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            found += differences(before, now, f"{what} {name}".strip())
        else:
            words = _("{name} was {before}, now it is {now}", name=name, before=_say(before), now=_say(now))
            found.append(f"{what}: {words}")
    if len(found) > _NAMED:
        found = [*found[:_NAMED], _("and {count} more differences", count=len(found) - _NAMED)]
    return found


def pick(what: str, given: Any, stored: Any, name: str) -> Any:
    """Return what a stored run is to be made with: as given or, where a name is enough, as stored.

    Raises
    ------
    ValueError
        For what only the user has and did not give.
    """
    if given is None and stored is None:
        rule = _("only you have it: give it again as {what}=", what=what)
        raise ValueError(_("the run was made with {what} {name}: {rule}.", what=what, name=name, rule=rule))
    return stored if given is None else given


def _made_with(technique: Technique) -> list[str]:
    """Return what a technique of the user's was made with, as far as it tells one from another."""
    arguments, settings = technique.made_with
    return [_say_made(value) for value in (*arguments, *settings.values())]


def _say_made(value: Any) -> str:
    if isinstance(value, nn.Module):
        return fingerprint_of(value)
    if isinstance(value, dict):
        return str({key: _say_made(item) for key, item in value.items()})[:_LONGEST]
    plain = isinstance(value, (bool, int, float, str)) or value is None
    return repr(value)[:_LONGEST] if plain else type(value).__name__


def _tools() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "processor": _name_processor(),
    }


@cache
def _name_processor() -> str:
    """Return the processor's name and the instructions that torch uses of it: another one adds up in another order."""
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):  # Linux alone has this file, and not on every processor with such a line
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _fingerprint(source: AnySource) -> dict[str, Any]:
    if not isinstance(source, TensorSource):
        data = source.loader if isinstance(source, StreamSource) else source.dataset
        return {"samples": source.size, "kind": type(data).__name__}
    rows = torch.linspace(0, len(source.columns[0]) - 1, _SAMPLED).long().to(source.columns[0].device)
    digest = 0
    for column in source.columns:
        part = column[rows].detach().cpu().contiguous().reshape(-1)
        digest = zlib.crc32(part.view(torch.uint8).numpy().tobytes(), digest)
    shapes = {f"part {k + 1}": _shape(column[0]) for k, column in enumerate(source.columns)}
    return {"samples": source.size, **shapes, "values (checksum)": digest}


def _shape(tensor: Tensor) -> str:
    sizes = " x ".join(map(str, tensor.shape)) or _("a number")
    return f"{sizes} {str(tensor.dtype).removeprefix('torch.')}"


def _name_metrics(given: Any, metrics: Mapping[str, Any]) -> dict[str, str | None]:
    if by_output := {name: metric.label for name, metric in metrics.items() if isinstance(metric, OfOutput)}:
        return {name: by_output.get(name) for name in metrics}
    if isinstance(given, Mapping):
        return {str(name): item if isinstance(item, str) else None for name, item in given.items()}
    items = given if isinstance(given, (list, tuple)) else [given]
    return {name: item if isinstance(item, str) else None for name, item in zip(metrics, items, strict=False)}


def _say(value: Any) -> str:
    return _("missing") if value is None else str(value)
