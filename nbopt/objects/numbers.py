"""Numbers, bytes and arrays as `nbopt.objects.taking` writes them, read again."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from nbopt.objects.keeper import Packed


def read_array(packed: Mapping[str, Packed], tensors: Mapping[str, Tensor]) -> np.ndarray[Any, Any]:
    """Return a numpy array whose bytes are in ``tensors``."""
    flat = tensors[packed["array"]].numpy().tobytes()
    return np.frombuffer(flat, _dtype(packed["dtype"])).reshape(packed["shape"]).copy()


def read_scalar(packed: Mapping[str, Packed]) -> Any:
    """Return a number of numpy's, a float that JSON has not, or bytes."""
    if "number" in packed:
        return np.frombuffer(base64.b64decode(packed["number"]), _dtype(packed["dtype"]))[0]
    if "float" in packed:
        return float(packed["float"])
    plain = base64.b64decode(packed["bytes"])
    return bytearray(plain) if packed["changes"] else plain


def _dtype(name: str) -> np.dtype[Any]:
    dtype = np.dtype(name)
    if dtype.hasobject:
        raise ValueError(name)
    return dtype
