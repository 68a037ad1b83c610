"""Recall of persons: face is held against face, of views and of negatives; figures only where no face is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinsight.evidence import Memory, weigh_faces
from kinsight.recall import Rules, needed_probability, recall
from kinsight.types import Floats, Match
from kinsight.why import _gave_way, explain
from test_recall import LALA, NOBODY, RULES, TOM, boxes, like, memory_of

BY_FACE = replace(RULES, faces=replace(RULES.calibration, accept_probability=0.7))
UNSEEN = np.zeros(3, np.float32)


def face(*numbers: float) -> Floats:
    vector = np.array([*numbers, 0, 0, 0][:3], np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def persons(*negatives: tuple[int, Floats, Floats]) -> Memory:
    """Lala's and Tom's faces are the axes; negatives as (concept, figure, face or UNSEEN)."""
    seen = [(concept, other) for concept, _, other in negatives if other.any()]
    return replace(
        memory_of([LALA, TOM], negatives=[(concept, figure) for concept, figure, _ in negatives]),
        categories={LALA: "person", TOM: "woman"},
        face_concepts=np.array([LALA, TOM], np.int64),
        faces=np.stack([face(1), face(0, 1)]),
        negative_face_concepts=np.array([concept for concept, _ in seen], np.int64),
        negative_faces=np.array([other for _, other in seen], np.float32).reshape(len(seen), 3),
        negative_face_ids=np.array(
            [at for at, (*_, other) in enumerate(negatives, 201) if other.any()], np.int64
        ),
    )


def look(figure: Floats, seen: Floats, memory: Memory, rules: Rules = BY_FACE) -> Match:
    """The best match of one region."""
    found, _ = recall(boxes(1), np.stack([figure, NOBODY]), memory, rules, np.stack([seen, UNSEEN]))
    return found[0][0]


def test_the_figure_of_a_negative_does_not_speak_against_a_face() -> None:
    clothes = like(0.9)
    memory = persons((LALA, clothes, face(0, 0, 1)))
    match = look(clothes, face(1), memory)
    assert (match.concept, match.decision) == ("Lala", "accepted")
    assert match.against is not None and match.against.exceed < 0.7
    assert look(clothes, UNSEEN, memory).decision == "unknown"  # from behind the figure is all there is
    assert look(clothes, UNSEEN, persons()).decision == "unsure"


def test_the_face_of_a_negative_does_in_any_clothes() -> None:
    sister, hers = face(0.9, 0, 0.5), face(0.91, 0, 0.5)
    assert look(like(0), hers, persons()).decision == "accepted"
    refused = look(like(0), hers, persons((LALA, like(0.9), sister)))
    assert (refused.concept_id, refused.decision, refused.probability) == (LALA, "unknown", 0)
    assert refused.face is not None and refused.refused
    said = explain(refused, BY_FACE, 0.9)
    exceed = hers @ sister + 0.2 * (1 - sister[0])
    assert (
        f"the faces {refused.face:.2f}, but {hers @ sister:.2f} to negative 201, which you said is not Lala, "
        f"so more than {exceed:.2f} was needed: unknown"
    ) in said
    anything = replace(BY_FACE, faces=replace(BY_FACE.faces or RULES.calibration, accept_probability=0.0))
    assert look(like(0), hers, persons((LALA, like(0.9), sister)), anything).decision == "unknown"
    assert look(like(0), face(1), persons((LALA, like(0.9), sister))).decision == "accepted"


def test_a_face_must_be_clearly_nearer_to_a_view_than_to_a_negative() -> None:
    sister = face(0.8, 0, 0.6)
    halfway = (face(1) + 0.95 * sister) / np.linalg.norm(face(1) + 0.95 * sister)
    near, against = weigh_faces(
        np.stack([halfway, UNSEEN]), np.array([LALA, TOM]), persons((LALA, NOBODY, sister))
    )
    assert near[0, 0] == pytest.approx(halfway @ face(1)) and np.isnan(near[1]).all()
    assert against.exceed[0, 0] == pytest.approx(halfway @ sister + 0.2 * (1 - 0.8))
    assert against.exceed[0, 1] == -1 and halfway @ sister < near[0, 0] < against.exceed[0, 0]


def test_whose_face_looks_like_a_negative_needs_more() -> None:
    """By the faces, not by the figures."""
    assert needed_probability(persons((LALA, like(0.9), face(0, 0, 1))), LALA, "", 0, BY_FACE) == 0.7
    assert needed_probability(persons((LALA, NOBODY, face(0.9, 0, 0.5))), LALA, "", 0, BY_FACE) > 0.7
    assert needed_probability(persons((LALA, like(0.9), UNSEEN)), LALA, "", 0, RULES) > 0.8
    copy, sister = (LALA, NOBODY, face(1, 0, 0.02)), (LALA, NOBODY, face(0.9, 0, 0.5))
    assert needed_probability(persons(copy), LALA, "", 0, BY_FACE) == 0.7
    assert persons(copy, sister).mistaken_faces == {LALA: pytest.approx(sister[2][0])}


def test_the_whole_photo_does_not_name_whose_face_was_refused() -> None:
    sister = face(0.9, 0, 0.5)
    memory = persons((LALA, NOBODY, sister))
    _, whole = recall(boxes(1), np.stack([NOBODY, like(0.9)]), memory, BY_FACE, np.stack([sister, UNSEEN]))
    assert "Lala" not in [match.concept for match in whole]


@pytest.mark.parametrize("maybe", [0.85, 0.95])
def test_a_maybe_is_one_by_the_face_where_that_was_seen(maybe: float) -> None:
    """The calibration of figures, by which it is one from 0.5 on, says nothing of faces."""
    sister = face(0.63, 0, np.sqrt(1 - 0.63**2))  # Lala with a probability of 0.9, but for the negative
    rules = replace(
        BY_FACE, faces=replace(RULES.calibration, accept_probability=0.97, unsure_probability=maybe)
    )
    memory, looks = persons((LALA, NOBODY, sister)), np.stack([NOBODY, like(0.9)])
    _, whole = recall(boxes(1), looks, memory, rules, np.stack([sister, UNSEEN]))
    assert ("Lala" in [match.concept for match in whole]) == (maybe > 0.9)
    _, whole = recall(boxes(1), looks, persons(), rules, np.stack([sister, UNSEEN]))
    assert ("Lala" in [match.concept for match in whole]) == (maybe > 0.9)
    unknown = replace(look(NOBODY, sister, persons(), rules), decision="unknown")
    assert unknown.probability == pytest.approx(0.9, abs=1e-5)
    assert _gave_way(unknown, rules) == (maybe < 0.9)


def test_a_dog_has_no_face_to_be_compared() -> None:
    memory = replace(persons((LALA, like(0.9), face(1))), categories={LALA: "dog", TOM: "woman"})
    refused = look(like(0.9), face(1), memory)
    assert (refused.concept_id, refused.face, refused.decision) == (LALA, None, "unknown")
