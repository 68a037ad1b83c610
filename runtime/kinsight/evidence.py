"""Weighs what speaks for each concept in a region: its views, its negatives, and what else looks like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kinsight.index import Index, Look, cosines
from kinsight.types import Floats

COHORT_NEAREST = 4
"""Members of the cohort that a region is held against."""
COHORT_WEIGHT = 0.75
"""How much their mean cosine counts against a concept."""
LONE_VIEW = 0.05
"""The most that a best view loses where the others are far: a side shown only once still counts."""
REFUSED_SHARE = 0.2
"""How much of what sets a negative apart from a view a region must be nearer to the view, at least."""
COPY = 0.99
"""Cosine with a view from which on a negative says nothing but of its own copies.

It is a copy of the view, or somebody whom nothing here tells apart: what is near the view is as near to it,
and nobody would be left. Copies that were saved anew are at .998 and more. Other photos of one individual
stay below .93 with the kit's embedders and reach 1 in the drawn world, whose look-alikes stay below .981
(docs/log.md).
"""
_FIRST_VIEWS = 16
_LEAST_ACCORD = 1e-3

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
    negative_ids: Ids  # int64 (m,)
    face_concepts: Ids = field(default_factory=lambda: np.zeros(0, np.int64))  # int64 (f,), concept ids
    faces: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """float32 (f, face dim), unit length: the faces in f of the views."""
    negative_face_concepts: Ids = field(default_factory=lambda: np.zeros(0, np.int64))  # int64 (g,)
    negative_faces: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """float32 (g, face dim), unit length: the faces in g of the negatives."""
    negative_face_ids: Ids = field(default_factory=lambda: np.zeros(0, np.int64))  # int64 (g,), of these

    @cached_property
    def shown(self) -> Ids:
        """int64 (s,): ids of the concepts that have a view, rising."""
        return np.unique(self.view_concepts)

    @cached_property
    def _grouped(self) -> tuple[Ids, Ids]:
        """Rows of the views, concept by concept, int64 (n,), and where each of `shown` begins, (s + 1,)."""
        order = np.argsort(self.view_concepts, kind="stable")
        ends = np.searchsorted(self.view_concepts[order], self.shown, side="right")
        return order, np.append(0, ends)

    def rows_of(self, concepts: Ids) -> tuple[Ids, Ids]:
        """The rows of the views of some of `shown`, concept by concept, and where each begins, int64 (c,)."""
        order, starts = self._grouped
        columns = np.searchsorted(self.shown, concepts)
        begins, counts = starts[columns], starts[columns + 1] - starts[columns]
        firsts = np.cumsum(counts) - counts
        return order[np.repeat(begins - firsts, counts) + np.arange(counts.sum())], firsts

    @cached_property
    def mistaken(self) -> Mapping[int, float]:
        """Id of each concept with a negative -> how much the likest of these looks like it: cosine, -1..COPY.

        Copies of a view do not count: that they look like it says nothing of others.
        """
        told = self.alike < COPY
        return {
            int(concept): float(self.alike[told & (self.negative_concepts == concept)].max())
            for concept in np.intersect1d(self.negative_concepts[told], self.shown)
        }

    @cached_property
    def alike(self) -> Floats:
        """float32 (m,): cosine of each negative with the likest view of its concept, -1 without views."""
        found = np.full(len(self.negatives), -1.0, np.float32)
        for concept in np.intersect1d(self.negative_concepts, self.shown):
            own = self.views.vectors[self.rows_of(np.array([concept]))[0]]
            mine = self.negative_concepts == concept
            found[mine] = cosines(self.negatives[mine], own).max(axis=1)
        return found

    def says_little(self, concept_id: int) -> bool:
        """Whether the last negative of a concept speaks of its own copies only, see COPY."""
        alike = self.alike[self.negative_concepts == concept_id]
        return len(alike) > 0 and bool(alike[-1] >= COPY)

    @cached_property
    def mistaken_faces(self) -> Mapping[int, float]:
        """The same of the faces of views and negatives."""
        found = {}
        for concept in np.intersect1d(self.negative_face_concepts, self.face_concepts):
            own = self.faces[self.face_concepts == concept]
            others = self.negative_faces[self.negative_face_concepts == concept]
            alike = cosines(others, own).max(axis=1)
            if (alike < COPY).any():
                found[int(concept)] = float(alike[alike < COPY].max())
        return found

    @cached_property
    def least_accord(self) -> float:
        """How alike the views of the concept are whose views differ most: length of their mean, 0..1."""
        if len(self.view_concepts) == len(self.shown):
            return 1.0
        order, starts = self._grouped
        several = np.diff(starts) > 1
        return float(_accord(self.views.vectors[order], starts[:-1])[several].min())


@dataclass(frozen=True, eq=False)
class Against:
    """What speaks against c concepts in m regions: of each the negative that asks for most."""

    exceed: Floats  # float32 (m, c), what the similarity must exceed, -1 where there is no negative
    negative_ids: Ids  # int64 (m, c), 0 where there is none
    similarities: Floats  # float32 (m, c), cosine with that negative

    @classmethod
    def nothing(cls, regions: int, concepts: int) -> Against:
        """Of so many regions and concepts; the columns are filled in by `weigh`."""
        shape = regions, concepts
        return cls(np.full(shape, -1, np.float32), np.zeros(shape, np.int64), np.full(shape, -1, np.float32))


@dataclass(frozen=True, eq=False)
class Evidence:
    """m regions against c concepts; concepts that are too far from every region to matter are left out."""

    concepts: Ids  # int64 (c,), concept ids
    similarities: Floats  # float32 (m, c), cosine with the best view
    view_ids: Ids  # int64 (m, c), of the best view
    against: Against  # by the negatives
    scores: Floats  # float32 (m, c), -1.5..1.5: what the calibration's curve is fitted on

    @property
    def proven(self) -> NDArray[np.bool_]:
        """bool (m, c): clearly nearer to a view than to any negative; else it is nobody, at any threshold."""
        return self.similarities > self.against.exceed


def weigh(
    vectors: Floats,
    memory: Memory,
    cohort: Floats,
    wanted: int,
    also: Ids | None = None,
    gains: Sequence[float] = (),
) -> Evidence:
    """Evidence of m vectors, float32 (m, dim), for the concepts that can be among the `wanted` first.

    Those whose ids are in `also`, int64, are there in any case.

    The score of a concept is the cosine with the mean of its views (prototypes, Snell et al. 2017,
    "Prototypical networks for few-shot learning"), less what everybody gains by having as many views:
    `gains` for two, three, ... of them, the last one for more, and never more than views so alike can bring.
    Where there are no `gains` it is the mean of the cosines, which gains nothing.
    It is at least the best view's cosine less LONE_VIEW. From this goes COHORT_WEIGHT times the mean cosine
    with the COHORT_NEAREST nearest of `cohort`, float32 (g, dim), unit length: a region that looks like many
    others proves less (test normalisation, Auckenthaler et al. 2000, "Score normalization for
    text-independent speaker verification systems", here with means only). The member nearest to the concept
    is left out, since it may be the concept itself. The search goes so deep that whoever is left out scores
    below `wanted` proven concepts in every region.
    """
    wanted = min(wanted, len(memory.shown))
    named = np.zeros(0, np.int64) if also is None else also
    depth = min(_FIRST_VIEWS, len(memory.views))
    crowd = _crowd(vectors, cohort)
    look = memory.views.look(vectors)
    while True:
        rows, farthest = look.near(depth)
        near_ones = np.union1d(memory.view_concepts[rows], named)
        evidence = _of(near_ones, (vectors, look), memory, (cohort, crowd), gains)
        if depth == len(memory.views):
            return evidence
        farther = farthest[:, None]  # no view of those left out is nearer, nor their mean by more than this:
        left_out = np.maximum(farther, farther / max(memory.least_accord, _LEAST_ACCORD))
        left_out = left_out - crowd.min(axis=1, keepdims=True)
        if ((evidence.proven & (evidence.scores >= left_out)).sum(axis=1) >= wanted).all():
            return evidence
        depth = min(4 * depth, len(memory.views))


def weigh_faces(faces: Floats, concepts: Ids, memory: Memory) -> tuple[Floats, Against]:
    """Of the faces in m regions, float32 (m, face dim), zeros where none is seen, and c concepts, int64 (c,):

    float32 (m, c), the cosine with the likest face of each concept, nan where one of the two was not seen,
    and what speaks against it by the faces of the concept's negatives. A negative without a face says
    nothing here, however alike the figures are.
    """
    near = np.full((len(faces), len(concepts)), np.nan, np.float32)
    against = Against.nothing(*near.shape)
    seen = faces.any(axis=1)
    for column in np.flatnonzero(np.isin(concepts, memory.face_concepts)) if seen.any() else ():
        own = memory.faces[memory.face_concepts == concepts[column]]
        cosine = cosines(own, faces[seen])
        near[seen, column] = cosine.max(axis=0)
        mine = memory.negative_face_concepts == concepts[column]
        if mine.any():
            others = memory.negative_faces[mine]
            alike = cosines(others, own).max(axis=1)
            told = _must_exceed(faces[seen], (others, alike), own, cosine.argmax(axis=0))
            _tell(against, (np.flatnonzero(seen), int(column)), told, memory.negative_face_ids[mine])
    return near, against


def _of(
    concepts: Ids,
    regions: tuple[Floats, Look],
    memory: Memory,
    others: tuple[Floats, Floats],
    gains: Sequence[float],
) -> Evidence:
    """All that there is on these concepts, int64 (c,), exactly.

    `regions`: their vectors and the look at the memory's views from there; `others`: the cohort and its
    `_crowd`.
    """
    vectors, look = regions
    if not len(concepts):
        none = np.zeros((len(vectors), 0), np.float32)
        return Evidence(concepts, none, none.astype(np.int64), Against.nothing(len(vectors), 0), none)
    rows, starts = memory.rows_of(concepts)
    views = memory.views.vectors[rows]
    near = look.cosines(rows)
    best, first = _best(near, starts)
    scores = np.maximum(_central(near, views, starts, gains), best - LONE_VIEW)
    cohort, crowd = others
    if len(cohort) > 1:
        itself = np.maximum.reduceat(cosines(views, cohort), starts, axis=0).argmax(axis=1)
        scores = scores - crowd[:, itself]
    against = _against(vectors, concepts, memory, rows[first])
    return Evidence(concepts, best, memory.view_ids[rows[first]], against, scores)


def _central(near: Floats, views: Floats, starts: Ids, gains: Sequence[float]) -> Floats:
    """float32 (m, c): of cosines (m, n), those with the mean of each concept's views, less its gain."""
    counts = np.diff(np.append(starts, len(views)))
    if counts.max() == 1:
        return near
    means: Floats = (np.add.reduceat(near, starts, axis=1) / counts).astype(np.float32)
    if not gains:
        return means
    accord = np.maximum(_accord(views, starts), np.float32(_LEAST_ACCORD))
    gained = np.array([0.0, *gains], np.float32)[np.minimum(counts - 1, len(gains))]
    central: Floats = means / accord - np.minimum(gained, 1 / accord - 1)
    return central


def _accord(views: Floats, starts: Ids) -> Floats:
    """float32 (c,), 0..1: length of the mean of each concept's views, 1 where all are the same."""
    counts = np.diff(np.append(starts, len(views)))
    sums = np.add.reduceat(views, starts, axis=0)
    lengths: Floats = np.minimum(np.linalg.norm(sums, axis=1) / counts, 1).astype(np.float32)
    return lengths


def _cohort_means(cosines: Floats) -> Floats:
    """float32 (m, g): of cosines (m, g), the mean of a row's COHORT_NEAREST highest but for that column."""
    count = min(COHORT_NEAREST, cosines.shape[1] - 1)
    falling = -np.sort(-cosines, axis=1)
    highest, following = falling[:, :count].sum(axis=1, keepdims=True), falling[:, count : count + 1]
    among = cosines >= falling[:, count - 1 : count]
    means: Floats = np.where(among, highest - cosines + following, highest) / np.float32(count)
    return means


def _best(near: Floats, starts: Ids) -> tuple[Floats, Ids]:
    """Of cosines (m, n) whose columns lie together by concept, each from one of `starts` (c,) on:

    the best (m, c), and its column (m, c).
    """
    n = near.shape[1]
    if len(starts) == n:
        return near, np.broadcast_to(np.arange(n), near.shape)
    counts = np.diff(np.append(starts, n))
    best = np.maximum.reduceat(near, starts, axis=1)
    columns = np.where(near == np.repeat(best, counts, axis=1), np.arange(n), n)
    return best, np.minimum.reduceat(columns, starts, axis=1)


def _crowd(vectors: Floats, cohort: Floats) -> Floats:
    """float32 (m, g): what the cohort takes from a concept, by its nearest member; (m, 1) zeros without."""
    if len(cohort) < 2:
        return np.zeros((len(vectors), 1), np.float32)
    taken: Floats = COHORT_WEIGHT * _cohort_means(cosines(vectors, cohort))
    return taken


def _against(vectors: Floats, concepts: Ids, memory: Memory, nearest: Ids) -> Against:
    """What the negatives say. `nearest`, int64 (m, c), are the rows of the nearest views."""
    against = Against.nothing(len(vectors), len(concepts))
    for column in np.flatnonzero(np.isin(concepts, memory.negative_concepts)):
        mine = memory.negative_concepts == concepts[column]
        negatives = memory.negatives[mine], memory.alike[mine]
        rows, which = np.unique(nearest[:, column], return_inverse=True)
        told = _must_exceed(vectors, negatives, memory.views.vectors[rows], which)
        _tell(against, (np.arange(len(vectors)), int(column)), told, memory.negative_ids[mine])
    return against


def _tell(
    against: Against,
    at: tuple[Ids, int],
    told: tuple[Floats, Ids, Floats],
    ids: Ids,
) -> None:
    """Fills in a column, at some of its rows, with what `_must_exceed` found of negatives with these ids."""
    exceed, which, near = told
    spoken = exceed > -1
    against.exceed[at] = exceed
    against.negative_ids[at] = np.where(spoken, ids[which], 0)
    against.similarities[at] = np.where(spoken, near, -1)


def _must_exceed(
    vectors: Floats, negatives: tuple[Floats, Floats], views: Floats, nearest: Ids
) -> tuple[Floats, Ids, Floats]:
    """Of m vectors, what the cosine with the nearest of a concept's views must exceed, float32 (m,);

    the row of the negative that asks for it, int64 (m,), and the cosine with that one, float32 (m,).

    For each negative, float32 (n, dim), its cosine, and REFUSED_SHARE of the distance (1 less the cosine)
    from it to the view, which is row `nearest`, int64 (m,), of `views`; the most counts, and -1 where none
    does. With the negatives comes how alike a view of the concept is, (n,): see COPY.
    """
    crops, alike = negatives
    near = cosines(crops, vectors).T
    least = near + np.float32(REFUSED_SHARE) * (1 - cosines(views, crops)[nearest])
    telling: Floats = np.where((alike < COPY) | (near >= COPY), least, np.float32(-1))
    which = telling.argmax(axis=1)
    rows = np.arange(len(vectors))
    return telling[rows, which], which, near[rows, which]
