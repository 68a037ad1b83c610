"""The database under the store: SQLite as Python has it, or SQLCipher where the file is encrypted."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sqlite_utils import Database

from kinsight.errors import MissingPackage

_HEADER_BYTES = 100


def database_errors() -> tuple[type[Exception], ...]:
    """What a driver raises; that of encrypted stores has a tree of its own beside sqlite3's."""
    loaded = sys.modules.get("sqlcipher3.dbapi2")
    return (sqlite3.Error,) if loaded is None else (sqlite3.Error, loaded.Error)


def database(path: Path, timeout: float, cipher: str = "", sqlcipher: bool = False) -> Database:
    """A bare connection to a file that exists, with SQLCipher where there is a cipher or it is asked for.

    Whether the cipher fits shows when something is read. Raises MissingPackage without sqlcipher3.
    """
    uri = path.absolute().as_uri() + "?mode=rw"
    driver = sqlcipher_driver() if cipher or sqlcipher else sqlite3
    connection = driver.connect(uri, uri=True, timeout=timeout, check_same_thread=False)
    if cipher:
        connection.execute("pragma cipher_log_level = none")
        connection.execute(f'pragma key = "{cipher}"')
    return Database(connection, execute_plugins=False)


def sqlcipher_driver() -> ModuleType:
    """The package; MissingPackage where it is not installed."""
    try:
        return import_module("sqlcipher3.dbapi2")
    except ImportError as error:
        raise MissingPackage(
            f"an encrypted store needs the package sqlcipher3, which cannot be loaded ({error})",
            'run pip install "kinsight[vault]"',
        ) from error


@dataclass
class Header:
    """The first bytes of a store's file, as they were when this process opened it."""

    bytes: bytes
    fresh: bool  # nobody in this process had the file open
    _id: tuple[int, int]
    _held: bool = True

    def release(self) -> None:
        """The connection that it was read for is closed; harmless when done twice."""
        with _LOCK:
            if self._held:
                self._held = False
                data, holders = _HELD.pop(self._id, (b"", 0))
                if holders > 1:
                    _HELD[self._id] = data, holders - 1


_LOCK = threading.Lock()
_HELD: dict[tuple[int, int], tuple[bytes, int]] = {}
"""By device and number of the file: what it begins with, and how many connections this process has."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_HELD.clear)  # locks are not inherited


def header(path: Path) -> Header:
    """Read the first bytes of a file, unless this process has it open already; release it in the end.

    Closing any handle of a file drops all locks that a process holds on it (POSIX), those of the database
    too; so a file that is in use is never opened a second time.
    """
    with _LOCK:
        status = path.stat()
        known = status.st_dev, status.st_ino
        data, holders = _HELD.get(known, (b"", 0))
        if not holders:
            with path.open("rb") as file:
                data = file.read(_HEADER_BYTES)
        _HELD[known] = data, holders + 1
    return Header(data, not holders, known)
