"""Which face belongs to which region, and what the faces of the taught persons look like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinsight.bundle import FacesPart
from kinsight.image import FaceModels, decode
from kinsight.metrics import shares_inside
from kinsight.store import NewView, Owner, Store
from kinsight.types import Box, Floats, Photo, Regions

_INSIDE = 0.8
"""Share of a face that lies in the region to which it belongs."""
_BATCH = 16


def load_faces(part: FacesPart) -> FaceModels:
    """The models, loaded; ModelError where that fails."""
    return FaceModels(part.detector, part.recogniser, part.score_threshold)


def face_vectors(photo: Photo, regions: Regions, models: FaceModels, dim: int) -> Floats:
    """float32 (n + 1, dim): of the face in each of n regions and the whole photo, zeros where none is seen.

    A face belongs to the smallest region that holds it, and to the whole photo where it is the only one. Of
    several in one region the surest counts.
    """
    vectors = np.zeros((len(regions) + 1, dim), np.float32)
    faces = models.faces(photo.pixels)
    inside = shares_inside(np.array([face.xyxy for face in faces], np.float32).reshape(-1, 4), regions.xyxy)
    for face, shares in reversed([*zip(faces, inside, strict=True)]):
        holding = np.flatnonzero(shares >= _INSIDE).tolist()
        if holding:
            vectors[min(holding, key=lambda row: _area(regions.box(row)))] = face.vector
    if len(faces) == 1:
        vectors[-1] = faces[0].vector
    return vectors


def with_face(view: NewView, seen: tuple[Floats | None, int], part: FacesPart | None) -> NewView:
    """The crop with the face that its photo shows there: a row of float32 (n, dim); zeros: as it is.

    So the very face that was seen is kept; in the crop alone it might not be found again.
    """
    faces, row = seen
    if part is None or faces is None or not faces[row].any():
        return view
    return replace(view, face=faces[row], recogniser_id=part.id)


def catch_up_faces(store: Store, part: FacesPart, models: FaceModels) -> int:
    """Looks for a face in the stored views and negatives that were not looked at yet; how many these were.

    What is found is kept as the vector of the crop under the recogniser's id. A crop without a face is kept
    under `faceless(part)`, so that nobody looks again.
    """
    fresh = unlooked(store, part)
    for start in range(0, len(fresh), _BATCH):
        batch = fresh[start : start + _BATCH]
        seen = [models.faces(decode(store.picture(*owner)).pixels) for owner in batch]
        found = [(owner, faces[0].vector) for owner, faces in zip(batch, seen, strict=True) if faces]
        without = [owner for owner, faces in zip(batch, seen, strict=True) if not faces]
        if found:
            store.put_vectors(part.id, [owner for owner, _ in found], np.stack([face for _, face in found]))
        if without:
            store.put_vectors(faceless(part), without, np.ones((len(without), 1), np.float32))
    return len(fresh)


def unlooked(store: Store, part: FacesPart) -> list[Owner]:
    """The views and negatives of which it is not known yet whether they show a face."""
    faceless_too = set(store.views_without_vector(faceless(part)))
    return [owner for owner in store.views_without_vector(part.id) if owner in faceless_too]


def faceless(part: FacesPart) -> str:
    """The id under which crops without a face are noted."""
    return f"{part.id}: no face"


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
