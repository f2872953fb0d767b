"""A generator of a thread's own, in the place of torch's default one.

torch has one default generator on the CPU for all threads of a process: what a run draws would change what another cell
draws at the same time, and the other way round. Here, whatever a thread draws comes from a generator of its own while
it asks for that; `torch.manual_seed`, `torch.get_rng_state` and the like mean it too.

Every operation of torch that draws takes a generator, and all calls go through torch's dispatcher. One of the dispatch
keys that no device uses is switched on for the thread. Under it, the operations that draw get the thread's generator,
which takes two microseconds; all others pass through, at no cost.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_KEY = "TESTING_ONLY_GenericMode"
DRAWING = (
    *("bernoulli", "bernoulli_", "binomial", "cauchy", "cauchy_", "exponential", "exponential_", "geometric"),
    *("geometric_", "log_normal", "log_normal_", "multinomial", "normal", "normal_", "normal_functional", "poisson"),
    *("rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm", "random", "random_"),
    *("rrelu", "rrelu_", "rrelu_with_noise", "rrelu_with_noise_", "rrelu_with_noise_functional"),
    *("uniform", "uniform_", "_fused_dropout", "_sample_dirichlet", "_standard_gamma"),
)
"""torch's operations that draw random numbers."""


class _Own(threading.local):
    generator: torch.Generator | None = None


_OWN = _Own()
_LIBRARIES: list[torch.library.Library] = []  # what is registered is so as long as they live
_NUMBER: Any = None  # the key's


class _Default:
    """Stands for the default generator in `torch.random`, whose functions seed it and get and set its state."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.default_generator if _OWN.generator is None else _OWN.generator, name)


def switch(generator: torch.Generator | None) -> torch.Generator | None:
    """Let this thread draw from ``generator``, or from torch's default one; return what it drew from before.

    An interrupt may fall between the two lines that act; whatever it leaves, the next call puts both right.
    """
    before, _OWN.generator = _OWN.generator, generator
    torch._C._dispatch_tls_set_dispatch_key_included(_NUMBER, generator is not None)
    return before


@contextmanager
def within_mode() -> Iterator[None]:
    """Draw from the thread's generator in what a ``TorchDispatchMode`` calls, where torch leaves out the key."""
    if _OWN.generator is None:
        yield
        return
    is_left_out = torch._C._dispatch_tls_is_dispatch_key_excluded(_NUMBER)
    torch._C._dispatch_tls_set_dispatch_key_excluded(_NUMBER, False)
    try:
        yield
    finally:
        torch._C._dispatch_tls_set_dispatch_key_excluded(_NUMBER, is_left_out)


def install() -> bool:
    """Make `switch` work; return whether it does, by this version of torch."""
    global _NUMBER
    if not _LIBRARIES:
        try:
            _NUMBER = torch._C._dispatch_key_parse(_KEY)
            _LIBRARIES.extend(_register())
            torch.random.default_generator = _Default()  # type: ignore[assignment, attr-defined]
        except (AttributeError, RuntimeError):  # names that are private to torch
            _LIBRARIES.clear()
            return False
        os.register_at_fork(after_in_child=lambda: switch(None))  # a worker seeds the default generator
    return True


def _register() -> list[torch.library.Library]:
    library: Any = torch.library.Library
    everything, aten = library("_", "IMPL"), library("aten", "IMPL")
    everything.fallback(torch.library.fallthrough_kernel, _KEY)
    below = torch._C._dispatch_keyset_full_after(_NUMBER)
    for name in DRAWING:
        packet = getattr(torch.ops.aten, name, None)
        for overload in () if packet is None else packet.overloads():
            operation = getattr(packet, overload)
            arguments = operation._schema.arguments
            place = next((k for k, argument in enumerate(arguments) if argument.name == "generator"), None)
            if place is not None and torch._C._dispatch_has_kernel(operation.name()):
                kernel = _draw_from_own(operation, place, below)
                aten.impl(operation.name().removeprefix("aten::"), kernel, _KEY, with_keyset=True)
    return [everything, aten]


def _draw_from_own(operation: Any, place: int, below: Any) -> Callable[..., Any]:
    """Return ``operation``, with the thread's generator in the place of the default one.

    Parameters
    ----------
    operation : torch.OpOverload
    place : int
        Of the generator among its arguments.
    below : DispatchKeySet
        What it is passed on to.
    """
    default = torch.default_generator._cdata  # type: ignore[attr-defined]

    def draw(keys: Any, *args: Any, **named: Any) -> Any:
        given = args[place] if len(args) > place else named.get("generator")
        if given is None or given._cdata == default:
            if len(args) > place:
                args = (*args[:place], _OWN.generator, *args[place + 1 :])
            else:
                named["generator"] = _OWN.generator
        return operation.redispatch(keys & below, *args, **named)

    return draw
