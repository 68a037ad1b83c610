"""The file under the store: opened once, one transaction at a time, nothing of the forgotten left in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from sqlite_utils import Database

from kinsight.closing import Closing
from kinsight.errors import StoreBusy, StoreError
from kinsight.store import reading
from kinsight.store.agreement import settle
from kinsight.store.journal import Change
from kinsight.store.keys import KeySource
from kinsight.store.opening import Connection, connect, plain_errors, refuse_other_tables
from kinsight.store.replacing import replace_rows
from kinsight.store.workplace import sweep, workplace_of

Opened = TypeVar("Opened", bound="StoreFile")


class StoreFile(Closing):
    """One SQLite file: `open` it, close it, or use it in a `with`.

    Several threads may share it, several processes may have it open. Every method raises StoreBusy where
    another process is in the way for longer than the timeout, and StoreError where the file cannot be read or
    written; then nothing has changed.
    """

    def __init__(self, connection: Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._db = connection.db
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls: type[Opened], path: Path | str, timeout: float = 10.0, key: KeySource | None = None
    ) -> Opened:
        """Open the file, make it where there is none, bring an older one up to date.

        Waits `timeout` seconds where another process is writing. `key` gives the key where the file is
        encrypted; None: $KINSIGHT_KEY_FILE names it. What a killed process left half made beside it goes.

        Raises:
            StoreError: the file is damaged, of another program or of a newer version; it stays as it is.
            VaultError: it is encrypted and no key was given, or a wrong one; it stays as it is.
            MissingPackage: it is encrypted and sqlcipher3 is not installed.
        """
        path = Path(path).resolve()
        with plain_errors(path):
            store = cls(connect(path, timeout, key), path)
        sweep(workplace_of(path))
        with suppress(StoreError):
            store._finish_forgetting()
        return store

    @property
    def encrypted(self) -> bool:
        """Whether the file is; then nothing that is made from it may lie on the disk in plain."""
        return bool(self.cipher)

    @property
    def cipher(self) -> str:
        """Key and salt as SQLCipher takes them, "" where the file is not encrypted; not to be shown."""
        return self._connection.cipher

    def close(self) -> None:
        """Close the file; nothing has to be saved."""
        with self._lock, plain_errors(self.path):
            self._connection.close()

    def generation(self) -> int:
        """A number that grows with every change; what was made from an older one is stale."""
        with self._lock, plain_errors(self.path):  # asked before every look: no transaction for one statement
            return reading.generation(self._db)

    def size(self) -> dict[str, int]:
        """How many there are of: concept, alias, view, negative, vector, journal."""
        with self._reading() as db:
            return reading.counts(db)

    def check(self) -> list[str]:
        """What SQLite finds wrong in the file, empty is good; reads every page, so it takes its time."""
        with self._reading() as db:
            found = [str(row[0]) for row in db.execute("pragma integrity_check").fetchall()]
            lost = db.execute("pragma foreign_key_check").fetchall()
            strays = [f"row {row_id} of {table} belongs to nobody" for table, row_id, *_ in lost]
            return strays if found == ["ok"] else [*found, *strays]

    def require_own_tables(self) -> None:
        """StoreError where the file has tables, indexes or triggers that are none of this version's."""
        with self._reading() as db:
            refuse_other_tables(db, self.path)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Everything that is read inside is of one moment, whatever other processes write meanwhile."""
        with self._lock:
            with plain_errors(self.path):
                self._db.execute("begin")
            try:
                yield
            finally:
                with plain_errors(self.path):
                    self._db.rollback()

    def snapshot(self, path: Path) -> None:
        """Write the store as it is now into a new file, without free pages; others may go on writing.

        It is encrypted as the store is, with the same key.
        """
        with self._lock, plain_errors(self.path):
            self._db.execute("vacuum into ?", (str(path),))

    def replace(self, other: StoreFile) -> None:
        """Take over everything from another store, in one transaction, and drop what is here.

        Ids are the other's; the generation goes on growing. It cannot be undone, but the journal that comes
        along can. The other may be encrypted only where this one is.
        """
        with self._lock, plain_errors(self.path):
            cipher = other.cipher
            by_key, given = (" key ?", [cipher]) if self.encrypted else ("", [])
            self._db.execute(f"attach database ? as incoming{by_key}", (str(other.path), *given))
            try:
                with self._writing() as db:
                    replace_rows(db)
            finally:
                self._db.execute("detach database incoming")

    def _finish_forgetting(self) -> None:
        """Overwrite what forgotten concepts left in free pages and in the log, if that is still due."""
        with self._lock, plain_errors(self.path):
            if not self._db.execute("select key from meta where key = 'forgetting'").fetchall():
                return
            sweep(workplace_of(self.path))
            self._db.vacuum()
            [(busy, _, _)] = self._db.execute("pragma wal_checkpoint(truncate)").fetchall()
            if busy:
                raise StoreBusy(
                    f"another process is reading the store {self.path}", "wait until it has finished"
                )
            self._db.execute("delete from meta where key = 'forgetting'")

    @contextmanager
    def _reading(self) -> Iterator[Database]:
        """One state of the file for all queries inside."""
        with self._lock, plain_errors(self.path), self._db.atomic():
            yield self._db

    @contextmanager
    def _writing(self) -> Iterator[Database]:
        """One transaction that has the right to write from the start: all of it happens, or nothing."""
        with self._lock, plain_errors(self.path):
            self._db.execute("begin immediate")
            try:
                yield self._db
                self._db.commit()
            except BaseException:
                self._db.rollback()
                raise

    @contextmanager
    def _changing(self) -> Iterator[Change]:
        """A transaction whose writes are journalled; no picture is a view and a negative of one after it."""
        with self._writing() as db:
            change = Change(db, settle)
            yield change
            if change:
                next_generation(db)


def next_generation(db: Database) -> None:
    """The content has changed: whatever was made from it is stale."""
    db.execute("update meta set value = value + 1 where key = 'generation'")
