"""The album's shelf of the store: photos that were looked at on purpose, with what was seen in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from kinsight.errors import StoreError
from kinsight.metrics import iou
from kinsight.store import editing, reading
from kinsight.store.journal import Change, now
from kinsight.store.names import INFO_LENGTH, clean_name, clean_text
from kinsight.store.shelf_records import AlbumPhoto, FileStamp, Naming, NewPhoto, Seer, Shots
from kinsight.types import Box, Concept, Floats, Regions

Reading = Callable[[], AbstractContextManager[Database]]
Changing = Callable[[], AbstractContextManager[Change]]

_PHOTO = (
    "id, path, sha256, size, modified_ns, width, height, added, embedder_id,"
    " (select count(*) from album_region where photo_id = album_photo.id),"
    " coalesce((select recogniser_id from album_face where photo_id = album_photo.id), '')"
)
_SAME_THING = 0.5


class Shelf:
    """The photos of the album: `store.album`. What is said of errors in `Store` holds here as well.

    A photo is known by the hash of its file. Adding and removing photos is not in the journal: the files stay
    where they are and can be added again, and what is removed is to leave no trace. Hiding and naming regions
    can be undone.
    """

    def __init__(self, reading_: Reading, writing: Reading, changing: Changing) -> None:
        self._reading, self._writing, self._changing = reading_, writing, changing

    def photos(self) -> list[AlbumPhoto]:
        """All photos, in the order in which they were added."""
        with self._reading() as db:
            return _photos(db)

    def shots(self, embedder_id: str, recogniser_id: str = "") -> Shots:
        """Everything that this embedder saw, and the faces of this recogniser, without the thumbnails."""
        with self._reading() as db:
            return _shots(db, embedder_id, recogniser_id)

    def generation(self) -> int:
        """A number that grows with every change of the album, and with every other one."""
        with self._reading() as db:
            return _generation(db)

    def thumbnail(self, photo_id: int) -> bytes:
        """The JPEG file of a small copy of a photo; StoreError where the photo is gone."""
        with self._reading() as db:
            row = db.execute("select thumbnail from album_photo where id = ?", (photo_id,)).fetchone()
        if row is None:
            raise StoreError(f"there is no photo {photo_id} in the album", "list the album again")
        return bytes(row[0])

    def put(self, seer: Seer, photos: Sequence[NewPhoto]) -> None:
        """Add photos in one transaction: all of them are kept, or none.

        One that is there already, by its hash, is replaced by what was seen now; one of another hash that was
        at the same path is gone from there, and so from the album.
        """
        with self._writing() as db:
            for one in filter(None, (seer, seer.faces)):
                row = one.embedder_id, one.alike
                db.execute("insert or replace into album_embedder (id, alike) values (?, ?)", row)
            for photo in photos:
                editing.require_dimension(db, seer.embedder_id, photo.vectors.shape[1])
                photo_id = _put(db, seer.embedder_id, photo)
                db.execute("delete from album_face where photo_id = ?", (photo_id,))
                if seer.faces and photo.faces is not None:
                    face_row = photo_id, seer.faces.embedder_id, _blob(photo.faces)
                    db.execute("insert into album_face values (?, ?, ?)", face_row)
            _next_generation(db)

    def move(self, seen: Iterable[tuple[int, FileStamp]]) -> None:
        """Photos, by id, whose files were seen elsewhere or with another time."""
        with self._writing() as db:
            for photo_id, stamp in seen:
                db.execute("delete from album_photo where path = ? and id <> ?", (stamp.path, photo_id))
                db.execute(
                    "update album_photo set path = ?, size = ?, modified_ns = ?, above = ? where id = ?",
                    (stamp.path, stamp.size, stamp.modified_ns, stamp.above, photo_id),
                )
            _next_generation(db)

    def remove(self, photo_ids: Iterable[int]) -> int:
        """Take photos out of the album with all that was seen in them, for good; how many there were.

        The files themselves are not touched.
        """
        with self._writing() as db:
            return take_out(db, photo_ids)

    def hide(self, spots: Iterable[tuple[str, Box]], summary: str) -> None:
        """Regions, each a photo's hash and a box, about which the user does not want to be asked."""
        with self._changing() as change:
            for sha256, (x0, y0, x1, y1) in spots:
                row = {"photo_sha256": sha256, "x0": x0, "y0": y0, "x1": x1, "y1": y1}
                change.insert("album_hidden", row)
            change.write_down("hide", summary)

    def name(self, naming: Naming) -> Concept:
        """Teach a concept from several views at once; one change, that one undo takes back.

        Raises:
            DuplicateName: the name is somebody's already, and `known` does not say so.
            UnknownConcept: `known` says so, and there is nobody of that name.
            ConceptError: the name, category or info cannot be kept, or a crop contradicts an old one.
        """
        name, category = clean_name(naming.name), clean_text(naming.category, "category")
        info = clean_text(naming.info, "info", INFO_LENGTH)
        with self._changing() as change:
            if naming.known:
                concept_id = reading.find(change.db, name)
                editing.touch(change, concept_id)
            else:
                concept_id = editing.remember(change, name, category, info)
            for view in naming.views:
                editing.add_crop(change, "view", concept_id, view)
            for negative in naming.negatives:
                editing.add_crop(change, "negative", concept_id, negative)
            name = reading.concepts(change.db, concept_id)[0].name
            change.write_down("name", f'named "{name}" in the album')
            return reading.concepts(change.db, concept_id)[0]


def take_out(db: Database, photo_ids: Iterable[int]) -> int:
    """Delete photos with all that was seen in them; how many there were."""
    count = 0
    for photo_id in photo_ids:
        count += db.execute("delete from album_photo where id = ?", (photo_id,)).rowcount
    if count:
        _next_generation(db)
    return count


def _photos(db: Database) -> list[AlbumPhoto]:
    rows = db.execute(f"select {_PHOTO} from album_photo order by id")
    return [AlbumPhoto(*row) for row in rows.fetchall()]


def _shots(db: Database, embedder_id: str, recogniser_id: str) -> Shots:
    rows = db.execute(
        f"select {_PHOTO}, vector from album_photo where embedder_id = ? order by id", (embedder_id,)
    ).fetchall()
    photos = tuple(AlbumPhoto(*row[:-1]) for row in rows)
    seen = db.execute(
        "select photo_id, x0, y0, x1, y1, label, score, album_region.vector from album_region"
        " join album_photo on album_photo.id = photo_id where embedder_id = ?"
        " order by photo_id, album_region.id",
        (embedder_id,),
    ).fetchall()
    owners = np.array([row[0] for row in seen], np.int64)
    ids = np.array([photo.id for photo in photos], np.int64)
    regions = Regions(
        np.array([row[1:5] for row in seen], np.float32).reshape(-1, 4),
        np.array([row[6] for row in seen], np.float32),
        tuple(row[5] for row in seen),
    )
    whole = _vectors([row[-1] for row in rows])
    starts = np.append(np.searchsorted(owners, ids), len(seen)).astype(np.int64)
    faces = db.execute("select photo_id, vectors from album_face where recogniser_id = ?", (recogniser_id,))
    place = {photo.id: row for row, photo in enumerate(photos)}
    return Shots(
        generation=_generation(db),
        photos=photos,
        whole=whole,
        starts=starts,
        regions=regions,
        vectors=_vectors([row[-1] for row in seen]).reshape(len(seen), whole.shape[1]),
        hidden=_hidden(db, [photos[row].sha256 for row in np.searchsorted(ids, owners)], regions),
        faces={
            row: np.frombuffer(blob, "<f4").reshape(starts[row + 1] - starts[row] + 1, -1)
            for photo_id, blob in faces.fetchall()
            if (row := place.get(photo_id)) is not None
        },
    )


def _vectors(blobs: Sequence[bytes]) -> Floats:
    dim = len(blobs[0]) // 4 if blobs else 0
    return np.frombuffer(b"".join(blobs), "<f4").astype(np.float32).reshape(len(blobs), dim)


def _hidden(db: Database, hashes: Sequence[str], regions: Regions) -> NDArray[np.bool_]:
    """bool (m,): the region is much the same box as one that was hidden in this photo."""
    boxes: dict[str, list[Box]] = {}
    for sha256, *box in db.execute("select photo_sha256, x0, y0, x1, y1 from album_hidden"):
        boxes.setdefault(sha256, []).append(tuple(box))
    return np.array(
        [
            sha256 in boxes and bool((iou([xyxy], boxes[sha256]) >= _SAME_THING).any())
            for sha256, xyxy in zip(hashes, regions.xyxy, strict=True)
        ],
        np.bool_,
    )


def _put(db: Database, embedder_id: str, photo: NewPhoto) -> int:
    """Everything but the faces; the photo's id."""
    row = {
        "path": photo.path,
        "sha256": photo.sha256,
        "size": photo.size,
        "modified_ns": photo.modified_ns,
        "width": photo.size_wh[0],
        "height": photo.size_wh[1],
        "added": now(),
        "embedder_id": embedder_id,
        "dim": photo.vectors.shape[1],
        "vector": _blob(photo.vectors[-1]),
        "thumbnail": photo.thumbnail_jpeg,
        "above": photo.above,
    }
    db.execute("delete from album_photo where path = ? and sha256 <> ?", (photo.path, photo.sha256))
    new = ", ".join(f"{column} = excluded.{column}" for column in row if column != "added")
    ((photo_id,),) = db.execute(
        f"insert into album_photo ({', '.join(row)}) values ({', '.join(f':{column}' for column in row)})"
        f" on conflict (sha256) do update set {new} returning id",
        row,
    ).fetchall()
    db.execute("delete from album_region where photo_id = ?", (photo_id,))
    regions = photo.regions
    db.conn.executemany(
        "insert into album_region (photo_id, x0, y0, x1, y1, label, score, vector)"
        " values (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                photo_id,
                *regions.box(row),
                regions.labels[row],
                float(regions.scores[row]),
                _blob(photo.vectors[row]),
            )
            for row in range(len(regions))
        ],
    )
    return int(photo_id)


def _blob(vectors: Floats) -> bytes:
    """Little-endian float32."""
    return vectors.astype("<f4").tobytes()


def _generation(db: Database) -> int:
    """Hiding and undoing count among the changes of the user's."""
    ((value,),) = db.execute("select value from meta where key = 'album_generation'").fetchall()
    return reading.generation(db) + int(value)


def _next_generation(db: Database) -> None:
    db.execute("update meta set value = value + 1 where key = 'album_generation'")
