"""Decides who is who in a photo, and when to say nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinsight.bundle import Calibration
from kinsight.calibration import probability
from kinsight.index import Index
from kinsight.types import Decision, Floats, Match, Regions

CANDIDATES = 3
"""Matches that are kept per region, best first."""
_FIRST_VIEWS = 64
_SURE_LABEL = 0.5

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


@dataclass(frozen=True)
class Rules:
    """When to name: the bundle's calibration and the kinds that its detector can tell apart."""

    calibration: Calibration
    vocabulary: frozenset[str]  # the detector's labels


@dataclass(frozen=True, eq=False)
class Evidence:
    """m regions against c concepts; concepts that are too far from every region to matter are left out."""

    concepts: Ids  # int64 (c,), concept ids
    similarities: Floats  # float32 (m, c), cosine with the best view, -1 where it is too far to matter
    view_ids: Ids  # int64 (m, c)
    probabilities: Floats  # float32 (m, c), 0..1


def recall(
    regions: Regions, vectors: Floats, memory: Memory, rules: Rules
) -> tuple[tuple[tuple[Match, ...], ...], tuple[Match, ...]]:
    """Matches of every region, best first, and of the whole photo.

    `vectors`, float32 (n + 1, dim): the n regions, then the whole photo. One box gets at most one concept and
    one concept at most one box; the whole photo adds only concepts that no box carries.
    """
    evidence = gather(vectors, memory, rules.calibration)
    rows = [_matches(row, evidence, memory) for row in range(len(vectors))]
    labels = [*zip(regions.labels, regions.scores.tolist(), strict=True), ("", 0.0)]
    decided = [_decide(row, memory, rules, *label) for row, label in zip(rows, labels, strict=True)]
    boxes = _one_box_each(decided[:-1])
    carried = {match.concept_id for row in boxes for match in row if match.decision != "unknown"}
    return boxes, tuple(match for match in decided[-1] if match.concept_id not in carried)


def gather(vectors: Floats, memory: Memory, calibration: Calibration) -> Evidence:
    """The best view of every concept for each of m vectors, float32 (m, dim), and what it proves.

    A region that is at least as near to a negative of a concept as to its best view proves nothing. The
    search goes so deep that every region has more than CANDIDATES proven concepts, however many views the
    first of them has: no concept that is left out can come next.
    """
    wanted = min(CANDIDATES + 1, len(np.unique(memory.view_concepts)))
    depth = min(_FIRST_VIEWS, len(memory.views))
    while True:
        concepts, best, view_ids = _best_views(vectors, depth, memory)
        proven = best > _negative(vectors, concepts, memory)
        if depth == len(memory.views) or (proven.sum(axis=1) >= wanted).all():
            return Evidence(concepts, best, view_ids, np.where(proven, probability(best, calibration), 0))
        depth = min(4 * depth, len(memory.views))


def _best_views(vectors: Floats, depth: int, memory: Memory) -> tuple[Ids, Floats, Ids]:
    """Concepts (c,) among the `depth` nearest views of m vectors, their similarities and view ids (m, c)."""
    rows, similarities = memory.views.search(vectors, depth)
    owners = memory.view_concepts[rows]
    concepts = np.unique(owners)
    best = np.full((len(vectors), len(concepts)), -1.0, np.float32)
    view_ids = np.zeros(best.shape, np.int64)
    for region, row in enumerate(rows):
        found, first = np.unique(owners[region], return_index=True)  # the first is the nearest
        columns = np.searchsorted(concepts, found)
        best[region, columns] = similarities[region, first]
        view_ids[region, columns] = memory.view_ids[row[first]]
    return concepts, best, view_ids


def needed_probability(category: str, label: str, score: float, rules: Rules) -> float:
    """To be accepted: more where the detector surely sees another kind than the user gave."""
    needed = rules.calibration.accept_probability
    contradicted = _contradicted(category, label, score, rules.vocabulary)
    return needed + (1 - needed) / 2 if contradicted else needed


def explain(match: Match, calibration: Calibration, needed: float) -> str:
    """Why a match was decided as it was, in one line; `needed` is from `needed_probability`."""
    return (
        f"similarity {match.similarity:.2f} to view {match.view_id} of {match.concept} "
        f"= probability {match.probability:.2f} (needed {needed:.2f}, "
        f"maybe from {calibration.unsure_probability:.2f}), "
        f"{match.margin:+.2f} over the next concept (needed {calibration.margin:+.2f}): {match.decision}"
    )


def _negative(vectors: Floats, concepts: Ids, memory: Memory) -> Floats:
    """float32 (m, c): cosine with the nearest negative of each concept, -1 where it has none."""
    nearest = np.full((len(vectors), len(concepts)), -1.0, np.float32)
    if len(memory.negatives):
        cosines = vectors @ memory.negatives.T
        for column, concept in enumerate(concepts):
            own = cosines[:, memory.negative_concepts == concept]
            nearest[:, column] = own.max(axis=1, initial=-1.0)
    return nearest


def _matches(row: int, evidence: Evidence, memory: Memory) -> tuple[Match, ...]:
    """The best candidates of one region, not decided yet."""
    chances, similarities = evidence.probabilities[row], evidence.similarities[row]
    order = np.lexsort((-similarities, -chances))[: CANDIDATES + 1]
    following = [*chances[order[1:]].tolist(), 0.0]
    return tuple(
        Match(
            concept=memory.names[int(evidence.concepts[column])],
            concept_id=int(evidence.concepts[column]),
            view_id=int(evidence.view_ids[row, column]),
            similarity=float(similarities[column]),
            probability=float(chances[column]),
            margin=float(chances[column]) - (following[0] if rank == 0 else float(chances[order[0]])),
            decision="unknown",
        )
        for rank, column in enumerate(order[:CANDIDATES])
    )


def _decide(
    row: tuple[Match, ...], memory: Memory, rules: Rules, label: str, score: float
) -> tuple[Match, ...]:
    """Only the best candidate of a region can be more than unknown."""
    if not row:
        return row
    best, calibration = row[0], rules.calibration
    needed = needed_probability(memory.categories.get(best.concept_id, ""), label, score, rules)
    decision: Decision = "unknown"
    if best.probability >= needed and best.margin >= calibration.margin:
        decision = "accepted"
    elif best.probability >= calibration.unsure_probability:
        decision = "unsure"
    return (replace(best, decision=decision), *row[1:])


def _contradicted(category: str, label: str, score: float, vocabulary: frozenset[str]) -> bool:
    """Whether the detector surely sees another kind than the user gave, where it knows both kinds."""
    given, seen = category.casefold(), label.casefold()
    return score >= _SURE_LABEL and given != seen and {given, seen} <= vocabulary


def _one_box_each(rows: Sequence[tuple[Match, ...]]) -> tuple[tuple[Match, ...], ...]:
    """Of several boxes that are decided for one concept only the best keeps it."""
    named = [row for row, matches in enumerate(rows) if matches and matches[0].decision != "unknown"]
    named.sort(key=lambda row: (rows[row][0].decision != "accepted", -rows[row][0].similarity))
    winners: dict[int, int] = {}
    for row in named:
        winners.setdefault(rows[row][0].concept_id, row)
    return tuple(
        (replace(matches[0], decision="unknown"), *matches[1:])
        if matches and winners.get(matches[0].concept_id, row) != row
        else matches
        for row, matches in enumerate(rows)
    )
