"""Decides who is who in a photo, and when to say nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kinsight.bundle import Calibration
from kinsight.calibration import probability
from kinsight.evidence import Against, Evidence, Ids, Memory, weigh, weigh_faces
from kinsight.index import cosines
from kinsight.metrics import shares_inside
from kinsight.types import Decision, Floats, Match, Objection, Regions

CANDIDATES = 3
"""Matches that are kept per region, best first; behind them may be whom a negative keeps from being first."""
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
    that no box carries, and none that a box would carry but for a negative, whose parts are not named either.

    `faces`, float32 (n + 1, face dim), zeros where no face was seen: then the face decides who a person is,
    by its own calibration, and without it nobody of that category is more than unsure; the faces of negatives
    speak against it, not their figures. Without `faces`, or where the rules have no calibration for them, a
    person is known as everything else is.
    """
    if faces is None or rules.faces is None:
        rules, faces = replace(rules, faces=None), np.zeros((len(vectors), 0), np.float32)
    also = _known_faces(faces, memory, rules)
    evidence = weigh(vectors, memory, rules.cohort, CANDIDATES + 1, also, rules.calibration.gains)
    likely, proven = probability(evidence.scores, rules.calibration), evidence.proven
    maybe = np.full(proven.shape, rules.calibration.unsure_probability)
    if rules.faces is not None:
        near, against = _face_evidence(faces, evidence.concepts, memory)
        bodily = np.isnan(near)
        likely = np.where(bodily, likely, probability(np.nan_to_num(near), rules.faces))
        proven = np.where(bodily, proven, near > against.exceed)
        maybe = np.where(bodily, maybe, rules.faces.unsure_probability)
    refused = ~proven | _parts_of_refused(likely, proven, regions)
    rows = [_matches(row, likely[row], refused[row], evidence, memory) for row in range(len(vectors))]
    if rules.faces is not None:
        rows = [_with_faces(row, (at, near, against), evidence.concepts) for at, row in enumerate(rows)]
    labels = [*zip(regions.labels, regions.scores.tolist(), strict=True), ("", 0.0)]
    decided = [_decide(row, memory, rules, *label) for row, label in zip(rows, labels, strict=True)]
    boxes = one_box_each(decided[:-1])
    for row, matches in wider_margins(boxes, regions):
        boxes[row] = _decide(matches, memory, rules, *labels[row])
    found = [match for row in boxes for match in row]
    carried = {match.concept_id for match in found if match.decision != "unknown"}
    carried |= set(evidence.concepts[(refused & (likely >= maybe))[:-1].any(axis=0)].tolist())
    return tuple(boxes), tuple(match for match in decided[-1] if match.concept_id not in carried)


def is_person(category: str) -> bool:
    """Whether somebody of this category is known by the face."""
    return category.strip().casefold() in PERSONS


def needed_probability(memory: Memory, concept_id: int, label: str, score: float, rules: Rules) -> float:
    """To be accepted: more where the detector surely sees another kind than the user gave, and a little more
    where there is somebody whom a negative says this is not, and who looks enough like it.
    """
    category = memory.categories.get(concept_id, "")
    needed = _calibration(category, rules).accept_probability
    if is_contradicted(category, label, score, rules.vocabulary):
        return needed + (1 - needed) * _CONTRADICTED
    if is_mistakable(memory, concept_id, rules):
        return needed + (1 - needed) * _MISTAKEN
    return needed


def is_mistakable(memory: Memory, concept_id: int, rules: Rules) -> bool:
    """Whether a negative of this concept looks like it: at least half as likely the same as a maybe.

    Of a person who is known by the face the faces count.
    """
    calibration = _calibration(memory.categories.get(concept_id, ""), rules)
    likest = memory.mistaken if calibration is rules.calibration else memory.mistaken_faces
    if concept_id not in likest:
        return False
    chance = probability(np.array(likest[concept_id], np.float32), calibration)
    return bool(chance >= _ALIKE * calibration.unsure_probability)


def _calibration(category: str, rules: Rules) -> Calibration:
    """By which somebody of this category is known."""
    return rules.faces if rules.faces is not None and is_person(category) else rules.calibration


def _parts_of_refused(likely: Floats, proven: NDArray[np.bool_], regions: Regions) -> NDArray[np.bool_]:
    """bool (m, c): n regions that lie in one which a negative keeps from a concept, though it is likelier.

    What is left of somebody who was refused, a head say, looks less like the negative, and no more like the
    concept. `likely` are probabilities, float32 (m, c), `proven` says where no negative speaks against them.
    """
    n, found = len(regions), np.zeros_like(proven)
    columns = np.flatnonzero((~proven[:n]).any(axis=0))
    if n > 1 and len(columns):
        part = shares_inside(regions.xyxy, regions.xyxy) > _PART
        np.fill_diagonal(part, False)
        refused = np.where(proven, -1, likely)[:n, columns]
        found[:n, columns] = (part[:, :, None] & (refused >= likely[:n, None, columns])).any(axis=1)
    return found


def _matches(
    row: int, likely: Floats, refused: NDArray[np.bool_], evidence: Evidence, memory: Memory
) -> tuple[Match, ...]:
    """The best candidates of one region, not decided yet, and whom only a negative keeps from being the best.

    `likely`, float32 (c,), are probabilities; `refused`, bool (c,), says whom a negative speaks against.
    """
    similarities, chances = evidence.similarities[row], np.where(refused, 0, likely)
    order = np.lexsort((-similarities, -chances))
    best = order[:CANDIDATES].tolist()
    nearest = int(np.where(refused, likely, -1).argmax()) if refused.any() else None
    if nearest is not None and nearest not in best and likely[nearest] >= chances[best[0]]:
        best.append(nearest)
    first, second = [*chances[order[:2]].tolist(), 0.0, 0.0][:2]
    return tuple(
        Match(
            concept=memory.names[concept_id],
            concept_id=concept_id,
            view_id=int(evidence.view_ids[row, column]),
            similarity=float(similarities[column]),
            probability=float(chances[column]),
            margin=float(chances[column]) - (first if rank else second),
            decision="unknown",
            score=float(evidence.scores[row, column]),
            against=_objection(evidence.against, row, column),
            refused=bool(refused[column]),
            claim=float(likely[column]),
        )
        for rank, column in enumerate(best)
        for concept_id in (int(evidence.concepts[column]),)
    )


def _objection(against: Against, row: int, column: int) -> Objection | None:
    negative_id = int(against.negative_ids[row, column])
    if not negative_id:
        return None
    similarity, exceed = against.similarities[row, column], against.exceed[row, column]
    return Objection(negative_id, float(similarity), float(exceed))


def _known_faces(faces: Floats, memory: Memory, rules: Rules) -> Ids:
    """Ids of the persons whose face may be one of these."""
    if rules.faces is None or not len(memory.faces):
        return np.zeros(0, np.int64)
    chances = probability(cosines(memory.faces, faces).max(axis=1), rules.faces)
    found = np.unique(memory.face_concepts[chances >= rules.faces.unsure_probability])
    return found[[is_person(memory.categories.get(int(one), "")) for one in found]]


def _face_evidence(faces: Floats, concepts: Ids, memory: Memory) -> tuple[Floats, Against]:
    """As `weigh_faces`, of persons: all others are known by their looks alone."""
    near, against = weigh_faces(faces, concepts, memory)
    persons = [is_person(memory.categories.get(int(one), "")) for one in concepts]
    near[:, ~np.array(persons, np.bool_)] = np.nan
    return near, against


def _with_faces(
    matches: tuple[Match, ...], seen: tuple[int, Floats, Against], concepts: Ids
) -> tuple[Match, ...]:
    """The matches of one region with what the faces say where they say anything.

    `seen`: the row of the region, and what `_face_evidence` found, of `concepts`, int64 (c,).
    """
    row, near, against = seen
    columns = [int(np.searchsorted(concepts, match.concept_id)) for match in matches]
    return tuple(
        match
        if np.isnan(near[row, column])
        else replace(match, face=float(near[row, column]), against=_objection(against, row, column))
        for match, column in zip(matches, columns, strict=True)
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
    if best.refused:  # at any threshold
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
        behind = others[CANDIDATES - 2].probability if len(others) >= CANDIDATES - 1 else 0.0
        margin = best.probability - max(rivals, default=behind)
        if margin > best.margin:
            yield at, (replace(best, margin=margin), *others)
