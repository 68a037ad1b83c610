"""Finds photos of the album by vectors, and by who is recognised in them; no photo is opened for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinsight.album.eyes import Eyes, Recognised
from kinsight.calibration import needed_similarity
from kinsight.store import AlbumPhoto, Shots
from kinsight.types import Box, Floats, Match

_SLACK = 0.1
"""How much less alike than a maybe a region may be before nobody is looked for in its photo."""
_CHUNK = 4096


@dataclass(frozen=True)
class Found:
    """A photo that fits what was asked."""

    photo: AlbumPhoto
    score: float  # cosine of a text or picture, -1..1; probability of the least sure name, 0..1
    concepts: tuple[str, ...]  # everybody who is recognised in it
    boxes: tuple[Box | None, ...]  # of each thing that was asked for; None: the whole photo
    asked: tuple[str, ...] = ()  # the names that were asked for, each of a box; none for a text or picture


def nearest(
    shots: Shots, query: Floats, limit: int, of: Sequence[str]
) -> list[tuple[int, float, Box | None]]:
    """(photo, cosine, box or None for the whole photo) of the photos nearest to a vector (dim,), best first.

    `of` says what counts: "regions", "whole" or both.
    """
    if not shots.photos:
        return []
    regions, whole = shots.vectors @ query, shots.whole @ query
    best = whole.copy() if "whole" in of else np.full(len(whole), -np.inf, np.float32)
    if "regions" in of:
        np.maximum.at(best, shots.photo_of(), regions)
    found: list[tuple[int, float, Box | None]] = []
    for photo in np.argsort(-best, kind="stable")[:limit].tolist():
        if np.isfinite(best[photo]):
            rows = [row for row in shots.rows(photo) if "regions" in of and regions[row] == best[photo]]
            found.append((photo, float(best[photo]), shots.regions.box(rows[0]) if rows else None))
    return found


def resembling(shots: Shots, concept_id: int | None, eyes: Eyes) -> list[int]:
    """Photos in which somebody, or the concept with this id, may be recognised; the others need no recall.

    A face may be known in any clothes, so a photo with faces is among them.
    """
    stored = eyes.views()
    mine = stored.view_concepts == concept_id if concept_id is not None else slice(None)
    views = stored.views[mine]
    if not len(views) or not shots.photos:
        return []
    calibration = eyes.rules.calibration
    least = needed_similarity(calibration.unsure_probability, calibration) - _SLACK
    near = np.append(_near(shots.vectors, views, least), _near(shots.whole, views, least))
    photos = np.append(shots.photo_of(), np.arange(len(shots.photos)))
    faces = [photo for photo, vectors in shots.faces.items() if vectors.any()]
    return [int(photo) for photo in np.union1d(photos[near], np.array(faces, np.int64))]


def recognised(shots: Shots, photo: int, eyes: Eyes) -> Recognised:
    """Who is who in a photo of the album, from the vectors that are kept."""
    rows = list(shots.rows(photo))
    vectors = np.concatenate([shots.vectors[rows], shots.whole[photo : photo + 1]])
    faces = shots.faces.get(photo)
    if faces is None and eyes.bundle.faces:  # not looked at yet: as if none were seen
        faces = np.zeros((len(vectors), eyes.bundle.faces.dim), np.float32)
    return eyes.recognise(shots.regions.take(rows), vectors, faces)


def accepted(shots: Shots, photo: int, eyes: Eyes) -> dict[int, tuple[Match, Box | None]]:
    """Everybody who is recognised: concept id -> match, and its box, None where no box carries it."""
    matches, whole = recognised(shots, photo, eyes)
    boxes = [shots.regions.box(row) for row in shots.rows(photo)]
    rows: list[tuple[tuple[Match, ...], Box | None]] = [*zip(matches, boxes, strict=True), (whole, None)]
    return {
        match.concept_id: (match, box) for row, box in rows for match in row if match.decision == "accepted"
    }


def with_names(shots: Shots, concept_ids: Sequence[int], eyes: Eyes) -> Iterator[Found]:
    """The photos in which all of these concepts are recognised, in the order of the album."""
    photos = set(range(len(shots.photos)))
    for concept_id in concept_ids:
        photos &= set(resembling(shots, concept_id, eyes))
    for photo in sorted(photos):
        there = accepted(shots, photo, eyes)
        if there.keys() >= set(concept_ids):
            asked = [there[concept_id] for concept_id in concept_ids]
            yield Found(
                shots.photos[photo],
                min(match.probability for match, _ in asked),
                tuple(match.concept for match, _ in there.values()),
                tuple(box for _, box in asked),
                tuple(match.concept for match, _ in asked),
            )


def perhaps(shots: Shots, concept_id: int, eyes: Eyes) -> list[tuple[int, int, Match]]:
    """(photo, row of the region in it, match) where somebody is only a maybe, the likeliest first."""
    found = [
        (photo, row, match)
        for photo in resembling(shots, concept_id, eyes)
        for row, matches in enumerate(recognised(shots, photo, eyes)[0])
        for match in matches
        if match.concept_id == concept_id and match.decision == "unsure"
    ]
    return sorted(found, key=lambda one: -one[2].probability)


def _near(vectors: Floats, views: Floats, least: float) -> NDArray[np.bool_]:
    """bool (m,): some view is at least so near; in chunks, since m times n may be large."""
    chunks = (vectors[start : start + _CHUNK] for start in range(0, len(vectors), _CHUNK))
    return np.concatenate(
        [np.zeros(0, np.bool_), *((chunk @ views.T >= least).any(axis=1) for chunk in chunks)]
    )
