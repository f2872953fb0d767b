"""`ChangesStructure`: a run whose model may get another structure."""

from __future__ import annotations

from typing import Any, Self

from nbopt.edits import Edit
from nbopt.run import editing, past
from nbopt.run.trained import TrainedSession


class ChangesStructure(TrainedSession):
    """A run whose model may get another structure, in a branch that has a model of its own."""

    def change(self, edit: Edit, *, name: str | None = None, source: str = "code", **changes: Any) -> Self:
        """Return a branch from where the run is, at rest, whose model has another structure; this one stays as it is.

        The edit is first tried on the next batch: where it cannot be made, or something that holds a weight could not
        go along, nothing is done. It stands in the branch's journal with what it does: parameters, multiplications for
        a sample and, for an edit that changes outputs, how far they move. What the optimizer remembers goes along.

        Parameters
        ----------
        edit : Edit
            One of ``nbopt.edits``, as ``nbopt.edits.Shrink(amount=0.5)``.
        name : str, optional
            Of the branch.
        **changes
            Hyperparameters that are to be different from there on, as ``sparsity=0`` where pruning has done its work.

        Raises
        ------
        InvalidHyperparam, ValueError
            If it cannot be made; says why.
        TypeError
            If it is no edit, or the model holds what cannot be copied.

        Examples
        --------
        >>> run.step(3)
        >>> wider = run.change(nbopt.edits.Widen("0", by=8))
        >>> [entry.new["parameters"] for entry in wider.journal if entry.name == "edit"]
        [[67, 131]]
        """
        return past.change(self, edit, name, self.hyperparams.check(changes), source)

    def edit(self, edit: Edit, *, source: str = "code") -> None:
        """Ask for another structure of the model, which it has from the next step on; callable from any thread.

        Only a run with a model of its own can be edited, such as `branch` and `change` return: the model that a run is
        given keeps its structure. The edit is first tried on the next batch: where the outputs would be others, or
        something that holds a weight could not go along, nothing is done.

        Raises
        ------
        RuntimeError
            If the run trains the model that it was given.
        InvalidHyperparam, ValueError
            If there is no such layer, or it cannot be changed so; says why.

        Examples
        --------
        >>> run.step(3)
        >>> branch = run.branch(at=0)
        >>> branch.edit(nbopt.Widen("0", by=8))
        """
        editing.edit(self, edit, source)
