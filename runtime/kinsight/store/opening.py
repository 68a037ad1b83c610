"""Opens the file of the store, makes a new one, and puts the database's errors into plain words."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from kinsight.errors import KinsightError, StoreBusy, StoreDamaged, StoreError, VaultError
from kinsight.store.driver import Header, database, database_errors, header
from kinsight.store.keys import KeySource, key_from_environment, salt_of
from kinsight.store.pages import PAGE, is_broken
from kinsight.store.schema import APPLICATION_ID, MIGRATIONS

_MAGIC = b"SQLite format 3\0"
_LEAST_FREE = 1 << 20  # bytes
_UNFINISHED = ".new"
_MAKING_SECONDS = 60  # more than anybody takes to make an empty store
_WRITABLE = "make the file and its folder writable for you, or choose another home with KINSIGHT_HOME"
_SPACE = "free some space on that disk and try again"
_DISK = "check the disk, its space and its quota"
_BACKUP = (
    "put a backup in its place with `kinsight store restore FILE`, or move it away to begin with an empty"
    " store; it is left as it is"
)
_DAMAGE = (
    "could not decode",
    "malformed",
    "not a database",
    "unsupported file format",
    "no such",
    "no column",
    "already exists",
    "constraint failed",
)
_SYMPTOMS: tuple[tuple[tuple[str, ...], type[StoreError], str, str], ...] = (
    (_DAMAGE, StoreDamaged, "is damaged", _BACKUP),
    (("locked",), StoreBusy, "is in use by another process", "wait until that has finished and try again"),
    (("disk is full",), StoreError, "has no space left on its disk; what it holds is unharmed", _SPACE),
    (("disk i/o error",), StoreError, "cannot be read or written on its disk", _DISK),
    (("readonly",), StoreError, "may not be written", _WRITABLE),
    (("unable to open",), StoreError, "cannot be opened", _WRITABLE),
)


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Turn what the database driver or the file system raises inside into a StoreError or StoreBusy."""
    try:
        yield
    except database_errors() as error:
        raise _explained(path, error) from error
    except ValueError as error:  # a row, or the driver's own message, that cannot be decoded
        raise StoreDamaged(f"the store {path} is damaged", _BACKUP) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        mend = _SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else _WRITABLE
        raise StoreError(f"the store {path} cannot be opened ({reason})", mend) from error


def _is_full(folder: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(folder).free < _LEAST_FREE
    return False


def _explained(path: Path, error: Exception) -> StoreError:
    text = str(error).lower()
    if "disk i/o error" in text and _is_full(path.parent):  # the log's index could not grow, say
        text = "disk is full"
    for signs, kind, problem, mend in _SYMPTOMS:
        if any(sign in text for sign in signs):
            return kind(f"the store {path} {problem}", mend)
    return StoreError(f"the store {path} failed ({error})", "try again, and look at it with kinsight doctor")


@dataclass
class Connection:
    """An open store's file."""

    db: Database
    cipher: str  # key and salt, as SQLCipher takes them; "" where it is not encrypted
    header: Header

    def close(self) -> None:
        """Once and for all."""
        self.db.close()
        self.header.release()


def connect(path: Path, timeout: float, key: KeySource | None) -> Connection:
    """Open the store at `path`, new or of any earlier version; wait `timeout` seconds for other processes.

    Nothing is written before the file has proved to be a store that this version understands. `key` is asked
    where it is encrypted; None: by $KINSIGHT_KEY_FILE. Where the file was encrypted or decrypted while this
    process waited for it, the new one is opened.
    """
    if not path.exists():
        _create(path)
    _sweep_unfinished(path)
    while True:
        before = path.stat()
        try:
            return _connect(path, timeout, key)
        except _failures():
            if not os.path.samestat(before, path.stat()):
                continue
            raise


def _failures() -> tuple[type[Exception], ...]:
    """What opening a store raises, put into plain words already or to be put so by `plain_errors`."""
    return (KinsightError, OSError, ValueError, *database_errors())


def _connect(path: Path, timeout: float, key: KeySource | None) -> Connection:
    first = header(path)
    db = None
    try:
        salt = salt_of(first.bytes)
        cipher = "" if salt is None else (key or key_from_environment)(path).cipher(salt)
        if first.fresh:
            refuse_damaged(path, first.bytes, encrypted=bool(cipher))
        db = database(path, timeout, cipher)
        if cipher:
            _refuse_wrong_key(db, path, cipher, first)
        _refuse_foreign(db, path)
        _make_private(path)
        _set_up(db)
        _drop_journal(db, path)
        _migrate(db)
    except BaseException:
        if db is not None:
            db.close()
        first.release()
        raise
    return Connection(db, cipher, first)


def _refuse_wrong_key(db: Database, path: Path, cipher: str, first: Header) -> None:
    try:
        db.execute("pragma application_id").fetchone()
    except database_errors() as error:
        if "not a database" not in str(error):
            raise
        if first.fresh and is_broken(path, cipher):
            raise StoreDamaged(f"the store {path} is damaged: its first page is", _BACKUP) from None
        problem = f"the key does not fit the store {path}, or its first bytes are damaged"
        mend = "try again with its passphrase or key file; it is left as it is"
        raise VaultError(problem, mend) from None


def _set_up(db: Database) -> None:
    """The settings of every connection; temporary files hold the user's data too, so they stay in memory."""
    db.enable_wal()
    for setting in ("foreign_keys = on", "secure_delete = on", "synchronous = full", "temp_store = memory"):
        db.execute(f"pragma {setting}").fetchall()


def _drop_journal(db: Database, path: Path) -> None:
    """A process that is killed while it changes the mode leaves a journal with old pages and no use."""
    if db.journal_mode == "wal":  # so nobody else can be in the mode that has a journal
        journal_of(path).unlink(missing_ok=True)


def _create(path: Path) -> None:
    """Make an empty store beside `path` and put it there in one step: a half-made one is never seen."""
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=_UNFINISHED, dir=path.parent)
    os.close(handle)
    fresh = Path(name)
    try:
        with database(fresh, timeout=0) as db:
            db.execute(f"pragma application_id = {APPLICATION_ID}")
            _set_up(db)
            _migrate(db)
        _publish(fresh, path)
    finally:
        for leftover in (fresh, *leftovers(fresh)):
            leftover.unlink(missing_ok=True)


def _sweep_unfinished(path: Path) -> None:
    """What a killed process left of making a store, of which there is one by now."""
    for file in path.parent.glob(f"{path.name}*{_UNFINISHED}*"):
        with suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > _MAKING_SECONDS:
                file.unlink()


def leftovers(path: Path) -> tuple[Path, Path]:
    """The log and its index, which SQLite keeps beside its file."""
    return Path(f"{path}-wal"), Path(f"{path}-shm")


def journal_of(path: Path) -> Path:
    """What SQLite keeps beside its file where it keeps no log."""
    return Path(f"{path}-journal")


def _publish(fresh: Path, path: Path) -> None:
    """Give the new store its name, unless another process was quicker."""
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        fresh.rename(path)


def _migrate(db: Database) -> None:
    if not MIGRATIONS.pending(db):
        return
    db.execute("begin immediate")
    try:
        MIGRATIONS.apply(db)
        db.commit()
    except BaseException:
        db.rollback()
        raise


def refuse_damaged(path: Path, first: bytes, encrypted: bool) -> None:
    """SQLite takes an empty file for a new database, drops the log beside it, and trusts a cut last page."""
    page_size = PAGE if encrypted else int.from_bytes(first[16:18], "big") or 1
    page_size = 65536 if page_size == 1 else page_size
    log = Path(f"{path}-wal")
    settled = not log.exists() or log.stat().st_size == 0
    if not first:
        raise StoreDamaged(f"the store {path} is empty: it was cut off", _BACKUP)
    if not (encrypted or first.startswith(_MAGIC)) or len(first) < 100:
        raise StoreDamaged(f"the store {path} is damaged: it does not begin like a database", _BACKUP)
    if settled and path.stat().st_size % page_size:
        raise StoreDamaged(f"the store {path} is damaged: its end is missing", _BACKUP)


def _refuse_foreign(db: Database, path: Path) -> None:
    """Only a store, and none from the future."""
    if db.execute("pragma application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program", "choose another home with KINSIGHT_HOME")
    with Database(memory=True, execute_plugins=False) as empty:
        known = {migration.name for migration in MIGRATIONS.pending(empty)}
    later = {migration.name for migration in MIGRATIONS.applied(db)} - known
    if later:
        raise StoreError(
            f"the store {path} was written by a newer kinsight", "update kinsight; it was not touched"
        )


def refuse_other_tables(db: Database, path: Path) -> None:
    """StoreError unless an open store has exactly the tables, indexes and triggers of this version."""
    with Database(memory=True, execute_plugins=False) as fresh:
        MIGRATIONS.apply(fresh)
        if _shape(db) == _shape(fresh):
            return
    raise StoreError(f"{path} has tables or triggers that no store has", "take another backup")


def _shape(db: Database) -> set[tuple[str, str, str]]:
    sql = "select type, name, sql from sqlite_master where substr(name, 1, 7) <> 'sqlite_'"
    return {(kind, name, text) for kind, name, text in db.execute(sql).fetchall()}


def _make_private(path: Path) -> None:
    """0600 for the file; SQLite gives the same to the files beside it."""
    for file in (path, *leftovers(path)):
        with suppress(FileNotFoundError, PermissionError):  # a file system without permissions
            mode = file.stat().st_mode & 0o777
            if mode & 0o077:
                file.chmod(mode & 0o700)
