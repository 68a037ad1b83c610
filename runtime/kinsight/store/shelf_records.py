"""What goes onto the album's shelf of the store and comes from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from kinsight.store.records import NewView, require_unit
from kinsight.types import Floats, Regions


@dataclass(frozen=True, eq=False)
class NewPhoto:
    """A photo that was looked at, ready for the album."""

    path: str  # absolute
    sha256: str  # of the file's bytes, hex
    size: int  # bytes
    modified_ns: int  # the file's time, nanoseconds since 1970
    size_wh: tuple[int, int]  # pixels of the upright photo
    thumbnail_jpeg: bytes
    regions: Regions
    vectors: Floats  # float32 (n + 1, dim), unit length: the n regions, then the whole photo
    above: int | None = None  # as in `FileStamp`
    faces: Floats | None = None
    """float32 (n + 1, face dim), unit length or zeros where no face was seen; None: nobody looked."""

    def __post_init__(self) -> None:
        require_unit(self.vectors)
        if self.faces is not None:
            require_unit(self.faces[self.faces.any(axis=1)])
            if len(self.faces) != len(self.vectors):
                raise ValueError(f"expected {len(self.vectors)} rows of faces, got {len(self.faces)}")
        if len(self.vectors) != len(self.regions) + 1:
            raise ValueError(f"expected {len(self.regions) + 1} vectors, got {len(self.vectors)}")


@dataclass(frozen=True)
class FileStamp:
    """Where a photo's file was seen, and what tells without reading it that it has not changed."""

    path: str  # absolute
    size: int  # bytes
    modified_ns: int  # nanoseconds since 1970
    above: int | None = field(default=None, compare=False)  # `parts_above` of what was added; None: unknown


def parts_above(folder: Path) -> int:
    """How many parts of the paths in an added folder say nothing of its photos.

    Its own name does say something, unless it is the user's folder or one above that.
    """
    try:
        own = Path.home().is_relative_to(folder)
    except RuntimeError:  # a system that knows no such folder
        own = False
    return len(folder.parts) - (not own)


@dataclass(frozen=True)
class Seer:
    """Whose vectors these are, and from which cosine on two of them may show the same individual."""

    embedder_id: str
    alike: float  # -1..1, by the bundle's calibration
    faces: Seer | None = None  # the same of the faces, where the bundle sees them


@dataclass(frozen=True)
class AlbumPhoto:
    """A photo of the album; the file itself stays where it is."""

    id: int
    path: str  # absolute, where it was last seen
    sha256: str  # hex
    size: int  # bytes
    modified_ns: int  # nanoseconds since 1970
    width: int  # pixels of the upright photo
    height: int  # pixels
    added: str  # UTC, ISO 8601
    embedder_id: str  # of whom its vectors are
    things: int  # regions that were seen in it
    recogniser_id: str = ""  # of whom its faces are; "" where nobody looked

    @property
    def name(self) -> str:
        """Of its file, without the folder."""
        return PurePath(self.path).name

    @property
    def stamp(self) -> FileStamp:
        """The file as it was last seen."""
        return FileStamp(self.path, self.size, self.modified_ns)


@dataclass(frozen=True, eq=False)
class Shots:
    """What one embedder saw in p photos with m regions in all; the regions of a photo lie together."""

    generation: int  # of the album when they were read
    photos: tuple[AlbumPhoto, ...]  # p, in the order in which they were added
    whole: Floats  # float32 (p, dim), unit length: the photos as a whole; dim is 0 where nothing is stored
    starts: NDArray[np.int64]  # (p + 1,): regions of photo i are the rows starts[i] to starts[i + 1]
    regions: Regions  # m
    vectors: Floats  # float32 (m, dim), unit length
    hidden: NDArray[np.bool_]  # (m,): the user does not want to be asked about it
    faces: Mapping[int, Floats] = field(default_factory=dict)
    """Photo -> float32 (n + 1, face dim) of its regions and the whole, zeros where no face was seen."""

    def rows(self, photo: int) -> range:
        """Rows of the regions of a photo, best score first."""
        return range(int(self.starts[photo]), int(self.starts[photo + 1]))

    def faces_beside(self, row: int) -> tuple[Floats | None, int]:
        """The faces of the photo in which a region is, None where nobody looked, and its row among these."""
        photo = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.faces.get(photo), row - int(self.starts[photo])

    def photo_of(self) -> NDArray[np.int64]:
        """(m,): which photo a region is in."""
        return np.repeat(np.arange(len(self.photos)), np.diff(self.starts))


@dataclass(frozen=True, eq=False)
class Naming:
    """A concept that is taught from several views at once, and crops that are somebody else."""

    name: str
    views: tuple[NewView, ...]
    negatives: tuple[NewView, ...] = ()
    category: str = ""
    info: str = ""
    known: bool = False  # the name is in the store already and gets more views
