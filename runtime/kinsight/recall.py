"""Decides who is who in a photo, and when to say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kinsight.bundle import Calibration
from kinsight.calibration import probability
from kinsight.evidence import Evidence, Memory, weigh
from kinsight.types import Decision, Floats, Match, Regions

CANDIDATES = 3
"""Matches that are kept per region, best first."""
_SURE_LABEL = 0.5


@dataclass(frozen=True, eq=False)
class Rules:
    """When to name: the bundle's calibration and cohort, and the kinds that its detector can tell apart."""

    calibration: Calibration
    vocabulary: frozenset[str]  # the detector's labels
    cohort: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """float32 (g, dim), unit length: individuals that nobody asks about, see `evidence.weigh`."""


def recall(
    regions: Regions, vectors: Floats, memory: Memory, rules: Rules
) -> tuple[tuple[tuple[Match, ...], ...], tuple[Match, ...]]:
    """Matches of every region, best first, and of the whole photo.

    `vectors`, float32 (n + 1, dim): the n regions, then the whole photo. One box gets at most one concept and
    one concept at most one box; the whole photo adds only concepts that no box carries, and none that a box
    would carry but for a negative.
    """
    evidence = weigh(vectors, memory, rules.cohort, CANDIDATES + 1)
    chances = np.where(evidence.proven, probability(evidence.scores, rules.calibration), 0)
    rows = [_matches(row, chances[row], evidence, memory) for row in range(len(vectors))]
    labels = [*zip(regions.labels, regions.scores.tolist(), strict=True), ("", 0.0)]
    decided = [_decide(row, memory, rules, *label) for row, label in zip(rows, labels, strict=True)]
    boxes = _one_box_each(decided[:-1])
    matches = [match for row in boxes for match in row]
    carried = {match.concept_id for match in matches if match.decision != "unknown"}
    carried |= {match.concept_id for match in matches if _only_refused(match, rules.calibration)}
    return boxes, tuple(match for match in decided[-1] if match.concept_id not in carried)


def needed_probability(category: str, label: str, score: float, rules: Rules) -> float:
    """To be accepted: more where the detector surely sees another kind than the user gave."""
    needed = rules.calibration.accept_probability
    contradicted = _contradicted(category, label, score, rules.vocabulary)
    return needed + (1 - needed) / 2 if contradicted else needed


def is_refused(match: Match) -> bool:
    """Whether a negative speaks against it: then it is unknown, whatever the threshold."""
    return match.similarity <= match.against


def _only_refused(match: Match, calibration: Calibration) -> bool:
    """Whether nothing but a negative kept a box from the name: the whole photo shows the same one."""
    chance = float(probability(np.array(match.score, np.float32), calibration))
    return is_refused(match) and chance >= calibration.unsure_probability


def _matches(row: int, chances: Floats, evidence: Evidence, memory: Memory) -> tuple[Match, ...]:
    """The best candidates of one region, not decided yet; `chances`, float32 (c,), are probabilities."""
    similarities = evidence.similarities[row]
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
            score=float(evidence.scores[row, column]),
            against=float(evidence.against[row, column]),
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
    if is_refused(best):
        decision = "unknown"
    elif best.probability >= needed and best.margin >= calibration.margin:
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
