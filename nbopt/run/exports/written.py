"""`Written`: a run that can be written down, and done again from what was written.

What writes is imported when it is first asked for: a run starts without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from nbopt.run.trained import TrainedSession

if TYPE_CHECKING:
    from nbopt.run.exports.artifact import Exported


class Written(TrainedSession):
    """A run as a script without nbopt, and as a recipe."""

    def to_python(self) -> str:
        """Return a plain PyTorch script, without nbopt, that repeats the run up to where it is.

        Its function ``train(model, train, val)`` takes the model as it was before the run and returns the values of
        each metric, one per epoch.

        Raises
        ------
        ValueError
            If the run used something that cannot be written into a script; names it, and says what to do.

        Examples
        --------
        >>> run.step(5)
        >>> "def train(model, train, val" in run.to_python()
        True
        """
        from nbopt.export.script.writer import to_python
        from nbopt.run.exports import export

        return to_python(export.tell(self))

    def to_yaml(self) -> str:
        """Return the run's settings and the changes made while it trained as a recipe in YAML, to edit and run again.

        Examples
        --------
        >>> run.step(5)
        >>> run.set(lr=0.1)
        >>> print(run.to_yaml())
        # ...
        """
        from nbopt.export.recipe import to_yaml
        from nbopt.run.exports import export

        return to_yaml(export.tell(self, decided_again=True))

    def export(self, path: str | Path, *, int8: bool = False, fold: bool = False) -> Exported:
        """Write the model as it computes now to a file; quantized and pruned weights take few bytes.

        Parameters
        ----------
        path : str or Path
            The file to write or replace. Its ending decides the format: ``.safetensors`` holds packed weights, which
            ``nbopt.load_compressed``, or the function of that name in a script, loads into a model; ``.pt2`` holds a
            program for ``torch.export.load``, and ``.onnx`` one for ONNX Runtime (extra ``onnx``). Programs accept any
            number of samples and hold unpacked weights.
        int8 : bool
            For ``.onnx`` files, whether ONNX Runtime computes with 8-bit integers. The file is about a quarter as
            large. The ranges of activations are those of the epoch's first batches, until there are 1,024 samples or
            256 MiB. Inputs that the run rounds to fewer bits are rounded to 8; it says so.
        fold : bool
            Whether to fold each batch norm into the linear or convolutional layer right before it, where the outputs
            provably stay the same (to 1e-5 of the largest). The result names the batch norms that stay, and why.
            Quantized weights stay quantized: their grids are scaled.

        Returns
        -------
        Exported
            The size of the file, and that of a file with the same weights unpacked.

        Raises
        ------
        ValueError
            For any other ending.
        ImportError
            If an extra is missing; says which.

        Examples
        --------
        >>> import os
        >>> run.set(weight_bits=4)
        >>> exported = run.export("small.safetensors")
        >>> exported.bytes == os.path.getsize("small.safetensors")
        True
        >>> os.remove("small.safetensors")
        """
        from nbopt.run.exports.artifact import take_away

        return take_away(self, path, int8, fold)

    @classmethod
    def from_yaml(
        cls, text_or_path: str | Path, model: torch.nn.Module, train: Any, val: Any = None, **callables: Any
    ) -> Self:
        """Return a new run that will follow a recipe.

        Parameters
        ----------
        text_or_path : str or Path
            What `to_yaml` returned, edited or not, or a file that holds it (a str that ends in ``.yaml`` or ``.yml``).
        model, train, val
            As for a run; without ``val``, the fraction in the recipe is used.
        **callables
            Whatever a recipe cannot hold: your own ``loss``, ``optimizer``, ``metrics``, ``techniques``, ``forward``
            and ``schedule``, and ``edits`` that were given a model, as `nbopt.edits.Fuse(other)`; also ``device`` and
            ``name``.

        Raises
        ------
        ValueError
            For a recipe that cannot be followed; says which entry is wrong, and at which step.

        Examples
        --------
        >>> recipe = run.to_yaml().replace("lr: 0.001", "lr: 0.01")
        >>> follower = nbopt.Run.from_yaml(recipe, torch.nn.Linear(4, 3), (X, y))
        >>> follower.hyperparams["lr"]
        0.01
        """
        from nbopt.run.exports import export

        return export.from_yaml(cls, text_or_path, model, train, val, callables)
