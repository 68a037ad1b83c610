"""Weighs what speaks for each concept in a region: its views, its negatives, and what else looks like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kinsight.index import Index, cosines
from kinsight.types import Floats

COHORT_NEAREST = 8
"""Members of the cohort that a region is held against."""
COHORT_WEIGHT = 0.5
"""How much their mean cosine counts against a concept."""
LONE_VIEW = 0.05
"""The most that a best view loses where the second best is far: a side shown only once still counts."""
_FIRST_VIEWS = 64

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Memory:
    """What the store knows, as arrays of one embedder: n views and m negatives of any number of concepts."""

    names: Mapping[int, str]  # concept id -> name
    categories: Mapping[int, str]  # concept id -> category, "" where the user gave none
    view_ids: Ids  # int64 (n,)
    view_concepts: Ids  # int64 (n,), concept ids
    views: Index  # n unit vectors, keyed by their row
    negative_concepts: Ids  # int64 (m,), concept ids
    negatives: Floats  # float32 (m, dim), unit length
    face_concepts: Ids = field(default_factory=lambda: np.zeros(0, np.int64))  # int64 (f,), concept ids
    faces: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """float32 (f, face dim), unit length: the faces in f of the views."""

    @cached_property
    def shown(self) -> int:
        """How many concepts have a view."""
        return len(np.unique(self.view_concepts))


@dataclass(frozen=True, eq=False)
class Evidence:
    """m regions against c concepts; concepts that are too far from every region to matter are left out."""

    concepts: Ids  # int64 (c,), concept ids
    similarities: Floats  # float32 (m, c), cosine with the best view
    view_ids: Ids  # int64 (m, c), of the best view
    against: Floats  # float32 (m, c), cosine with the nearest negative, -1 where there is none
    scores: Floats  # float32 (m, c), -1.5..1.5: what the calibration's curve is fitted on

    @property
    def proven(self) -> NDArray[np.bool_]:
        """bool (m, c): nearer to a view than to any negative; all else proves nothing, at any threshold."""
        return self.similarities > self.against


def weigh(vectors: Floats, memory: Memory, cohort: Floats, wanted: int, also: Ids | None = None) -> Evidence:
    """Evidence of m vectors, float32 (m, dim), for the concepts that can be among the `wanted` first.

    Those whose ids are in `also`, int64, are there in any case.

    The score of a concept is the mean cosine with its two best views, at least the best less LONE_VIEW (its
    only view: the cosine), less COHORT_WEIGHT times the mean cosine with the COHORT_NEAREST nearest of
    `cohort`, float32 (g, dim), unit length: a region that looks like many others proves less (test
    normalisation, Auckenthaler et al. 2000, "Score normalization for text-independent speaker verification
    systems", here with means only). The member nearest to the concept
    is left out, since it may be the concept itself. The search goes so deep that whoever is left out scores
    below `wanted` proven concepts in every region.
    """
    wanted = min(wanted, memory.shown)
    named = np.zeros(0, np.int64) if also is None else also
    depth = min(_FIRST_VIEWS, len(memory.views))
    while True:
        rows, near = memory.views.search(vectors, depth)
        near_ones = np.union1d(memory.view_concepts[rows], named)
        evidence = _of(near_ones, vectors, memory, cohort)
        if depth == len(memory.views):
            return evidence
        left_out = near[:, -1:] - COHORT_WEIGHT * _least_cohort(vectors, cohort)
        if ((evidence.proven & (evidence.scores >= left_out)).sum(axis=1) >= wanted).all():
            return evidence
        depth = min(4 * depth, len(memory.views))


def _of(concepts: Ids, vectors: Floats, memory: Memory, cohort: Floats) -> Evidence:
    """All that there is on these concepts, int64 (c,), exactly."""
    if not len(concepts):
        none = np.zeros((len(vectors), 0), np.float32)
        return Evidence(concepts, none, none.astype(np.int64), none, none)
    rows = np.flatnonzero(np.isin(memory.view_concepts, concepts))
    rows = rows[np.argsort(memory.view_concepts[rows], kind="stable")]
    owners, views = memory.view_concepts[rows], memory.views.vectors[rows]
    starts = np.searchsorted(owners, concepts)
    near = cosines(views, vectors).T
    best, at, second = _two_best(near, starts)
    scores = np.maximum((best + second) / 2, best - LONE_VIEW)
    if len(cohort) > 1:
        itself = np.maximum.reduceat(cosines(views, cohort), starts, axis=0).argmax(axis=1)
        scores = scores - COHORT_WEIGHT * _cohort_means(cosines(vectors, cohort))[:, itself]
    against = _against(vectors, concepts, memory)
    return Evidence(concepts, best, memory.view_ids[rows[at]], against, scores)


def _cohort_means(cosines: Floats) -> Floats:
    """float32 (m, g): of cosines (m, g), the mean of a row's COHORT_NEAREST highest but for that column."""
    count = min(COHORT_NEAREST, cosines.shape[1] - 1)
    falling = -np.sort(-cosines, axis=1)
    highest, following = falling[:, :count].sum(axis=1, keepdims=True), falling[:, count : count + 1]
    among = cosines >= falling[:, count - 1 : count]
    means: Floats = np.where(among, highest - cosines + following, highest) / np.float32(count)
    return means


def _two_best(near: Floats, starts: Ids) -> tuple[Floats, Ids, Floats]:
    """Of cosines (m, n) whose columns lie together by concept, each from one of `starts` (c,) on:

    the best (m, c), its column (m, c), and the second best (m, c), which is the best if it is alone.
    """
    n = near.shape[1]
    counts = np.diff(np.append(starts, n))
    best = np.maximum.reduceat(near, starts, axis=1)
    columns = np.where(near == np.repeat(best, counts, axis=1), np.arange(n), n)
    at = np.minimum.reduceat(columns, starts, axis=1)
    others = near.copy()
    np.put_along_axis(others, at, -np.inf, axis=1)
    return best, at, np.where(counts > 1, np.maximum.reduceat(others, starts, axis=1), best)


def _least_cohort(vectors: Floats, cohort: Floats) -> Floats:
    """float32 (m, 1): the least that the cohort can take from any concept; 0 without a cohort."""
    if len(cohort) < 2:
        return np.zeros((len(vectors), 1), np.float32)
    least: Floats = _cohort_means(cosines(vectors, cohort)).min(axis=1, keepdims=True)
    return least


def _against(vectors: Floats, concepts: Ids, memory: Memory) -> Floats:
    """float32 (m, c): cosine with the nearest negative of each concept, -1 where it has none."""
    nearest = np.full((len(vectors), len(concepts)), -1.0, np.float32)
    if len(memory.negatives):
        near = cosines(memory.negatives, vectors).T
        for column in np.flatnonzero(np.isin(concepts, memory.negative_concepts)):
            own = near[:, memory.negative_concepts == concepts[column]]
            nearest[:, column] = own.max(axis=1)
    return nearest
