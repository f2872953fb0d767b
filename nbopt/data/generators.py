"""Generators of random numbers, of whatever library: their states, as they are and as JSON can hold them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

KINDS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)

PYTHONS: random.Random = random.seed.__self__  # type: ignore[attr-defined]
NUMPYS: np.random.RandomState = np.random.beta.__self__  # type: ignore[attr-defined]
"""The generators that the functions of `random` and of `numpy.random` draw from."""


def get_state(generator: Any) -> Any:
    """Return the state of a generator of one of `KINDS`."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state(legacy=False)


def set_state(generator: Any, state: Any) -> None:
    """Put a generator into a state that `get_state` returned."""
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)


def seed(generator: Any, number: int) -> None:
    """Seed a generator, of which it does not matter what it was."""
    if isinstance(generator, torch.Generator):
        generator.manual_seed(number)
    elif isinstance(generator, np.random.Generator):
        kind: Any = type(generator.bit_generator)
        generator.bit_generator.state = kind(number).state
    elif isinstance(generator, np.random.RandomState):
        generator.seed([number % 2**32, number >> 32])
    else:
        generator.seed(number)


def to_json(state: Any) -> Any:
    """Return a state as JSON can hold it."""
    if isinstance(state, torch.Tensor):
        return {"bytes": bytes(state.tolist()).hex()}
    if isinstance(state, np.ndarray):
        return {"dtype": str(state.dtype), "bytes": state.tobytes().hex()}
    if isinstance(state, dict):
        return {"dict": {name: to_json(value) for name, value in state.items()}}
    if isinstance(state, (tuple, list)):
        return [to_json(value) for value in state]
    return state.item() if isinstance(state, np.generic) else state


def from_json(stored: Any) -> Any:
    """Return the state that `to_json` was given."""
    if isinstance(stored, list):
        return tuple(map(from_json, stored))
    if not isinstance(stored, dict):
        return stored
    if "dtype" in stored and "bytes" in stored:
        return np.frombuffer(bytes.fromhex(stored["bytes"]), dtype=np.dtype(stored["dtype"]))
    if "bytes" in stored:
        return torch.tensor(list(bytes.fromhex(stored["bytes"])), dtype=torch.uint8)
    if "items" in stored:  # as earlier versions wrote it
        return np.array(stored["items"], dtype=np.dtype(stored["dtype"]))
    return {name: from_json(value) for name, value in stored["dict"].items()}
