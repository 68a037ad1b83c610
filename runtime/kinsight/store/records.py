"""What goes into the store and comes out of it, apart from concepts and views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinsight.types import Box, Floats, Kind

OnConflict = Literal["refuse", "skip", "rename"]
"""What becomes of an incoming concept whose name is taken."""
Owner = tuple[Kind, int]
"""What a vector was computed from: the kind of crop and its id."""


@dataclass(frozen=True, eq=False)
class NewView:
    """A crop to be kept, as a view of a concept or as a negative."""

    picture_jpeg: bytes  # the crop, encoded
    xyxy: Box  # in the source photo, pixels
    photo_sha256: str  # of the source photo's file, hex
    embedder_id: str
    vector: Floats  # float32 (dim,), unit length
    face: Floats | None = None  # float32 (face dim,), unit length: seen in its photo; None: look for it later
    recogniser_id: str = ""  # of whom the face is

    def __post_init__(self) -> None:
        if not self.picture_jpeg:
            raise ValueError("expected a picture, got no bytes")
        x0, y0, x1, y1 = self.xyxy
        if not (np.isfinite(self.xyxy).all() and x0 < x1 and y0 < y1):
            raise ValueError(f"expected a box with x0 < x1 and y0 < y1, got {self.xyxy}")
        for vector in self.vectors().values():
            if np.ndim(vector) != 1:
                raise ValueError(f"expected a vector (dim,), got {np.shape(vector)}")
            require_unit(vector[np.newaxis])

    def vectors(self) -> dict[str, Floats]:
        """Whose they are -> what is kept of the crop."""
        faces = {} if self.face is None else {self.recogniser_id: self.face}
        return {self.embedder_id: self.vector, **faces}


@dataclass(frozen=True)
class Changes:
    """What to change in a concept; None leaves a field as it is."""

    name: str | None = None
    category: str | None = None
    info: str | None = None
    add_aliases: tuple[str, ...] = ()
    remove_aliases: tuple[str, ...] = ()
    remove_views: tuple[int, ...] = ()  # ids
    remove_negatives: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class IncomingCrop:
    """A view or negative from elsewhere; its picture is read when it is needed."""

    read: Callable[[], bytes]  # the JPEG file
    xyxy: Box  # in the source photo, pixels
    photo_sha256: str
    created: str  # UTC, ISO 8601


@dataclass(frozen=True, eq=False)
class Incoming:
    """A concept from elsewhere, as in `Concept`."""

    name: str
    aliases: tuple[str, ...]
    category: str
    info: str
    fingerprint: Mapping[str, Any] | None
    created: str
    changed: str
    views: tuple[IncomingCrop, ...]
    negatives: tuple[IncomingCrop, ...]


@dataclass(frozen=True)
class Arrival:
    """What becomes of an incoming concept."""

    name: str  # as it comes
    kept_as: str | None  # None: it stays out, as the name is taken
    dropped_aliases: tuple[str, ...] = ()  # these are taken


@dataclass(frozen=True)
class Forgotten:
    """What `forget` did beside deleting the concept."""

    photos: int  # of the album, that may show or name it and left; their files stay
    mentioned_by: tuple[str, ...]  # concepts whose texts still name it, as the user wrote them
    changes: int  # of others, that could be undone and no longer can, as they tell of it


@dataclass(frozen=True)
class ForgottenCrop:
    """What `forget_crop` did beside deleting the picture."""

    changes: int  # that could be undone and no longer can, as they hold it or tell of the same concept
    photo: str | None  # path of the photo it was cut from, where that is in the album and so stays there
    copies: tuple[int, ...] = ()  # ids of crops of the same concept and kind with the same picture: gone too


@dataclass(frozen=True, eq=False)
class Vectors:
    """All vectors of one embedder, of n views and m negatives, each in the order of their ids."""

    generation: int  # of the store when they were read
    view_ids: NDArray[np.int64]  # (n,)
    view_concepts: NDArray[np.int64]  # (n,), concept ids
    views: Floats  # float32 (n, dim), unit length; dim is 0 where nothing is stored
    negative_ids: NDArray[np.int64]  # (m,)
    negative_concepts: NDArray[np.int64]  # (m,), ids of the concepts that these crops do not show
    negatives: Floats  # float32 (m, dim), unit length


def require_unit(vectors: Floats) -> None:
    """ValueError unless vectors (n, dim) are float32, finite and of unit length to within 0.001."""
    if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError(f"expected float32 vectors (n, dim), got {vectors.dtype} {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1)
    if not (np.abs(lengths - 1) <= 1e-3).all():
        raise ValueError(f"expected unit vectors, got lengths {lengths.min():.4g} to {lengths.max():.4g}")
