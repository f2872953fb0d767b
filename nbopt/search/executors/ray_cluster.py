"""Finding a Ray cluster, or starting one that nobody else reaches."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nbopt.i18n import _
from nbopt.search.optional import need

_ANSWER_SECONDS = 5.0  # how long a head node may take to be reached
_QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}

# A cluster of one's own listens on 127.0.0.1 alone, as Ray has it where a firewall would ask, and wants a token that is
# written nowhere. Nothing tells Ray's makers of it.
_NO_STATISTICS = {"RAY_USAGE_STATS_ENABLED": "0"}
_OF_ONES_OWN = {**_NO_STATISTICS, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_TOKEN = "RAY_AUTH_TOKEN"
_LOOPBACK = "127.0.0.1"


def connect(address: str | None) -> Any:
    """Return Ray, connected: as it is already, else to ``address``, one found, or one of its own.

    Raises
    ------
    ImportError
        If Ray is not installed.
    ConnectionError
        If no cluster can be there, or none answers.
    """
    known = address or os.environ.get("RAY_ADDRESS")
    elsewhere = None if known in ("auto", "local") else known
    if elsewhere:
        _check(elsewhere)
    if known in (None, "local") and "ray" not in sys.modules and not _is_settled():
        os.environ |= {"RAY_AUTH_MODE": "token", _TOKEN: secrets.token_hex(32)}  # Ray reads these when it is imported
    with _environment(_NO_STATISTICS):
        ray = need("ray", "ray")
    if ray.is_initialized():
        return ray
    if elsewhere:
        _reach(elsewhere)
    if known != "local":
        try:
            ray.init(address=known or "auto", **_QUIET)
            return ray
        except Exception as error:  # ConnectionError, RuntimeError, ValueError and others, by what is wrong
            if known is not None:
                raise _unreachable(known, error) from error
    _start(ray)
    return ray


def _is_settled() -> bool:
    """Whether somebody has said already how one shows who one is."""
    said = any(name in os.environ for name in ("RAY_AUTH_MODE", _TOKEN, f"{_TOKEN}_PATH"))
    return said or (Path.home() / ".ray" / "auth_token").exists()


def _check(address: str) -> None:
    """Raise ConnectionError for what is no address of a head node."""
    if address.startswith("ray://"):
        rule = _("that is an address of Ray Client; give that of the head node, head:6379 for example")
        raise ConnectionError(_("{address}: {rule}.", address=address, rule=rule))
    host, _colon, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        rule = _("an address is host:port of the head node, head:6379 for example")
        raise ConnectionError(_("{address}: {rule}.", address=address, rule=rule))


def _reach(address: str) -> None:
    """Raise ConnectionError where nobody answers: Ray itself would wait for long."""
    host, _colon, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:  # the latter for a port beyond 65,535
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> ConnectionError:
    told = _("no Ray cluster answers at {address} ({error})", address=address, error=error)
    way = _("look whether `ray status` finds one there; RAY_ADDRESS and address= left out, the study has its own")
    return ConnectionError(_("{told}: {way}.", told=told, way=way))


def _start(ray: Any) -> None:
    """Start a cluster on this machine, which ends with this process."""
    base = "/tmp" if Path("/tmp").is_dir() else None  # the names of sockets must be short
    folder = tempfile.mkdtemp(prefix="nbopt-ray-", dir=base)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(ray.shutdown)  # first
    with _environment(_OF_ONES_OWN), _loopback(ray):
        own: dict[str, Any] = {"_node_ip_address": _LOOPBACK, "_temp_dir": folder, "include_dashboard": False}
        try:
            ray.init(address="local", **own, **_QUIET)
        except Exception:  # on a machine that is busy, it gives up after half a minute
            ray.shutdown()
            try:
                ray.init(address="local", **own, **_QUIET)
            except Exception as error:
                ray.shutdown()
                rule = _("it gives up where the machine is busy: try again, or search with executor='processes'")
                raise RuntimeError(_("Ray did not start ({error}): {rule}.", error=error, rule=rule)) from error
    if (reached := ray.util.get_node_ip_address()) != _LOOPBACK:  # a version of Ray that has it otherwise
        ray.shutdown()
        rule = _("start one yourself, by `ray start --head`, and know who reaches it")
        raise RuntimeError(_("Ray would listen at {address}, beyond this machine: {rule}.", address=reached, rule=rule))


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Have these variables set, for processes that are started within; those that are set stay."""
    own = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


@contextmanager
def _loopback(ray: Any) -> Iterator[None]:
    """Have Ray take 127.0.0.1 for an address, also where it was imported before the variable said so."""
    constants = getattr(getattr(ray, "_private", None), "ray_constants", None)
    before = getattr(constants, "ENABLE_RAY_CLUSTER", None)
    if before is not None:
        constants.ENABLE_RAY_CLUSTER = False  # type: ignore[union-attr]
    try:
        yield
    finally:
        if before is not None:
            constants.ENABLE_RAY_CLUSTER = before  # type: ignore[union-attr]
