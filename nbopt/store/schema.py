"""The store's database: its tables, and how those of an earlier version become today's."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nbopt.errors import shorten
from nbopt.i18n import _

FILE = "nbopt.sqlite"
LOG_BYTES = 2**20  # of the write-ahead log, beyond which it is emptied
BUSY_SECONDS = 5.0  # how long to wait for another process that is writing
_LONGEST = 2**26  # bytes of a field
_READ_AS_IS = 1  # the oldest version of the tables that is read without a change: later ones have only more tables

_VERSION_TABLE = "CREATE TABLE schema (version INTEGER NOT NULL)"

# Number n leads from version n to n + 1, an empty file being version 0. Never change one that was released: add one.
MIGRATIONS: list[tuple[str, ...]] = [
    (
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            parent TEXT,
            created REAL NOT NULL,
            nbopt TEXT NOT NULL,
            settings TEXT NOT NULL,
            owner TEXT,
            state TEXT NOT NULL,
            reason TEXT NOT NULL,
            step INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            best REAL,
            entries INTEGER NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE journal (
            run TEXT NOT NULL,
            number INTEGER NOT NULL,
            step INTEGER NOT NULL,
            name TEXT NOT NULL,
            old TEXT NOT NULL,
            new TEXT NOT NULL,
            source TEXT NOT NULL,
            time REAL NOT NULL,
            kind TEXT NOT NULL,
            PRIMARY KEY (run, number)
        ) WITHOUT ROWID""",
        """CREATE TABLE history (
            run TEXT NOT NULL,
            name TEXT NOT NULL,
            chunk INTEGER NOT NULL,
            steps BLOB NOT NULL,
            numbers BLOB NOT NULL,
            PRIMARY KEY (run, name, chunk)
        )""",
        """CREATE TABLE snapshots (
            run TEXT NOT NULL,
            kind TEXT NOT NULL,
            step INTEGER NOT NULL,
            entries INTEGER NOT NULL,
            file TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            PRIMARY KEY (run, kind)
        ) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE records (
            run TEXT NOT NULL,
            number INTEGER NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (run, number)
        )""",
    ),
]


class StoreError(RuntimeError):
    """A store, or a run in it, that cannot be read: spoilt, or written by a later version."""


def connect(folder: Path) -> sqlite3.Connection:
    """Open the database of a store, made or brought up to date as needed; any thread may use it, one at a time.

    Raises
    ------
    OSError, sqlite3.Error
        If it cannot be opened and written.
    StoreError
        If a later version of nbopt wrote it, or it is not as nbopt makes it.
    """
    refuse_links(folder)
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
    connection = sqlite3.connect(
        folder / FILE, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        _guard(connection)
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")  # what is committed outlives the process
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # its fsync is for the writer's thread
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        if _version(connection) != len(MIGRATIONS):
            migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(folder: Path) -> sqlite3.Connection:
    """Open the database of a store that there is, to read only; also where nothing can be written.

    Raises
    ------
    sqlite3.Error
        If it cannot be opened.
    StoreError
        If a later version of nbopt wrote it, or it is not as nbopt makes it.
    """
    refuse_links(folder)
    address = (folder / FILE).as_uri()
    # The second way is for a folder that is not to be written to: there, nobody else is writing either.
    for options in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(f"{address}?{options}", timeout=BUSY_SECONDS, isolation_level=None, uri=True)
        try:
            _guard(connection)
            version = _version(connection)
        except sqlite3.OperationalError:
            connection.close()
            if "immutable" in options:
                raise
        except BaseException:
            connection.close()
            raise
        else:
            break
    if not _READ_AS_IS <= version <= len(MIGRATIONS):
        connection.close()
        connection = connect(folder)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[Callable[..., sqlite3.Cursor]]:
    """All that is executed in the ``with`` block, or none of it; wherever an interrupt falls, none stays open."""
    roll_back(connection)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection.execute
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that an interrupt left open: it would keep all others from writing."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to the newest version, all the way or not at all."""
    with transaction(connection):
        version = _version(connection)  # again: another process may have been faster
        if version > len(MIGRATIONS):
            raise StoreError(
                _(
                    "the store was written by a later nbopt (its version {version}; known here: {known}). Upgrade "
                    "nbopt, or keep the runs of this one elsewhere: store=, or the environment variable NBOPT_HOME.",
                    version=version,
                    known=len(MIGRATIONS),
                )
            )
        if version == 0:
            connection.execute(_VERSION_TABLE)
            connection.execute("INSERT INTO schema VALUES (0)")
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute("UPDATE schema SET version = ?", (len(MIGRATIONS),))


def checkpoint(folder: Path) -> None:
    """Move what the write-ahead log holds into the database."""
    with closing(sqlite3.connect(folder / FILE, timeout=BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def refuse_links(folder: Path) -> None:
    """Raise StoreError if this is no folder, or something in it leads out of it: a store follows no links."""
    if os.path.lexists(folder) and not folder.is_dir():
        way = _("name a folder: store=, or the environment variable NBOPT_HOME")
        raise StoreError(_("{folder} is a file, and a store is a folder; {way}.", folder=folder, way=way))
    names = ("locks", "snapshots", *(f"{FILE}{end}" for end in ("", "-wal", "-shm", "-journal")))
    if (link := next((folder / name for name in names if (folder / name).is_symlink()), None)) is not None:
        way = _("keep the whole folder elsewhere: store=, or the environment variable NBOPT_HOME")
        raise StoreError(_("{link} is a link, and a store follows none; {way}.", link=link, way=way))


def _guard(connection: sqlite3.Connection) -> None:
    """Let the database do nothing but hold rows, whoever made it: no code of its own, fields of bounded size."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


def _version(connection: sqlite3.Connection) -> int:
    """Return the version of the tables, which are exactly those that belong to it; 0 if there are none."""
    found = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    if all(name != "schema" for _kind, name, _sql in found):
        return 0
    row = connection.execute("SELECT version FROM schema").fetchone()
    version = row[0] if row else None
    if not isinstance(version, int) or version < 0:
        raise StoreError(_("the store's database is spoilt: it tells no version of its tables."))
    if version <= len(MIGRATIONS):
        _check_tables(found, version)
    return version


def _check_tables(found: list[tuple[str, str, str | None]], version: int) -> None:
    """Raise StoreError for tables that are not those of ``version``, and for views and triggers."""
    texts = {name: _squeeze(sql) for kind, name, sql in found if kind == "table"}
    with closing(sqlite3.connect(":memory:")) as model:
        model.execute(_VERSION_TABLE)
        for statements in MIGRATIONS[:version]:
            for statement in statements:
                model.execute(statement)
        made = model.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    odd = [name for name, sql in made if texts.get(name) != _squeeze(sql)]
    odd += [name for kind, name, _sql in found if kind in ("view", "trigger")]
    if odd:
        names = ", ".join(map(shorten, odd))
        raise StoreError(_("the store's database is not as nbopt makes it: {names}.", names=names))


def _squeeze(sql: str | None) -> str:
    return "".join((sql or "").split())


def _use_wal(connection: sqlite3.Connection) -> None:
    # Two processes that make one store at once: sqlite does not always wait here by itself.
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def is_busy(error: Exception) -> bool:
    """Whether another process holds the database."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
