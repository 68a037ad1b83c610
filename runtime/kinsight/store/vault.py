"""Encrypts the store's file, decrypts it, or changes its key: written anew, compared, put in its place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path

from sqlite_utils import Database

from kinsight.errors import StoreBusy, StoreDamaged, StoreError
from kinsight.store.driver import database, database_errors, header, sqlcipher_driver
from kinsight.store.file import StoreFile
from kinsight.store.keys import Key, KeySource, new_salt, salt_of
from kinsight.store.opening import journal_of, leftovers, plain_errors, refuse_damaged
from kinsight.store.schema import APPLICATION_ID
from kinsight.store.workplace import overwrite, settle, workplace, workplace_of


def rewrite(path: Path, key: KeySource | None, new: Key | None, timeout: float = 10.0) -> None:
    """Write the store's file anew with another key, or with none, and put it in the place of the old one.

    The new file is compared row by row before it gets the name; a process that is killed leaves the old one
    or the new one, whole. The old one and its log are overwritten with zeros. No other process may have the
    store open meanwhile; one that waits for it finds the new file.

    Args:
        path: of the store; it is made where there is none.
        key: gives the present key, as for `StoreFile.open`.
        new: the key from now on; None: not encrypted.
        timeout: seconds to wait for other processes.

    Raises:
        StoreBusy: another process has the store open.
        StoreError: it is damaged, cannot be read or written, or the disk is full; it stays as it is.
        VaultError: the present key is missing or does not fit.
        MissingPackage: sqlcipher3 is not installed.
    """
    path = path.resolve()
    sqlcipher_driver()
    with StoreFile.open(path, timeout, key) as store:
        faults, cipher = store.check(), store.cipher
    if faults:
        raise StoreDamaged(f"the store {path} is damaged ({faults[0]})", "restore a backup first")
    new_cipher = new.cipher(new_salt()) if new else ""
    with plain_errors(path), workplace(workplace_of(path)) as folder, _handles(path) as old:
        fresh = folder / path.name
        with _alone(path, timeout, cipher) as db:
            _copy(db, fresh, new_cipher)
            _compare(db, fresh, new_cipher)
            fresh.replace(path)
            settle(path.parent)
            for handle in old:
                overwrite(handle)


def is_encrypted(path: Path) -> bool:
    """Whether a store is; False where there is none yet.

    StoreDamaged where its first bytes are lost, which say it; StoreError where the file cannot be read.
    """
    with plain_errors(path):
        if not path.exists():
            return False
        first = header(path)
        first.release()
        encrypted = salt_of(first.bytes) is not None
        refuse_damaged(path, first.bytes, encrypted)
        return encrypted


@contextmanager
def _handles(path: Path) -> Iterator[list[int]]:
    """Of the file and its log; StoreBusy where this process has the file open.

    They are closed when all is done, as closing them gives up every lock that the process has on the file.
    """
    first = header(path)
    handles: list[int] = []
    try:
        if not first.fresh:
            raise StoreBusy(f"this process has the store {path} open", "close it first")
        for file in (path, leftovers(path)[0]):
            with suppress(FileNotFoundError):
                handles.append(os.open(file, os.O_RDWR))
        yield handles
    finally:
        for handle in handles:
            os.close(handle)
        first.release()


@contextmanager
def _alone(path: Path, timeout: float, cipher: str) -> Iterator[Database]:
    """A connection beside which there is no other; the log is in the file and gone.

    Only who is alone may leave the mode with a log, and in the exclusive mode a lock once taken stays. The
    journal of that change goes at once, so that no old page can be left beside the new file.
    """
    db = database(path, timeout, cipher, sqlcipher=True)
    try:
        try:
            for step in ("journal_mode = delete", "locking_mode = exclusive", "temp_store = memory"):
                db.execute(f"pragma {step}").fetchall()
            db.execute("begin exclusive")
            db.commit()
            journal_of(path).unlink(missing_ok=True)
        except database_errors() as error:
            if "locked" not in str(error):
                raise
            problem = f"another process has the store {path} open"
            raise StoreBusy(problem, "close every other kinsight, servers too, and try again") from error
        yield db
    finally:
        db.close()


def _copy(db: Database, fresh: Path, cipher: str) -> None:
    fresh.touch(mode=0o600)
    db.execute("attach database ? as fresh key ?", (str(fresh), cipher))
    db.execute("pragma fresh.synchronous = full").fetchall()
    db.execute("select sqlcipher_export('fresh')").fetchall()
    db.execute(f"pragma fresh.application_id = {APPLICATION_ID}")
    db.commit()
    db.execute("detach database fresh")


def _compare(db: Database, fresh: Path, cipher: str) -> None:
    """StoreError unless the new file is sound and has the same tables with the same rows."""
    other = database(fresh, 0, cipher, sqlcipher=True)
    try:
        schema = "select name, type, sql from sqlite_master order by name, type"
        tables = [name for name, kind, _ in db.execute(schema) if kind == "table"]
        queries = [schema, *(f'select * from "{table}" order by 1' for table in tables)]
        sound = other.execute("pragma integrity_check").fetchall() == [("ok",)]
        if not sound or not all(_same(db, other, query) for query in queries):
            raise StoreError(
                f"the copy {fresh} is not as it should be", "check the disk; nothing was changed"
            )
    finally:
        other.close()


def _same(db: Database, other: Database, query: str) -> bool:
    """Equal rows in the same order; two of them in memory at a time."""
    return all(ours == theirs for ours, theirs in zip_longest(db.execute(query), other.execute(query)))
