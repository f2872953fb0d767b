"""`ChangesStructure`: a run whose model may get another structure."""

from __future__ import annotations

from typing import Any, Self

from nbopt.run import editing, past
from nbopt.run.trained import TrainedSession
from nbopt.training.structure.edit import Edit


class ChangesStructure(TrainedSession):
    """A run whose model may get another structure, in a branch that has a model of its own."""

    def change(self, edit: Edit, *, name: str | None = None, source: str = "code", **changes: Any) -> Self:
        """Return a new, paused branch whose model has another structure; this run does not change.

        The edit is first tried on the next batch: if it cannot be made, or something that holds a weight cannot follow,
        nothing is done. The branch's journal tells what the edit did to the number of parameters, the multiplications
        per sample and, if it changes the outputs, by how much they differ. The optimizer's state is carried over.

        Parameters
        ----------
        edit : Edit
            One of ``nbopt.edits``, as ``nbopt.edits.Shrink(amount=0.5)``.
        name : str, optional
            The name of the branch.
        **changes
            Hyperparameters that differ from there on, such as ``sparsity=0`` once pruned units are gone.

        Raises
        ------
        InvalidHyperparam, ValueError
            If the edit cannot be made; says why.
        TypeError
            If ``edit`` is not an edit, or the model holds something that cannot be copied.

        Examples
        --------
        >>> run.step(3)
        >>> wider = run.change(nbopt.edits.Widen("0", by=8))
        >>> [entry.new["parameters"] for entry in wider.journal if entry.name == "edit"]
        [[67, 131]]
        """
        return past.change(self, edit, name, self.hyperparams.check(changes), source)

    def edit(self, edit: Edit, *, source: str = "code") -> None:
        """Change the structure of the model from the next step on; callable from any thread.

        Only runs that own their model, as those returned by `branch` and `change`, can be edited: the model that you
        gave a run keeps its structure. The edit is first tried on the next batch: if outputs would change, or something
        that holds a weight cannot follow, nothing is done.

        Raises
        ------
        RuntimeError
            If the run trains a model that you gave it.
        InvalidHyperparam, ValueError
            If the layer does not exist or cannot be changed like this; says why.

        Examples
        --------
        >>> run.step(3)
        >>> branch = run.branch(at=0)
        >>> branch.edit(nbopt.Widen("0", by=8))
        """
        editing.edit(self, edit, source)
