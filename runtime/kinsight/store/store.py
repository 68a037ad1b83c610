"""Opens, reads and changes the store; each change is one transaction, journalled, all or nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from sqlite_utils import Database

from kinsight.errors import StoreBusy, StoreError
from kinsight.store import editing, journal, reading
from kinsight.store.forgetting import forget
from kinsight.store.journal import Change, JournalEntry
from kinsight.store.names import INFO_LENGTH, clean_name, clean_text
from kinsight.store.opening import connect, plain_errors
from kinsight.store.records import Changes, Kind, NewView, Owner, Vectors, require_unit
from kinsight.store.shelf import Shelf
from kinsight.types import Concept, Floats


class Store:
    """What the user named, in one file. `Store.open` is the door; close it, or use it in a `with`.

    Names are compared without regard to case and kept in Unicode's normal form NFC without white space around
    them. Several threads may share a store, several processes a file. Every method raises StoreBusy where
    another process is in the way for longer than the timeout, and StoreError where the file cannot be read or
    written; then nothing has changed.
    """

    def __init__(self, db: Database, path: Path) -> None:
        self.path = path
        self._db = db
        self._lock = threading.RLock()
        self.album = Shelf(self._reading, self._writing, self._changing)

    @classmethod
    def open(cls, path: Path | str, timeout: float = 10.0) -> Store:
        """Open the file, make it where there is none, bring an older one up to date.

        Waits `timeout` seconds where another process is writing. A file that is damaged, of another program
        or of a newer version is refused with StoreError and stays as it is.
        """
        path = Path(path).resolve()
        with plain_errors(path):
            store = cls(connect(path, timeout), path)
        with suppress(StoreError):
            store._finish_forgetting()
        return store

    def close(self) -> None:
        """Close the file; nothing has to be saved."""
        with self._lock, plain_errors(self.path):
            self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def concepts(self) -> list[Concept]:
        """All concepts, in the order in which they were named."""
        with self._reading() as db:
            return reading.concepts(db)

    def concept(self, name: str) -> Concept:
        """The concept with this name or alias.

        Raises:
            UnknownConcept: there is none; the mend names those that come close.
        """
        with self._reading() as db:
            return reading.concepts(db, reading.find(db, name))[0]

    def view_picture(self, view_id: int) -> bytes:
        """The JPEG file of a view."""
        return self.picture("view", view_id)

    def picture(self, kind: Kind, crop_id: int) -> bytes:
        """The JPEG file of a view or negative; StoreError where it is gone."""
        with self._reading() as db:
            return reading.picture(db, kind, crop_id)

    def vectors(self, embedder_id: str) -> Vectors:
        """All vectors of one embedder, with the generation to which they belong."""
        with self._reading() as db:
            return reading.vectors(db, embedder_id)

    def views_without_vector(self, embedder_id: str) -> list[Owner]:
        """(kind, id) of all views and negatives that this embedder has not seen yet."""
        with self._reading() as db:
            return reading.without_vector(db, embedder_id)

    def generation(self) -> int:
        """A number that grows with every change; what was made from an older one is stale."""
        with self._reading() as db:
            return reading.generation(db)

    def history(self, limit: int = 20) -> list[JournalEntry]:
        """The last changes that can be undone, newest first."""
        with self._reading() as db:
            return journal.history(db, limit)

    def size(self) -> dict[str, int]:
        """How many there are of: concept, alias, view, negative, vector, journal."""
        with self._reading() as db:
            return reading.counts(db)

    def check(self) -> list[str]:
        """What SQLite finds wrong in the file, empty is good; reads every page, so it takes its time."""
        with self._reading() as db:
            found = [str(row[0]) for row in db.execute("pragma integrity_check").fetchall()]
            return [] if found == ["ok"] else found

    def remember(self, view: NewView, name: str, category: str = "", info: str = "") -> Concept:
        """Add a concept with its first view.

        Raises:
            DuplicateName: the name is somebody's name or alias already.
            ConceptError: the name, category or info cannot be kept.
        """
        name, category = clean_name(name), clean_text(category, "category")
        info = clean_text(info, "info", INFO_LENGTH)
        with self._changing() as change:
            concept_id = editing.remember(change, name, category, info)
            editing.add_crop(change, "view", concept_id, view)
            change.write_down("remember", f'remembered "{name}"')
            return reading.concepts(change.db, concept_id)[0]

    def add_view(self, name: str, view: NewView) -> Concept:
        """Add another view to the concept with this name or alias; UnknownConcept where there is none."""
        return self._add(name, "view", view, "added a view of")

    def add_negative(self, name: str, view: NewView) -> Concept:
        """Keep a crop of which the user said that it is not this one; UnknownConcept where there is none."""
        return self._add(name, "negative", view, "added a negative of")

    def edit(self, name: str, changes: Changes) -> Concept:
        """Change name, category, info or aliases at once; what is the same already is no change.

        Raises:
            UnknownConcept: there is nobody of that name.
            DuplicateName: the new name or alias is somebody else's.
            ConceptError: a text cannot be kept, or an alias to be removed is not there.
        """
        with self._changing() as change:
            concept = reading.concepts(change.db, reading.find(change.db, name))[0]
            done = editing.edit(change, concept, changes)
            if done:
                change.write_down("edit", ", ".join(done))
            return reading.concepts(change.db, concept.id)[0]

    def undo(self) -> str:
        """Take back the last change, whichever process made it, and say what it was.

        Raises:
            NothingToUndo: no change is left.
            DuplicateName: a name that would come back has a new owner.
        """
        with self._writing() as db:
            summary = journal.undo(db)
            _next_generation(db)
            return summary

    def forget(self, name: str) -> int:
        """Delete a concept with all that hangs on it, for good: no byte of it stays in the store's files.

        Photos of the album that may show or name it leave the album, while their files stay; returns how many
        these were.

        Its entries leave the journal, and so do others that mention it; what the infos of other concepts say
        stays. Where another process keeps the old pages from being overwritten, StoreBusy says so; the
        concept is gone all the same, and the next `open` overwrites them.
        """
        with self._writing() as db:
            concept = reading.concepts(db, reading.find(db, name))[0]
            left = forget(db, concept)
            db.execute("insert or replace into meta (key, value) values ('forgetting', '1')")
            _next_generation(db)
        try:
            self._finish_forgetting()
        except StoreError as error:
            raise type(error)(
                f'"{concept.name}" is forgotten, but traces of it are still in the file: {error.problem}',
                f"{error.mend}; they are overwritten when the store is opened the next time",
            ) from error
        return left

    def put_vectors(self, embedder_id: str, owners: Sequence[Owner], vectors: Floats) -> int:
        """Keep what a new embedder made of stored pictures; return how many of the crops are still there.

        `vectors` is float32 (n, dim), of unit length, one for each (kind, id) in `owners`. No change of the
        user's, so it is not in the journal.
        """
        require_unit(vectors)
        if len(owners) != len(vectors):
            raise ValueError(f"expected one vector an owner, got {len(owners)} owners and {vectors.shape}")
        with self._writing() as db:
            kept = editing.put_vectors(db, embedder_id, owners, vectors)
            _next_generation(db)
            return kept

    def _add(self, name: str, kind: Kind, view: NewView, deed: str) -> Concept:
        with self._changing() as change:
            concept = reading.concepts(change.db, reading.find(change.db, name))[0]
            editing.add_crop(change, kind, concept.id, view)
            editing.touch(change, concept.id)
            change.write_down(kind, f'{deed} "{concept.name}"')
            return reading.concepts(change.db, concept.id)[0]

    def _finish_forgetting(self) -> None:
        """Overwrite what forgotten concepts left in free pages and in the log, if that is still due."""
        with self._lock, plain_errors(self.path):
            if not self._db.execute("select key from meta where key = 'forgetting'").fetchall():
                return
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
        """A transaction whose writes are journalled."""
        with self._writing() as db:
            change = Change(db)
            yield change
            if change:
                _next_generation(db)


def _next_generation(db: Database) -> None:
    db.execute("update meta set value = value + 1 where key = 'generation'")
