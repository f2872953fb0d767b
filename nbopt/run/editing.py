"""Asking a run for another shape of its model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import nn

from nbopt.i18n import _
from nbopt.objects.given import fingerprint_of, module_of
from nbopt.record.journal import EDIT
from nbopt.run.trained import TrainedSession
from nbopt.training.structure.edit import Edit
from nbopt.training.structure.edits import prepare_edit


class Rehearsed(NamedTuple):
    """An edit, as the journal holds it, that was made in a run like this one already, and modules that it was given."""

    value: dict[str, Any]
    given: Mapping[str, nn.Module | None]


def edit(run: TrainedSession, wanted: Any, source: str) -> None:
    """See `Run.edit`."""
    if run.parent is None:
        raise RuntimeError(
            _(
                "this run trains the model it was given, which keeps its shape: edit a branch, which has a copy, "
                "run.branch(at=run.step_count, edit=...)."
            )
        )
    for value in prepare(run, wanted):
        run.worker.ask({EDIT: value}, source)


def find_given(given: Any, needed: Iterable[str]) -> tuple[dict[str, nn.Module | None], list[str]]:
    """Return modules that edits were given, by fingerprints, and in words those of ``needed`` that are not among them.

    Parameters
    ----------
    given : Edit, Module, run, or a sequence of these
    needed : iterable of str

    Raises
    ------
    TypeError
        If something else is given.
    """
    found: dict[str, nn.Module | None] = {}
    for one in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(one, Edit):
            found.update(one.given)
        elif (module := module_of(one)) is not None:
            found[fingerprint_of(module)] = module
        else:
            rule = _("edits must be edits as the run was given them, as nbopt.edits.Fuse(other)")
            raise TypeError(_("{rule}; got {kind}.", rule=rule, kind=type(one).__name__))
    missing = [label for label in dict.fromkeys(needed) if found.get(label) is None]
    names = ", ".join(found) or _("nothing")
    return found, [_("it was fused with {label}, now there is {names}", label=label, names=names) for label in missing]


def prepare(run: TrainedSession, wanted: Any) -> list[dict[str, Any]]:
    """Return what is to be asked for, None being nothing; raise where it cannot be made."""
    if wanted is None:
        return []
    if isinstance(wanted, Rehearsed):
        run.training.given.update(wanted.given)
        return [wanted.value]
    return [run.worker.between_steps(lambda: prepare_edit(run.training, wanted, run.training.around()))]
