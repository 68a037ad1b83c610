"""Takes photos into the album: reads and decodes ahead, looks in batches, keeps each batch as a whole."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from kinsight.album.eyes import Eyes, recogniser_id
from kinsight.calibration import needed_similarity
from kinsight.embed import embed_scenes
from kinsight.errors import PhotoError
from kinsight.image import PHOTO_SUFFIXES, decode, encode_jpeg, read_file, thumbnail
from kinsight.store import AlbumPhoto, FileStamp, NewPhoto, Seer, Store, parts_above
from kinsight.types import Photo

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""

_BATCH = 16
_BATCH_PIXELS = 60_000_000
"""A batch is full with so many photos, or so many pixels of them in memory."""
_AHEAD = 4
"""Photos that are read and decoded while others are looked at."""
THUMBNAIL = 320
"""Pixels of the longer side of what the album keeps of a photo."""
_QUALITY = 80


@dataclass(frozen=True)
class Skipped:
    """A file that could not be taken in."""

    path: str
    reason: str


@dataclass(frozen=True)
class Added:
    """What became of the files."""

    added: int  # looked at now
    known: int  # in the album already, as they are
    moved: int  # in the album already, now known to lie elsewhere
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, eq=False)
class _Read:
    """A file that was read; the photo is decoded only where its content is new."""

    stamp: FileStamp
    sha256: str
    photo: Photo | None


@dataclass(eq=False)
class _Tally:
    """Counts, and what is still to be kept."""

    added: int = 0
    known: int = 0
    moved: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    fresh: list[_Read] = field(default_factory=list)
    elsewhere: list[tuple[int, FileStamp]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Files with which nothing more is to be done."""
        return self.added + self.known + self.moved + len(self.skipped)


class Adder:
    """Takes files into the album of a store, as one embedder sees them."""

    def __init__(self, store: Store, eyes: Eyes, progress: Progress) -> None:
        """Raises BundleError where the bundle was never calibrated: what is alike could not be told."""
        calibration = eyes.rules.calibration
        part = eyes.embedder.part
        faces = eyes.rules.faces
        alike = needed_similarity(faces.unsure_probability, faces) if faces else 1.0
        self._seer = Seer(
            part.id,
            needed_similarity(calibration.unsure_probability, calibration),
            Seer(recogniser_id(eyes), alike) if recogniser_id(eyes) else None,
        )
        self._store, self._eyes, self._progress = store, eyes, progress
        seen = [photo for photo in store.album.photos() if is_seen(photo, eyes)]
        self._by_stamp = {photo.stamp for photo in seen}
        self._by_hash: dict[str, AlbumPhoto | None] = {photo.sha256: photo for photo in seen}

    def add(self, paths: Sequence[Path]) -> Added:
        """Look at all photos in these folders and files that are not known yet; see `Album.add`."""
        tally = _Tally()
        files: dict[Path, int] = {}
        for file, above in _files(paths, tally.skipped):
            files.setdefault(file, above)
        total = len(files) + len(tally.skipped)
        self._progress("album", tally.done, total)
        for read in self._read_all(files, tally):
            self._sort(read, tally)
            if _full(tally.fresh):
                self._keep(tally)
                self._progress("album", tally.done, total)
        self._keep(tally)
        self._progress("album", tally.done, total)
        return Added(tally.added, tally.known, tally.moved, tuple(tally.skipped))

    def _read_all(self, files: Mapping[Path, int], tally: _Tally) -> Iterator[_Read]:
        """The files that are new or changed, in their order; those that cannot be read are tallied."""
        waiting: deque[tuple[Path, Future[_Read]]] = deque()
        with ThreadPoolExecutor(min(_AHEAD, os.cpu_count() or 1)) as pool:
            try:
                for file, above in files.items():
                    stamp = _stamp(file, above, tally.skipped)
                    if stamp in self._by_stamp:
                        tally.known += 1
                    elif stamp is not None:
                        waiting.append((file, pool.submit(self._read, stamp)))
                    if len(waiting) > _AHEAD:
                        yield from _result(*waiting.popleft(), tally.skipped)
                while waiting:
                    yield from _result(*waiting.popleft(), tally.skipped)
            finally:
                pool.shutdown(cancel_futures=True)

    def _read(self, stamp: FileStamp) -> _Read:
        """In a thread: the file's hash, and its pixels where the hash is new."""
        data = read_file(stamp.path)
        sha256 = hashlib.sha256(data).hexdigest()
        photo = None if sha256 in self._by_hash else decode(data, stamp.path)
        return _Read(stamp, sha256, photo)

    def _sort(self, read: _Read, tally: _Tally) -> None:
        """What is to be done with a file: to be looked at, found elsewhere, or nothing for a copy."""
        known = self._by_hash.get(read.sha256)
        if read.sha256 not in self._by_hash and read.photo is not None:
            self._by_hash[read.sha256] = None
            tally.fresh.append(read)
        elif known is not None and (known.path == read.stamp.path or not Path(known.path).is_file()):
            tally.elsewhere.append((known.id, read.stamp))
        else:
            tally.known += 1

    def _keep(self, tally: _Tally) -> None:
        """Look at what is fresh and write everything down."""
        if tally.fresh:
            self._store.album.put(self._seer, self._look(tally.fresh))
        if tally.elsewhere:
            self._store.album.move(tally.elsewhere)
        tally.added += len(tally.fresh)
        tally.moved += len(tally.elsewhere)
        tally.fresh, tally.elsewhere = [], []

    def _look(self, fresh: Sequence[_Read]) -> list[NewPhoto]:
        photos = [read.photo for read in fresh if read.photo is not None]
        regions = [self._eyes.detector.detect(photo.pixels) for photo in photos]
        vectors = embed_scenes(photos, regions, self._eyes.embedder)
        faces = [self._eyes.faces_in(photo, seen) for photo, seen in zip(photos, regions, strict=True)]
        stamps = [read.stamp for read in fresh]
        return [
            NewPhoto(
                stamp.path,
                photo.sha256,
                stamp.size,
                stamp.modified_ns,
                (photo.width, photo.height),
                encode_jpeg(thumbnail(photo.pixels, THUMBNAIL), _QUALITY),
                seen,
                rows,
                stamp.above,
                face,
            )
            for stamp, photo, seen, rows, face in zip(stamps, photos, regions, vectors, faces, strict=True)
        ]


def is_seen(photo: AlbumPhoto, eyes: Eyes) -> bool:
    """Whether a photo was looked at with this embedder, and for faces where the bundle sees them."""
    faces = recogniser_id(eyes) in ("", photo.recogniser_id)
    return photo.embedder_id == eyes.embedder.part.id and faces


def _full(fresh: Sequence[_Read]) -> bool:
    pixels = sum(read.photo.pixels.size // 3 for read in fresh if read.photo is not None)
    return len(fresh) >= _BATCH or pixels >= _BATCH_PIXELS


def _files(paths: Sequence[Path], skipped: list[Skipped]) -> Iterator[tuple[Path, int]]:
    """Files as they are given, pictures in and below folders by their suffix; nothing whose name begins with
    a dot, and no folder behind a link. Each with `parts_above` of what was given."""
    for path in paths:
        if not path.is_dir():
            file = path.resolve()
            yield file, parts_above(file.parent)
            continue
        root = path.resolve()
        for folder, folders, names in os.walk(root, onerror=lambda error: _refuse(error, skipped)):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if Path(name).suffix.lower() in PHOTO_SUFFIXES and not name.startswith("."):
                    yield Path(folder, name), parts_above(root)


def _refuse(error: OSError, skipped: list[Skipped]) -> None:
    skipped.append(Skipped(str(error.filename), f"the folder cannot be read ({error.strerror})"))


def _stamp(file: Path, above: int, skipped: list[Skipped]) -> FileStamp | None:
    """None where the file cannot be looked up, or has a name that no database can hold."""
    try:
        str(file).encode()
        status = file.stat()
    except UnicodeEncodeError:
        shown = os.fsencode(file).decode("utf-8", "backslashreplace")
        skipped.append(Skipped(shown, "its name is not in UTF-8: rename it"))
    except FileNotFoundError:
        skipped.append(Skipped(str(file), "there is no such file: check the path"))
    except OSError as error:
        skipped.append(Skipped(str(file), f"it cannot be read ({error.strerror})"))
    else:
        return FileStamp(str(file), status.st_size, status.st_mtime_ns, above)
    return None


def _result(file: Path, read: Future[_Read], skipped: list[Skipped]) -> Iterator[_Read]:
    try:
        yield read.result()
    except PhotoError as error:
        skipped.append(Skipped(str(file), str(error)))
