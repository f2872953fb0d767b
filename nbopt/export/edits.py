"""What an edit of a model's structure tells a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

Size = tuple[int, list[int], list[float] | None, list[float] | None, list[int] | None]
"""A dimension of a weight, the units taken along it, what they and their gradients are multiplied by, where they go."""


class Written(NamedTuple):
    """What an edit does beside giving weights other sizes.

    Attributes
    ----------
    lines : sequence of str
        Statements over ``model`` and ``optimizer``, which is None where the best weights so far are edited.
    uses : sequence of callable
        What these call of nbopt's own, which a script holds as it is written.
    given : tuple of str
        What the statements call a module that the user gave, an argument of the script's ``train``, and what tells it
        from another one; empty for none.
    passes : bool
        Whether these do passes of training samples, by calling ``run_passes``.
    refused : str
        Why a script cannot hold it, in words.
    """

    lines: Sequence[str] = ()
    uses: Sequence[Callable[..., Any]] = ()
    given: tuple[str, str] | tuple[()] = ()
    passes: bool = False
    refused: str = ""


class ToldEdit(NamedTuple):
    """An edit that was made in the course of a run.

    Attributes
    ----------
    step : int
    kind : str
        The name of the edit.
    words : str
        What it did.
    sizes : mapping of str to list of Size
        By the names of weights and buffers.
    attributes : mapping of str to mapping
        What layers keep of sizes, by their names.
    written : Written
    settled : bool
        Whether the model was first given the weights that it computed with.
    brought : sequence of Module
        What came into the model.
    settings : mapping of str to object
        What the user wrote.
    """

    step: int
    kind: str
    words: str
    sizes: Mapping[str, list[Size]]
    attributes: Mapping[str, Mapping[str, Any]]
    written: Written
    settled: bool
    brought: Sequence[nn.Module]
    settings: Mapping[str, Any]
