"""Recurrent layers: each layer and direction has hidden units, which every gate's weights have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nbopt.edits.following import INTO, OUT, Following, Handler
from nbopt.i18n import _


def _recurrent(following: Following, args: Any, named: Any, result: Any) -> None:
    packed = not isinstance(args[2], (list, tuple)) or (isinstance(args[1], Tensor) and args[1].dtype == torch.int64)
    source, start = args[0], args[2] if packed else args[1]
    flat, biased, layers = args[3:6] if packed else args[2:5]
    both = args[8] if packed else args[7]
    states = list(start) if isinstance(start, (list, tuple)) else [start]
    each = len(flat) // (layers * (2 if both else 1))
    names = [following.use(weight) for weight in flat]
    plain = all(names) and each == (4 if biased else 2)
    if not plain or any(following.of(s) is not None or following.name_of(s) or bool((s != 0).any()) for s in states):
        why = _("a recurrent layer that has projections, or begins with another state than 0")
        return following.give_up(why, args, named, result)
    taken, rows = following.of(source), list[Tensor]()
    if taken is not None and taken.numel() != taken.shape[-1]:
        return following.give_up(_("a recurrent layer"), args, named, result)
    inputs = None if taken is None else taken.reshape(-1)
    for layer in range(layers):
        put = []
        for direction in range(2 if both else 1):
            first = each * (layer * (2 if both else 1) + direction)
            put.append(_one(following, flat[first : first + each], names[first : first + each], inputs))
        rows, inputs = [*rows, *put], torch.cat(put)
    if len(rows) > 1 and rows not in following.units.together:
        following.units.together.append(rows)
    output, *ends = result
    assert inputs is not None
    following.follow(output, inputs.reshape([1] * (output.ndim - 1) + [-1]))
    for end in ends:
        following.follow(end, torch.stack(rows).reshape([len(rows)] + [1] * (end.ndim - 2) + [-1]))
    return None


def _one(following: Following, weights: Any, names: list[str], inputs: Tensor | None) -> Tensor:
    """Return the hidden units of one layer in one direction."""
    units, (into, hidden) = following.units, weights[:2]
    own = units.axis(names[1], 1, hidden.shape[1], INTO)
    gates = own.repeat(hidden.shape[0] // hidden.shape[1])
    units.axis(names[1], 0, hidden.shape[0], OUT, gates)
    units.axis(names[0], 0, into.shape[0], OUT, gates)
    for name, bias in zip(names[2:], weights[2:], strict=True):
        units.axis(name, 0, len(bias), OUT, gates)
    if inputs is not None:
        units.axis(names[0], 1, into.shape[1], INTO, inputs.expand(into.shape[1]))
    return own


def _cell(following: Following, args: Any, named: Any, result: Any) -> None:
    following.give_up(_("a recurrent cell"), args, named, result)


RECURRENT: dict[str, Handler] = {
    **dict.fromkeys(("gru", "lstm", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
}
