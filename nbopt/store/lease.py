"""Who writes to a store: each process holds a lock that ends with it, however it ends."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from nbopt.store.checked import is_id


class _Lock(NamedTuple):
    descriptor: int
    process: int


_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a lock is a plain file

_held: dict[str, _Lock] = {}
_given_back: set[str] = set()  # by this process


def hold(folder: Path) -> str:
    """Take a lock in ``folder`` for as long as this process lives; return its token.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    token = secrets.token_hex(8)
    (folder / "locks").mkdir(exist_ok=True)
    descriptor = os.open(folder / "locks" / token, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    _lock(descriptor)
    _held[token] = _Lock(descriptor, os.getpid())
    return token


def release(folder: Path, token: str) -> None:
    """Give a lock of this process back."""
    if is_own(token):
        os.close(_held.pop(token).descriptor)
        _given_back.add(token)
        (folder / "locks" / token).unlink(missing_ok=True)


def is_own(token: str | None) -> bool:
    """Whether this process holds the lock."""
    return token in _held and _held[token].process == os.getpid()


def was_own(token: str | None) -> bool:
    """Whether this process holds the lock, or held it until it gave it back itself."""
    return is_own(token) or token in _given_back


def is_alive(folder: Path, token: str | None) -> bool:
    """Whether the process that took the lock still lives; False for what is no token."""
    if token is None or not is_id(token):
        return False
    if is_own(token):
        return True
    path = folder / "locks" / token
    if path.parent.is_symlink():
        return False
    try:
        descriptor = os.open(path, os.O_RDWR | _AS_IT_IS)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # it cannot be told; nothing is taken from anybody
    try:
        _lock(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    path.unlink(missing_ok=True)
    return False


@contextmanager
def alone(folder: Path, name: str) -> Iterator[bool]:
    """Do something that one process at a time may do; yield whether this one may."""
    (folder / "locks").mkdir(exist_ok=True)
    descriptor = os.open(folder / "locks" / name, os.O_RDWR | os.O_CREAT | _AS_IT_IS, 0o600)
    try:
        _lock(descriptor)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock the file at once; raise OSError if another process holds it."""
    module: Any
    try:
        import fcntl as module
    except ImportError:
        import msvcrt as module

        module.locking(descriptor, module.LK_NBLCK, 1)
    else:
        # Not inherited by a fork: the workers of a DataLoader must not keep a dead kernel's run alive.
        module.lockf(descriptor, module.LOCK_EX | module.LOCK_NB)
