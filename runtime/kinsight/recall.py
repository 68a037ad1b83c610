"""Decides who is who in a photo, and when to say nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kinsight.bundle import Calibration
from kinsight.calibration import probability
from kinsight.evidence import Evidence, Ids, Memory, weigh
from kinsight.index import cosines
from kinsight.metrics import shares_inside
from kinsight.types import Decision, Floats, Match, Regions

CANDIDATES = 3
"""Matches that are kept per region, best first."""
PERSONS = frozenset({"person", "people", "man", "woman", "boy", "girl", "child", "baby"})
"""Categories, casefolded, of those who are known by their face where a bundle can see faces."""
SURE_LABEL = 0.5
"""What kind of thing a region shows counts from this detector score on, where the user gave another one."""
_CONTRADICTED = 1 / 2
_MISTAKEN = 1 / 7
_ALIKE = 1 / 2
_PART = 1 / 2


@dataclass(frozen=True, eq=False)
class Rules:
    """When to name: the bundle's calibration and cohort, and the kinds that its detector can tell apart."""

    calibration: Calibration
    vocabulary: frozenset[str]  # the detector's labels
    cohort: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """float32 (g, dim), unit length: individuals that nobody asks about, see `evidence.weigh`."""
    faces: Calibration | None = None  # of the cosine of two faces


def recall(
    regions: Regions, vectors: Floats, memory: Memory, rules: Rules, faces: Floats | None = None
) -> tuple[tuple[tuple[Match, ...], ...], tuple[Match, ...]]:
    """Matches of every region, best first, and of the whole photo.

    `vectors`, float32 (n + 1, dim): the n regions, then the whole photo. One box gets at most one concept and
    one concept at most one box, the likeliest. As only the best of a box can be more than unknown, no other
    assignment accepts more, and none of those that accept as many has a higher sum of probabilities. Whom
    another box carries takes no margin from the best, see `wider_margins`. The whole photo adds only concepts
    that no box carries, and none that a box would carry but for a negative.

    `faces`, float32 (n + 1, face dim), zeros where no face was seen: then the face decides who a person is,
    by its own calibration, and without it nobody of that category is more than unsure. Without `faces`, or
    where the rules have no calibration for them, a person is known as everything else is.
    """
    if faces is None or rules.faces is None:
        rules, faces = replace(rules, faces=None), np.zeros((len(vectors), 0), np.float32)
    also = _known_faces(faces, memory, rules)
    evidence = weigh(vectors, memory, rules.cohort, CANDIDATES + 1, also, rules.calibration.gains)
    near = _face_cosines(faces, evidence.concepts, memory, rules)
    chances = probability(evidence.scores, rules.calibration)
    if rules.faces is not None:
        chances = np.where(np.isnan(near), chances, probability(np.nan_to_num(near), rules.faces))
    chances = np.where(evidence.proven, chances, 0)
    rows = [_matches(row, chances[row], evidence, memory) for row in range(len(vectors))]
    if rules.faces is not None:
        rows = [_with_faces(row, near[at], evidence.concepts) for at, row in enumerate(rows)]
    labels = [*zip(regions.labels, regions.scores.tolist(), strict=True), ("", 0.0)]
    decided = [_decide(row, memory, rules, *label) for row, label in zip(rows, labels, strict=True)]
    boxes = one_box_each(decided[:-1])
    for row, matches in wider_margins(boxes, regions):
        boxes[row] = _decide(matches, memory, rules, *labels[row])
    found = [match for row in boxes for match in row]
    carried = {match.concept_id for match in found if match.decision != "unknown"}
    carried |= {match.concept_id for match in found if _only_refused(match, rules.calibration)}
    return tuple(boxes), tuple(match for match in decided[-1] if match.concept_id not in carried)


def is_person(category: str) -> bool:
    """Whether somebody of this category is known by the face."""
    return category.strip().casefold() in PERSONS


def needed_probability(memory: Memory, concept_id: int, label: str, score: float, rules: Rules) -> float:
    """To be accepted: more where the detector surely sees another kind than the user gave, and a little more
    where there is somebody whom a negative says this is not, and who looks enough like it.
    """
    category = memory.categories.get(concept_id, "")
    by_face = rules.faces is not None and is_person(category)
    needed = (rules.faces if by_face and rules.faces else rules.calibration).accept_probability
    if is_contradicted(category, label, score, rules.vocabulary):
        return needed + (1 - needed) * _CONTRADICTED
    if is_mistakable(memory, concept_id, rules.calibration):
        return needed + (1 - needed) * _MISTAKEN
    return needed


def is_mistakable(memory: Memory, concept_id: int, calibration: Calibration) -> bool:
    """Whether a negative of this concept looks like it: at least half as likely the same as a maybe."""
    likest = memory.mistaken.get(concept_id)
    if likest is None:
        return False
    chance = probability(np.array(likest, np.float32), calibration)
    return bool(chance >= _ALIKE * calibration.unsure_probability)


def is_refused(match: Match) -> bool:
    """Whether a negative speaks against it: then it is unknown, whatever the threshold."""
    return match.similarity <= match.against


def _only_refused(match: Match, calibration: Calibration) -> bool:
    """Whether nothing but a negative kept a box from the name: the whole photo shows the same one."""
    if not is_refused(match):
        return False
    chance = float(probability(np.array(match.score, np.float32), calibration))
    return chance >= calibration.unsure_probability


def _matches(row: int, chances: Floats, evidence: Evidence, memory: Memory) -> tuple[Match, ...]:
    """The best candidates of one region, not decided yet; `chances`, float32 (c,), are probabilities."""
    similarities = evidence.similarities[row]
    order = np.lexsort((-similarities, -chances))[: CANDIDATES + 1]
    best = order[:CANDIDATES]
    probabilities = [*chances[order].tolist(), 0.0]
    columns = zip(
        evidence.concepts[best].tolist(),
        evidence.view_ids[row, best].tolist(),
        similarities[best].tolist(),
        evidence.scores[row, best].tolist(),
        evidence.against[row, best].tolist(),
        strict=True,
    )
    return tuple(
        Match(
            concept=memory.names[concept],
            concept_id=concept,
            view_id=view,
            similarity=similarity,
            probability=probabilities[rank],
            margin=probabilities[rank] - probabilities[0 if rank else 1],
            decision="unknown",
            score=score,
            against=against,
        )
        for rank, (concept, view, similarity, score, against) in enumerate(columns)
    )


def _known_faces(faces: Floats, memory: Memory, rules: Rules) -> Ids:
    """Ids of the persons whose face may be one of these."""
    if rules.faces is None or not len(memory.faces):
        return np.zeros(0, np.int64)
    chances = probability(cosines(memory.faces, faces).max(axis=1), rules.faces)
    found = np.unique(memory.face_concepts[chances >= rules.faces.unsure_probability])
    return found[[is_person(memory.categories.get(int(one), "")) for one in found]]


def _face_cosines(faces: Floats, concepts: Ids, memory: Memory, rules: Rules) -> Floats:
    """float32 (m, c): of the face in each region with the likest of each person; nan where one is missing."""
    near = np.full((len(faces), len(concepts)), np.nan, np.float32)
    if rules.faces is None or not len(memory.faces):
        return near
    seen = faces.any(axis=1)
    every = cosines(memory.faces, faces)
    for column, concept_id in enumerate(concepts.tolist()):
        own = memory.face_concepts == concept_id
        if own.any() and is_person(memory.categories.get(concept_id, "")):
            near[seen, column] = every[own].max(axis=0)[seen]
    return near


def _with_faces(row: tuple[Match, ...], near: Floats, concepts: Ids) -> tuple[Match, ...]:
    """The matches of one region with the cosines of the faces, float32 (c,), where there are any."""
    faces = [float(near[np.searchsorted(concepts, match.concept_id)]) for match in row]
    return tuple(
        match if np.isnan(face) else replace(match, face=face) for match, face in zip(row, faces, strict=True)
    )


def _decide(
    row: tuple[Match, ...], memory: Memory, rules: Rules, label: str, score: float
) -> tuple[Match, ...]:
    """Only the best candidate of a region can be more than unknown."""
    if not row:
        return row
    best, calibration = row[0], rules.calibration
    category = memory.categories.get(best.concept_id, "")
    needed = needed_probability(memory, best.concept_id, label, score, rules)
    if rules.faces is not None and is_person(category):
        if best.face is None:
            needed = np.inf
        else:
            calibration = rules.faces
    decision: Decision = "unknown"
    if is_refused(best):
        decision = "unknown"
    elif best.probability >= needed and best.margin >= calibration.margin:
        decision = "accepted"
    elif best.probability >= calibration.unsure_probability:
        decision = "unsure"
    return (replace(best, decision=decision), *row[1:])


def is_contradicted(category: str, label: str, score: float, vocabulary: frozenset[str]) -> bool:
    """Whether the detector surely sees another kind than the user gave, where it knows both kinds."""
    given, seen = category.casefold(), label.casefold()
    return score >= SURE_LABEL and given != seen and {given, seen} <= vocabulary


def one_box_each(rows: Sequence[tuple[Match, ...]]) -> list[tuple[Match, ...]]:
    """Of several boxes that are decided for one concept only the likeliest of the surest keeps it."""
    named = [row for row, matches in enumerate(rows) if matches and matches[0].decision != "unknown"]
    named.sort(key=lambda row: (rows[row][0].decision != "accepted", -rows[row][0].probability))
    winners: dict[int, int] = {}
    for row in named:
        winners.setdefault(rows[row][0].concept_id, row)
    return [
        (replace(matches[0], decision="unknown"), *matches[1:])
        if matches and winners.get(matches[0].concept_id, row) != row
        else matches
        for row, matches in enumerate(rows)
    ]


def wider_margins(
    rows: Sequence[tuple[Match, ...]], regions: Regions
) -> Iterator[tuple[int, tuple[Match, ...]]]:
    """(row, its matches) of the unsure that gain margin, as the next concept is another one in the photo.

    That one is accepted elsewhere as more probable, in a box of which this one is no part.
    """
    carriers = {row[0].concept_id: at for at, row in enumerate(rows) if row and row[0].decision == "accepted"}
    if not carriers:
        return
    part = shares_inside(regions.xyxy, regions.xyxy) > _PART
    for at, (best, *others) in ((at, row) for at, row in enumerate(rows) if row):
        if best.decision != "unsure":
            continue
        rivals = []
        for match in others:
            carrier = carriers.get(match.concept_id)
            if carrier is None or part[at, carrier] or rows[carrier][0].probability <= match.probability:
                rivals.append(match.probability)
        behind = others[-1].probability if len(others) == CANDIDATES - 1 else 0.0
        margin = best.probability - max(rivals, default=behind)
        if margin > best.margin:
            yield at, (replace(best, margin=margin), *others)
