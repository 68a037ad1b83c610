"""Opens, reads and changes the store; each change is one transaction, journalled, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from kinsight.errors import StoreError
from kinsight.store import bringing, editing, journal, reading, regrouping
from kinsight.store.file import StoreFile, next_generation
from kinsight.store.forgetting import forget, forget_crop, would_forget, would_forget_crop
from kinsight.store.journal import Change, JournalEntry
from kinsight.store.names import INFO_LENGTH, clean_name, clean_text
from kinsight.store.opening import Connection
from kinsight.store.records import (
    Arrival,
    Changes,
    Forgotten,
    ForgottenCrop,
    Incoming,
    NewView,
    OnConflict,
    Owner,
    Vectors,
    require_unit,
)
from kinsight.store.shelf import Shelf
from kinsight.types import Concept, Floats, Kind, View


class Store(StoreFile):
    """What the user named, in one file. `Store.open` is the door; close it, or use it in a `with`.

    Names are compared without regard to case and kept in Unicode's normal form NFC without white space around
    them. Several threads may share a store, several processes a file. Every method raises StoreBusy where
    another process is in the way for longer than the timeout, and StoreError where the file cannot be read or
    written; then nothing has changed.
    """

    def __init__(self, connection: Connection, path: Path) -> None:
        super().__init__(connection, path)
        self.album = Shelf(self._reading, self._writing, self._changing)

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

    def labels(self) -> list[tuple[int, str, str]]:
        """(id, name, category) of all concepts: what recall needs of them, in a tenth of the time."""
        with self._reading() as db:
            return reading.labels(db)

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

    def index_seal(self, embedder_id: str) -> str | None:
        """The sha256, in hex, of the index file that holds all vectors of this embedder as they are now."""
        with self._reading() as db:
            return reading.index_seal(db, embedder_id)

    def seal_index(self, embedder_id: str, generation: int, sha256: str) -> None:
        """Keep the sha256, in hex, of an index file that was made of the store at this generation.

        It changes nothing that the user knows of, so the generation stays as it is.
        """
        with self._writing() as db:
            row = f"index {embedder_id}", f"{generation} {sha256}"
            db.execute("insert or replace into meta (key, value) values (?, ?)", row)

    def views_without_vector(self, embedder_id: str) -> list[Owner]:
        """(kind, id) of all views and negatives that this embedder has not seen yet."""
        with self._reading() as db:
            return reading.without_vector(db, embedder_id)

    def history(self, limit: int = 20) -> list[JournalEntry]:
        """The last changes that can be undone, newest first."""
        with self._reading() as db:
            return journal.history(db, limit)

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
        """Add another view to the concept with this name or alias.

        Raises:
            UnknownConcept: there is nobody of that name.
            ConceptError: the crop is a negative of this one.
        """
        return self._add(name, "view", view, "added a view of")

    def add_negative(self, name: str, view: NewView) -> Concept:
        """Keep a crop of which the user said that it is not this one; nothing where it was said before.

        Raises:
            UnknownConcept: there is nobody of that name.
            ConceptError: the crop is a view of this one, and so would no view count any more.
        """
        return self._add(name, "negative", view, "noted a picture that is not")

    def edit(self, name: str, changes: Changes) -> Concept:
        """Change name, category, info, aliases or crops at once; what is the same already is no change.

        Raises:
            UnknownConcept: there is nobody of that name.
            DuplicateName: the new name or alias is somebody else's.
            ConceptError: a text cannot be kept, what is to be removed is not there, or no view would be left.
        """
        with self._changing() as change:
            concept = _named(change, name)
            done = editing.edit(change, concept, changes)
            if done:
                change.write_down("edit", ", ".join(done))
            return reading.concepts(change.db, concept.id)[0]

    def merge(self, name: str, into: str) -> Concept:
        """All of one concept goes to another: views, negatives and aliases; its name becomes an alias.

        The infos are joined. Negatives of one that show the other are dropped, as they are no longer true.

        Raises:
            UnknownConcept: there is nobody of one of the names.
            ConceptError: both names are of the same one, or the infos are too long together.
        """
        with self._changing() as change:
            gone, kept = _named(change, name), _named(change, into)
            change.write_down("merge", regrouping.merge(change, gone, kept))
            return reading.concepts(change.db, kept.id)[0]

    def split(self, name: str, view_ids: Sequence[int], new: str) -> Concept:
        """Some views of a concept become a new one, named `new`, of the same category; return the new one.

        Raises:
            UnknownConcept: there is nobody of that name.
            DuplicateName: the new name is another one's; an alias of the concept itself it may be.
            ConceptError: a view is not of this concept, or none would be left to it.
        """
        new = clean_name(new)
        with self._changing() as change:
            new_id, done = regrouping.split(change, _named(change, name), view_ids, new)
            change.write_down("split", done)
            return reading.concepts(change.db, new_id)[0]

    def move(self, view_ids: Sequence[int], source: str, target: str) -> Concept:
        """Some views of a concept go to another one; return that one. Raises as `split` does.

        A negative of that one that shows the same is dropped, as it is no longer true.
        """
        with self._changing() as change:
            giver, taker = _named(change, source), _named(change, target)
            change.write_down("move", regrouping.move(change, giver, taker, view_ids))
            return reading.concepts(change.db, taker.id)[0]

    def arrivals(self, incoming: Sequence[Incoming], on_conflict: OnConflict = "refuse") -> list[Arrival]:
        """What `bring` would do with each of these; raises as it does."""
        with self._reading() as db:
            return bringing.settle(db, incoming, on_conflict)

    def bring(self, incoming: Sequence[Incoming], on_conflict: OnConflict = "refuse") -> list[Arrival]:
        """Add concepts that come from elsewhere, without vectors, as one change; return what became of each.

        With "skip" those stay out whose name is taken, with "rename" they get a number; aliases that are
        taken are dropped.

        Raises:
            DuplicateName: names are taken, with "refuse"; or two of the incoming have the same name.
            ConceptError: a text cannot be kept.
        """
        with self._changing() as change:
            arrivals = bringing.settle(change.db, incoming, on_conflict)
            done = bringing.bring(change, incoming, arrivals)
            if change:
                change.write_down("import", done)
            return arrivals

    def undo(self) -> str:
        """Take back the last change, whichever process made it, and say what it was.

        Raises:
            NothingToUndo: no change is left.
            DuplicateName: a name that would come back has a new owner.
        """
        return self.undo_last(1)[0]

    def undo_last(self, count: int) -> list[str]:
        """Take back the last `count` changes, or none of them; what they were, the last one first.

        Raises:
            NothingToUndo: there are not so many.
            DuplicateName: a name that would come back has a new owner.
        """
        with self._writing() as db:
            summaries = journal.undo_last(db, count)
            next_generation(db)
            return summaries

    def would_forget(self, name: str) -> Forgotten:
        """What `forget` would do beside deleting the concept; nothing changes."""
        with self._reading() as db:
            return would_forget(db, reading.concepts(db, reading.find(db, name))[0])

    def forget(self, name: str) -> Forgotten:
        """Delete a concept with all that hangs on it, for good: no byte of it stays in the store's files.

        Photos of the album that may show or name it leave the album, while their files stay. Its entries
        leave the journal, and so do others that mention it; what the texts of other concepts say stays, and
        whose these are is returned. Where another process keeps the old pages from being overwritten,
        StoreBusy says so; the concept is gone all the same, and the next `open` overwrites them.
        """
        with self._forgetting() as db:
            return forget(db, reading.concepts(db, reading.find(db, name))[0])

    def would_forget_crop(self, name: str, owner: Owner) -> ForgottenCrop:
        """What `forget_crop` would do beside deleting the picture; raises as it does, and nothing changes."""
        with self._reading() as db:
            return would_forget_crop(db, reading.concepts(db, reading.find(db, name))[0], owner)

    def forget_crop(self, name: str, owner: Owner) -> ForgottenCrop:
        """Delete one view or negative for good, also one that `edit` has taken away before.

        Where the same picture was kept twice, all of these go; so no byte of it stays in the store's files,
        unless it is a picture of another concept too. The concept and the album stay as they are.

        Raises:
            UnknownConcept: there is nobody of that name.
            ConceptError: it is none of this one, or no view with another picture would be left.
            StoreBusy: as in `forget`.
        """
        with self._forgetting() as db:
            return forget_crop(db, reading.concepts(db, reading.find(db, name))[0], owner)

    @contextmanager
    def _forgetting(self) -> Iterator[Database]:
        """A transaction, after which the pages that it gave up are overwritten."""
        with self._writing() as db:
            yield db
            db.execute("insert or replace into meta (key, value) values ('forgetting', '1')")
            next_generation(db)
        try:
            self._finish_forgetting()
        except StoreError as error:
            raise type(error)(
                f"it is forgotten, but traces of it are still in the file: {error.problem}",
                f"{error.mend}; they are overwritten when the store is opened the next time",
            ) from error

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
            next_generation(db)
            return kept

    def _add(self, name: str, kind: Kind, view: NewView, deed: str) -> Concept:
        with self._changing() as change:
            concept = _named(change, name)
            if kind == "negative" and _is_among(concept.negatives, view):
                return concept
            editing.add_crop(change, kind, concept.id, view)
            editing.touch(change, concept.id)
            change.write_down(kind, f'{deed} "{concept.name}"')
            return reading.concepts(change.db, concept.id)[0]


def _is_among(crops: Sequence[View], view: NewView) -> bool:
    """The very same box of the same photo."""
    return any(crop.photo_sha256 == view.photo_sha256 and crop.xyxy == view.xyxy for crop in crops)


def _named(change: Change, name: str) -> Concept:
    return reading.concepts(change.db, reading.find(change.db, name))[0]
