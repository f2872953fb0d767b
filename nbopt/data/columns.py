"""Samples given as arrays, lists, data frames or tensors, turned into tensors that layers and losses take.

What is given as ``(X, y)`` follows one rule; what a `Dataset` or `DataLoader` yields is used as it is.

======================================  =========================================================
given                                   becomes
======================================  =========================================================
float32, float64                        the model's own type: float64 for a model in double
                                        precision, else float32
float16, bfloat16, complex              the same
bool                                    the same; int64 as labels of a loss that takes class
                                        indices, floats where it is X and the model needs them
uint8 of more than one dimension        the same; floats or int64 in each batch where the model
                                        needs them
other whole numbers                     int64; floats where they are X and the model needs floats
======================================  =========================================================

Whether a model needs floats is found out in `nbopt.training.types`.
"""

from __future__ import annotations

import numbers
from decimal import Decimal
from typing import Any

import torch
from torch import Tensor

from nbopt.i18n import _

_ADAPTED = (torch.float32, torch.float64)
_NO_NUMBERS = "OUSMmV"  # numpy's kinds: objects, texts, bytes, times, records


def is_array(item: Any) -> bool:
    """Whether ``item`` is a column of samples: a tensor, an array, a data frame or a list that is not empty."""
    known = any(hasattr(item, way) for way in ("__array__", "to_numpy", "toarray"))
    return known or (isinstance(item, list) and bool(item))


def as_columns(items: tuple[Any, ...], role: str, floats: torch.dtype) -> tuple[tuple[Tensor, ...], str]:
    """Return the columns of samples, and what was converted, in words.

    Parameters
    ----------
    items : tuple
        Each of shape (n, ...).
    role : str
        For error messages.
    floats : torch.dtype
        What float32 and float64 become.

    Raises
    ------
    TypeError
        If one does not hold numbers.
    ValueError
        If they differ in length, or one is a single number or ragged.
    """
    given = [_read(item, role) for item in items]
    lengths = [len(column) for column in given]
    if len(set(lengths)) > 1:
        each = " / ".join(map(str, lengths))
        raise ValueError(_("the parts of {role} differ in length: {each} samples.", role=role, each=each))
    columns = tuple(column.to(_kept_as(column, floats)) for column in given)
    pairs = [
        (before.dtype, after.dtype)
        for item, before, after in zip(items, given, columns, strict=True)
        if before.dtype != after.dtype and not isinstance(item, list)  # Python's numbers have no type to lose
    ]
    return columns, ", ".join(dict.fromkeys(say_conversion(*pair) for pair in pairs))


def say_conversion(before: torch.dtype, after: torch.dtype) -> str:
    """Return that data became another type, in words."""
    names = [str(dtype).removeprefix("torch.") for dtype in (before, after)]
    return _("{before} data became {after}", before=names[0], after=names[1])


def _kept_as(column: Tensor, floats: torch.dtype) -> torch.dtype:
    if column.is_floating_point():
        return floats if column.dtype in _ADAPTED else column.dtype
    if column.is_complex() or column.dtype == torch.bool or (column.dtype == torch.uint8 and column.ndim > 1):
        return column.dtype
    return torch.int64


def _read(item: Any, role: str) -> Tensor:
    """Return a tensor of what was given, in the type it was given in."""
    tensor = item.detach() if isinstance(item, Tensor) else torch.from_numpy(_to_array(item, role))
    if tensor.ndim == 0:
        raise ValueError(_("{role} holds a single number where samples are expected.", role=role))
    return tensor


def _to_array(item: Any, role: str) -> Any:
    """Return a numpy array of numbers, a copy: later changes of the user's must not reach the run."""
    import numpy as np

    if hasattr(item, "toarray"):
        rule = _("convert it to an array (X.toarray()) or to a sparse torch tensor")
        raise TypeError(_("{role} holds a sparse {kind}: {rule}.", role=role, kind=type(item).__name__, rule=rule))
    if isinstance(item, np.ma.MaskedArray) and np.ma.is_masked(item):
        item = np.ma.filled(item.astype(float), np.nan)
    try:
        array = _frame_to_array(item, role) if hasattr(item, "iloc") else np.asarray(item)
    except ValueError as error:
        if not isinstance(item, list):
            raise
        rule = _("its rows differ in length: pad them, or pass a DataLoader whose collate_fn pads them")
        raise ValueError(_("{role} cannot become a tensor, {rule}.", role=role, rule=rule)) from error
    array = _unwrap(array) if array.dtype == object else array
    if array.dtype.kind in _NO_NUMBERS:
        raise _no_numbers(role, str(array.dtype))
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # torch has no longer floats
        return array.astype(np.float64)
    return np.array(array, dtype=array.dtype.newbyteorder("="))


def _frame_to_array(frame: Any, role: str) -> Any:
    """Return an array of a pandas frame, series or index whose columns may be of several types, or have gaps."""
    import numpy as np

    try:
        array = frame.to_numpy()
        if array.dtype != object:
            return array
    except TypeError:  # numbers beside times have no type in common
        pass
    if frame.ndim == 1:
        return _series_to_array(frame)
    columns = [_series_to_array(frame.iloc[:, k]) for k in range(frame.shape[1])]
    for name, dtype, column in zip(frame.columns, frame.dtypes, columns, strict=True):
        if column.dtype.kind in _NO_NUMBERS:
            raise _no_numbers(role, _("{kind} in column {name!r}", kind=dtype, name=name))
    return np.column_stack(columns)


def _no_numbers(role: str, kind: str) -> TypeError:
    way = _("encode it as numbers first, for example with scikit-learn's OrdinalEncoder or LabelEncoder")
    return TypeError(_("{role} holds {kind}, which a network cannot take: {way}.", role=role, kind=kind, way=way))


def _series_to_array(series: Any) -> Any:
    import numpy as np

    array = series.to_numpy()
    whole = {"b": np.bool_, "i": np.int64, "u": np.int64}
    kind = getattr(series.dtype, "kind", "O")
    if array.dtype == object and kind in "biuf":  # of pandas' types that may have gaps
        dtype = np.float64 if series.isna().any() else whole.get(kind, np.float64)
        return series.to_numpy(dtype=dtype, **({"na_value": np.nan} if dtype is np.float64 else {}))
    return _unwrap(array) if array.dtype == object else array


def _unwrap(array: Any) -> Any:
    """Return an array of the numbers that an array of objects holds; the same one if it holds anything else."""
    import numpy as np

    values = array.ravel().tolist()
    gaps = [value is None or type(value).__name__ == "NAType" for value in values]
    if all(isinstance(value, (bool, np.bool_)) for value in values):
        return array.astype(np.bool_)
    if all(isinstance(value, numbers.Integral) for value in values):
        return array.astype(np.int64)
    if all(gap or isinstance(value, (numbers.Real, Decimal)) for value, gap in zip(values, gaps, strict=True)):
        filled = [np.nan if gap else float(value) for value, gap in zip(values, gaps, strict=True)]
        return np.array(filled).reshape(array.shape)
    return array
