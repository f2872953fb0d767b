"""Where machine code is kept for the next kernel: a folder that nobody else can write to, and no file that is not ours.

Loading machine code is running it. So the folder has to be the user's alone, and each package bears a signature by a
secret that lies there too (HMAC, RFC 2104): what was put there, exchanged or cut short is never loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nbopt.i18n import _
from nbopt.torch_private import default_cache_dir

KEPT_PACKAGES = 50  # some 2 MB each
_TAG_BYTES = 32
_AT_WORK = "at-work-"
_LEFT_SECONDS = 86400.0
_CACHE_BYTES = 2**29  # what torch's compiler may leave in the folder
_HAS_OWNERS = hasattr(os, "geteuid")  # not on Windows, where the folder of a user is closed to others by itself
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Untrusted(Exception):
    """A folder or a file that others could have written."""


class Packages:
    """The packages kept in a folder, each by its key.

    Parameters
    ----------
    folder : Path
        Made if it is not there; its parents too.

    Raises
    ------
    Untrusted
        If it is not a folder of the user's alone.
    OSError
        If it cannot be made or read.

    Attributes
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        _check(folder, os.lstat(folder), stat.S_ISDIR)
        around = folder.parent.stat()
        if not around.st_mode & stat.S_ISVTX and (around.st_mode & stat.S_IWOTH or not _is_own(around, or_roots=True)):
            raise Untrusted(_("{path} lies where other users could exchange it", path=folder))
        self.folder = folder
        self._secret = self._find_secret()

    def _find_secret(self) -> bytes:
        path = self.folder / "secret"
        if not path.exists():
            with self.workplace() as place:
                draft = place / "secret"
                _write(draft, secrets.token_bytes(_TAG_BYTES))
                with contextlib.suppress(FileExistsError):  # another kernel was first
                    os.link(draft, path)
        secret = _read(path)
        if len(secret) != _TAG_BYTES:
            raise Untrusted(_("{path} is not what nbopt wrote", path=path))
        return secret

    @property
    def caches(self) -> Path:
        """Where torch's compiler may keep what it loads itself."""
        return self.folder / "torch"

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.pt2"

    def _sign(self, key: str, content: bytes) -> bytes:
        return hmac.new(self._secret, key.encode() + b"\n" + content, hashlib.sha256).digest()

    def get(self, key: str) -> bytes | None:
        """Return a package, or None if there is none that was put here under this key."""
        try:
            signed = _read(self._path(key))
        except (OSError, Untrusted):
            return None
        tag, content = signed[:_TAG_BYTES], signed[_TAG_BYTES:]
        return content if hmac.compare_digest(tag, self._sign(key, content)) else None

    def put(self, key: str, content: bytes) -> None:
        """Keep a package, and forget the oldest if there are many."""
        with contextlib.suppress(OSError), self.workplace() as place:  # a full disk only costs compiling it again
            draft = place / "draft"
            _write(draft, self._sign(key, content) + content)
            os.replace(draft, self._path(key))
        packages = sorted(self.folder.glob("*.pt2"), key=lambda file: file.lstat().st_mtime, reverse=True)
        for file in packages[KEPT_PACKAGES:]:
            with contextlib.suppress(OSError):  # another kernel was first
                file.unlink()
        for place in self.folder.glob(f"{_AT_WORK}*"):  # of a kernel that was killed
            with contextlib.suppress(OSError):
                if place.lstat().st_mtime < time.time() - _LEFT_SECONDS:
                    shutil.rmtree(place)
        left = [file.lstat().st_size for file in self.caches.rglob("*")]
        if sum(left) > _CACHE_BYTES:
            shutil.rmtree(self.caches, ignore_errors=True)

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """Return a new folder within this one, for as long as it is needed."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=_AT_WORK, ignore_cleanup_errors=True) as place:
            yield Path(place)


def find_packages() -> Packages:
    """Return the packages of this user, or of this process alone if there is no folder to trust."""
    try:
        return Packages(_user_folder())
    except (OSError, RuntimeError, Untrusted) as error:
        if not _of_this_process:
            told = _("machine code is not kept for the next time, and none is loaded: {error}.", error=error)
            warnings.warn(told, stacklevel=2)
            _of_this_process.append(tempfile.TemporaryDirectory(prefix="nbopt-"))
        return Packages(Path(_of_this_process[0].name))


_of_this_process: list[tempfile.TemporaryDirectory[str]] = []  # none, or one


def _user_folder() -> Path:
    """Return where the platform keeps what can be made again; ``TORCHINDUCTOR_CACHE_DIR`` names another place."""
    given = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if given and given != default_cache_dir():  # where torch sets it to what everybody can foresee
        user = f"-{os.geteuid()}" if _HAS_OWNERS else ""  # several users may share that place
        return Path(given).absolute() / f"nbopt{user}"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "nbopt"


def _check(path: Path, found: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """Raise Untrusted unless a path is of a kind, the user's own, and closed to all others."""
    if not is_kind(found.st_mode):
        raise Untrusted(_("{path} is a link, or not what belongs there", path=path))
    if not _is_own(found):
        raise Untrusted(_("{path} belongs to another user", path=path))
    if found.st_mode & 0o077 and _HAS_OWNERS:
        way = _("chmod go= {path} closes it, after a look at what it holds", path=path)
        raise Untrusted(_("{path} is open to other users ({way})", path=path, way=way))


def _is_own(found: os.stat_result, or_roots: bool = False) -> bool:
    return not _HAS_OWNERS or found.st_uid == os.geteuid() or (or_roots and found.st_uid == 0)


def _read(path: Path) -> bytes:
    """Read a file of the user's alone."""
    handle = os.open(path, os.O_RDONLY | _NOFOLLOW)
    with open(handle, "rb") as file:
        _check(path, os.fstat(handle), stat.S_ISREG)
        return file.read()


def _write(path: Path, content: bytes) -> None:
    """Write a new file that only the user can read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o600), "wb") as file:
        file.write(content)
