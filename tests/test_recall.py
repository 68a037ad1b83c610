"""Recall: truth tables for accepted, unsure and unknown, and who gets which box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.bundle import Calibration
from kinsight.evidence import Evidence, Memory, weigh
from kinsight.index import Index
from kinsight.recall import CANDIDATES, Rules, needed_probability, one_box_each, recall, wider_margins
from kinsight.types import Decision, Floats, Match, Objection, Regions
from kinsight.why import explain, nearest_first

STEEP = 0.7  # similarity of probability 1; two concepts can both come so near
CALIBRATION = Calibration(((0.0, 0.0), (STEEP, 1.0)), 0.8, 0.5, 0.1, "by hand")
RULES = Rules(CALIBRATION, frozenset({"dog", "cat", "sofa"}))
DIM = 8
NAMES = ("Lala", "Tom", "Ann", "Mimi", "Bo", "Kim")
LALA, TOM, ANN = 1, 2, 3


def memory_of(
    views: Sequence[int],
    vectors: Floats | None = None,
    categories: Mapping[int, str] | None = None,
    negatives: Sequence[tuple[int, Floats]] = (),
) -> Memory:
    """Views of these concepts, concept c is axis c - 1; the first view is 101, the first negative 201."""
    owners = np.array(views, np.int64)
    if vectors is None:
        vectors = np.eye(DIM, dtype=np.float32)[owners - 1]
    return Memory(
        names=dict(enumerate(NAMES, 1)),
        categories=categories or {},
        view_ids=np.arange(101, 101 + len(owners), dtype=np.int64),
        view_concepts=owners,
        views=Index(vectors, np.arange(len(owners), dtype=np.int64)),
        negative_concepts=np.array([concept for concept, _ in negatives], np.int64),
        negatives=np.array([vector for _, vector in negatives], np.float32).reshape(
            len(negatives), vectors.shape[1]
        ),
        negative_ids=np.arange(201, 201 + len(negatives), dtype=np.int64),
    )


def like(*probabilities: float) -> Floats:
    """A unit vector that is Lala with the first probability, Tom with the second, and so on."""
    vector = np.zeros(DIM)
    vector[: len(probabilities)] = STEEP * np.array(probabilities)
    vector[-1] = np.sqrt(1 - (vector**2).sum())
    return vector.astype(np.float32)


NOBODY = like(0)
NOBODY_ELSE = np.zeros((0, DIM), np.float32)


def boxes(count: int, labels: Sequence[str] = (), score: float = 0.9) -> Regions:
    corners = np.array([[10 * n, 0, 10 * n + 10, 10] for n in range(count)], np.float32).reshape(count, 4)
    return Regions(corners, np.full(count, score, np.float32), tuple(labels) or ("thing",) * count)


def look(
    vectors: Sequence[Floats], memory: Memory, whole: Floats = NOBODY
) -> tuple[list[Match], list[Match]]:
    """The best match of every box, and of the whole photo."""
    found, whole_photo = recall(boxes(len(vectors)), np.stack([*vectors, whole]), memory, RULES)
    assert len(found) == len(vectors)
    return [matches[0] for matches in found], list(whole_photo)


@pytest.mark.parametrize(
    ("best", "next_best", "decision"),
    [
        (0.99, 0.0, "accepted"),
        (0.801, 0.0, "accepted"),
        (0.799, 0.0, "unsure"),
        (0.501, 0.0, "unsure"),
        (0.499, 0.0, "unknown"),
        (0.0, 0.0, "unknown"),
        (0.95, 0.84, "accepted"),
        (0.95, 0.86, "unsure"),
        (0.9, 0.9, "unsure"),
        (0.4, 0.1, "unknown"),
    ],
)
def test_probability_and_margin_must_both_hold(best: float, next_best: float, decision: Decision) -> None:
    ((match, *_),), _ = recall(
        boxes(1), np.stack([like(best, next_best), NOBODY]), memory_of([LALA, TOM]), RULES
    )
    assert match.decision == decision
    assert match.probability == pytest.approx(best, abs=1e-5)
    assert match.similarity == pytest.approx(STEEP * best, abs=1e-5)
    assert match.margin == pytest.approx(best - next_best, abs=1e-5)


def test_the_matches_come_best_first_and_only_the_first_is_decided() -> None:
    found, _ = recall(boxes(1), np.stack([like(0.3, 0.9, 0.5, 0.1), NOBODY]), memory_of([1, 2, 3, 4]), RULES)
    assert [match.concept for match in found[0]] == ["Tom", "Ann", "Lala"]
    assert [match.concept_id for match in found[0]] == [TOM, ANN, LALA]
    assert [match.view_id for match in found[0]] == [102, 103, 101]
    assert [match.decision for match in found[0]] == ["accepted", "unknown", "unknown"]
    assert [match.margin for match in found[0]] == pytest.approx([0.4, -0.4, -0.6], abs=1e-5)


def test_a_concept_is_as_near_as_its_best_view() -> None:
    memory = memory_of([LALA, LALA, TOM], np.stack([NOBODY, like(1.0), np.eye(DIM)[1]]).astype(np.float32))
    (match,), _ = look([like(1.0)], memory)
    assert (match.concept, match.view_id, match.decision) == ("Lala", 102, "accepted")


def test_an_empty_store_knows_nobody() -> None:
    memory = memory_of([], np.zeros((0, 0), np.float32))
    found, whole_photo = recall(boxes(2), np.stack([like(0.9)] * 3), memory, RULES)
    assert found == ((), ())
    assert whole_photo == ()


def test_a_photo_without_regions_has_its_whole() -> None:
    found, whole_photo = recall(boxes(0), like(0.9)[None], memory_of([LALA]), RULES)
    assert found == ()
    assert [match.decision for match in whole_photo] == ["accepted"]


# Who gets which box


def test_of_two_look_alikes_in_one_photo_only_the_likelier_has_the_name() -> None:
    matches, _ = look([like(0.85), like(0.95), like(0.9)], memory_of([LALA]))
    assert [match.decision for match in matches] == ["unknown", "accepted", "unknown"]


def test_an_accepted_box_goes_before_an_unsure_one_that_looks_more_alike() -> None:
    matches, _ = look([like(0.95, 0.9), like(0.9)], memory_of([LALA, TOM]))
    assert [match.decision for match in matches] == ["unknown", "accepted"]


def test_of_several_boxes_the_likelier_has_the_name_not_the_nearer() -> None:
    """A likely face says more than a like figure; the same where looking like many others proves less."""
    rows = [(claim("Lala", 0.8, similarity=0.9),), (claim("Lala", 0.9, similarity=0.6),)]
    assert [row[0].decision for row in one_box_each(rows)] == ["unknown", "accepted"]


def test_a_look_alike_that_another_box_carries_takes_no_margin() -> None:
    both = like(0.9, 0.86)
    (match,), _ = look([both], memory_of([LALA, TOM]))
    assert (match.concept, match.decision) == ("Lala", "unsure")
    matches, _ = look([both, like(0, 0.95)], memory_of([LALA, TOM]))
    assert [(match.concept, match.decision) for match in matches] == [
        ("Lala", "accepted"),
        ("Tom", "accepted"),
    ]
    assert matches[0].margin == pytest.approx(0.9, abs=1e-5)


@pytest.mark.parametrize(
    ("best", "elsewhere"),
    [
        (like(0.9, 0.86), like(0.3, 0.84)),  # the other box is less probably Tom than this one
        (like(0.9, 0.86), like(0.91, 0.95)),  # the other box is a maybe itself
        (like(0.82, 0.78, 0.78), like(0, 0.95)),  # Ann is nowhere else
        (like(0.79, 0.76), like(0, 0.95)),  # Lala is not probable enough
    ],
)
def test_a_margin_is_kept_over_all_who_may_be_meant(best: Floats, elsewhere: Floats) -> None:
    matches, _ = look([best, elsewhere], memory_of([LALA, TOM, ANN]))
    assert (matches[0].concept, matches[0].decision) == ("Lala", "unsure")


def test_a_part_of_who_is_named_gains_no_margin() -> None:
    regions = Regions(
        np.array([[2, 2, 8, 8], [0, 0, 10, 10]], np.float32), np.ones(2, np.float32), ("a", "a")
    )
    vectors = np.stack([like(0.9, 0.86), like(0, 0.95), NOBODY])
    found, _ = recall(regions, vectors, memory_of([LALA, TOM]), RULES)
    assert [row[0].decision for row in found] == ["unsure", "accepted"]


def test_of_a_crowd_of_look_alikes_only_those_who_were_compared_count() -> None:
    """Three matches are kept: who comes fourth may be as near as the third."""
    unsure = replace(claim("Lala", 0.9), decision="unsure", margin=0.9 - 0.86)
    crowded = (unsure, claim("Tom", 0.86), claim("Ann", 0.86))
    carried = [(claim("Tom", 0.95),), (claim("Ann", 0.95),)]
    assert not [*wider_margins([crowded, *carried], boxes(3))]
    ((row, (match, *_)),) = wider_margins([crowded[:2], *carried], boxes(3))
    assert (row, match.margin) == (0, pytest.approx(0.9))


CLAIMS = st.tuples(st.sampled_from(NAMES[:3]), st.sampled_from([0.2, 0.6, 0.7, 0.82, 0.9, 0.95]))


@settings(deadline=None)
@given(st.lists(CLAIMS, max_size=5))
def test_no_assignment_accepts_more_or_is_likelier(claims: list[tuple[str, float]]) -> None:
    """Against all ways to leave boxes out so that no name stands twice."""
    rows = [(claim(name, chance),) for name, chance in claims]

    def worth(kept: Sequence[int]) -> tuple[int, float]:
        mine = [rows[row][0] for row in kept]
        return sum(m.decision == "accepted" for m in mine), round(sum(m.probability for m in mine), 6)

    decided = [row for row, (match,) in enumerate(rows) if match.decision != "unknown"]
    subsets = [kept for size in range(len(decided) + 1) for kept in combinations(decided, size)]
    possible = [kept for kept in subsets if len({rows[row][0].concept for row in kept}) == len(kept)]
    named = [row for row, (match,) in enumerate(one_box_each(rows)) if match.decision != "unknown"]
    assert named in [list(kept) for kept in possible]
    assert worth(named) == max(worth(kept) for kept in possible)


def claim(name: str, chance: float, similarity: float = 0.5) -> Match:
    decision: Decision = "accepted" if chance >= 0.8 else "unsure" if chance >= 0.5 else "unknown"
    return Match(name, NAMES.index(name) + 1, 1, similarity, chance, chance, decision)


def test_different_concepts_all_get_their_box() -> None:
    matches, _ = look([like(0, 0.9), like(0.9), like(0, 0, 0.6)], memory_of([LALA, TOM, ANN]))
    assert [(match.concept, match.decision) for match in matches] == [
        ("Tom", "accepted"),
        ("Lala", "accepted"),
        ("Ann", "unsure"),
    ]


def test_the_whole_photo_adds_a_concept_that_no_box_carries() -> None:
    matches, whole_photo = look([like(0.9)], memory_of([LALA, TOM]), whole=like(0.1, 0.9))
    assert [match.decision for match in matches] == ["accepted"]
    assert [(match.concept, match.decision) for match in whole_photo] == [("Tom", "accepted")]


@pytest.mark.parametrize("in_box", [0.9, 0.6], ids=["accepted", "unsure"])
def test_the_whole_photo_says_nothing_of_a_concept_that_a_box_carries(in_box: float) -> None:
    _, whole_photo = look([like(in_box)], memory_of([LALA, TOM]), whole=like(0.95))
    assert [match.concept for match in whole_photo] == ["Tom"]
    assert [match.decision for match in whole_photo] == ["unknown"]


def test_the_whole_photo_may_have_a_concept_that_a_box_only_comes_near() -> None:
    matches, whole_photo = look([like(0.3)], memory_of([LALA]), whole=like(0.9))
    assert [match.decision for match in (*matches, *whole_photo)] == ["unknown", "accepted"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.sampled_from([0.0, 0.3, 0.55, 0.82, 0.9])] * 2), max_size=6),
    st.tuples(*[st.sampled_from([0.0, 0.55, 0.9])] * 2),
)
def test_no_box_has_two_names_and_no_name_two_places(
    near: list[tuple[float, float]], whole: tuple[float, float]
) -> None:
    vectors = np.stack([*(like(*pair) for pair in near), like(*whole)])
    found, whole_photo = recall(boxes(len(near)), vectors, memory_of([LALA, TOM, TOM]), RULES)
    decided = [
        [match for match in matches if match.decision != "unknown"] for matches in (*found, whole_photo)
    ]
    assert all(len(matches) <= 1 for matches in decided)
    names = [match.concept for matches in decided for match in matches]
    assert len(names) == len(set(names))


# Negatives


def test_what_is_nearer_to_a_negative_proves_nothing() -> None:
    region = like(0.9, 0.6)
    memory = memory_of([LALA, TOM], negatives=[(LALA, region)])
    found, _ = recall(boxes(1), np.stack([region, NOBODY]), memory, RULES)
    assert [(match.concept, match.decision) for match in found[0]] == [("Tom", "unsure"), ("Lala", "unknown")]
    assert found[0][0].margin == pytest.approx(0.6, abs=1e-5)
    assert found[0][1].probability == 0
    assert found[0][1].similarity == pytest.approx(0.63, abs=1e-5)


def test_a_negative_holds_at_any_threshold() -> None:
    rules = replace(RULES, calibration=replace(CALIBRATION, accept_probability=0.0, margin=0.0))
    memory = memory_of([LALA], negatives=[(LALA, like(0.9))])
    found, _ = recall(boxes(2), np.stack([like(0.9), like(0.89), NOBODY]), memory, rules)
    assert [matches[0].decision for matches in found] == ["unknown", "unknown"]


def test_a_refusal_is_explained_by_the_negative_that_asks_for_most() -> None:
    region, view = like(0.9), aside(1)
    nearest, asking = (turned / np.linalg.norm(turned) for turned in (region + view / 4, region - view / 3))
    near, exceed = region @ asking, region @ asking + 0.2 * (1 - view @ asking)
    assert region @ nearest > near and exceed > region @ nearest + 0.2 * (1 - view @ nearest)
    (match,), _ = look([region], memory_of([LALA], negatives=[(LALA, nearest), (LALA, asking)]))
    assert match.against == Objection(202, pytest.approx(near, abs=1e-6), pytest.approx(exceed, abs=1e-5))
    assert f"{near:.2f}" != f"{exceed:.2f}"
    assert explain(match, RULES, 0.8) == (
        f"similarity 0.63 to view 101 of Lala, but {near:.2f} to negative 202, which you said is not Lala, "
        f"so more than {exceed:.2f} was needed: unknown"
    )
    copy = memory_of([LALA], negatives=[(LALA, aside(0.995))])
    assert look([aside(0.97, 2)], copy)[0][0].against is None  # it speaks of its own copies only


def test_whom_a_negative_keeps_from_being_first_is_told_first() -> None:
    """However many others there are; and not whom it would not have been anyway."""
    region = like(0.95, 0.5, 0.5, 0.5, 0.5)
    memory = memory_of([1, 2, 3, 4, 5], negatives=[(LALA, region), (5, region)])
    found, _ = recall(boxes(1), np.stack([region, NOBODY]), memory, RULES)
    assert [match.concept for match in found[0]] == ["Tom", "Ann", "Mimi", "Lala"]
    assert (found[0][0].margin, found[0][3].probability, found[0][3].refused) == (0, 0, True)
    told = nearest_first(found[0])
    assert told[0].concept == "Lala" and told[0].claim == pytest.approx(0.95, abs=1e-5)
    weak = like(0.3, 0.9, 0.5, 0.4)
    found, _ = recall(
        boxes(1), np.stack([weak, NOBODY]), memory_of([1, 2, 3, 4], negatives=[(LALA, weak)]), RULES
    )
    assert [match.concept for match in nearest_first(found[0])] == ["Tom", "Ann", "Mimi"]


def test_the_whole_photo_does_not_name_whom_a_negative_kept_from_a_box() -> None:
    refused = like(0.9)
    _, whole_photo = look([refused], memory_of([LALA], negatives=[(LALA, refused)]), whole=like(0.9, 0.5))
    assert [match.concept for match in whole_photo] == []
    elsewhere = np.eye(DIM, dtype=np.float32)[4]
    _, whole_photo = look([elsewhere], memory_of([LALA], negatives=[(LALA, elsewhere)]), whole=like(0.9))
    assert [match.decision for match in whole_photo] == ["accepted"]


def test_a_negative_that_is_farther_than_the_best_view_changes_nothing() -> None:
    far = np.eye(DIM, dtype=np.float32)[4]
    (match,), _ = look([like(0.9)], memory_of([LALA], negatives=[(LALA, far)]))
    assert match.decision == "accepted"


def test_a_region_must_be_clearly_nearer_to_a_view_than_to_a_negative() -> None:
    negative = like(0.5)
    lala = np.eye(DIM, dtype=np.float32)[0]
    for away in (0.5, 0.76, 0.95):
        region = away * lala + (1 - away) * negative
        region /= np.linalg.norm(region)
        needed = region @ negative + 0.2 * (1 - lala @ negative)
        evidence = weigh(region[None], memory_of([LALA], negatives=[(LALA, negative)]), NOBODY_ELSE, 4)
        assert evidence.against.exceed[0, 0] == pytest.approx(needed, abs=1e-6)
        assert bool(evidence.proven[0, 0]) == (region @ lala > needed)
    near = (lala + 0.95 * negative) / np.linalg.norm(lala + 0.95 * negative)
    (match,), _ = look([near], memory_of([LALA], negatives=[(LALA, negative)]))
    assert near @ lala > near @ negative and match.decision == "unknown"


def test_a_part_of_who_was_refused_is_not_named_either() -> None:
    """It looks less like the negative than the whole does, and no more like Lala."""
    memory = memory_of([LALA, TOM], negatives=[(LALA, aside(0.68, 2))])
    whole, part, likelier = aside(0.68, 2), aside(0.6, 3), aside(0.7, 3)
    inside = np.array([[0, 0, 100, 100], [10, 10, 60, 60]], np.float32)
    beside = np.array([[0, 0, 100, 100], [80, 80, 130, 130]], np.float32)
    for xyxy, other, decision in (
        (inside, part, "unknown"),
        (beside, part, "accepted"),
        (inside, likelier, "accepted"),
    ):
        regions = Regions(xyxy, np.array([0.9, 0.8], np.float32), ("thing", "thing"))
        for rules in (
            RULES,
            replace(RULES, calibration=replace(CALIBRATION, accept_probability=0.0, margin=0.0)),
        ):
            found, _ = recall(regions, np.stack([whole, other, NOBODY]), memory, rules)
            lala = next(match for match in found[1] if match.concept == "Lala")
            assert lala.decision == decision
            assert lala.refused == (decision == "unknown")
    found, _ = recall(
        Regions(inside, regions.scores, regions.labels), np.stack([whole, part, NOBODY]), memory, RULES
    )
    lala = next(match for match in found[1] if match.concept == "Lala")
    assert explain(lala, RULES, 0.8).endswith("but a part of what you said is not Lala: unknown")


def aside(cosine: float, axis: int = 1) -> Floats:
    """A unit vector so like Lala's view, turned towards another axis."""
    vector = np.zeros(DIM, np.float32)
    vector[[0, axis]] = cosine, np.sqrt(1 - cosine**2)
    return vector


def test_a_negative_that_is_like_a_view_hides_nobody_but_its_copies() -> None:
    """A copy of the view that was saved anew, say: what shows Lala is about as near to it as to the view."""
    memory = memory_of([LALA], negatives=[(LALA, aside(0.995))])
    seen = [aside(1), aside(0.97, 2), aside(0.97, 1), aside(0.995), aside(0.99)]
    decisions = [look([region], memory)[0][0].decision for region in seen]
    assert decisions == ["accepted", "accepted", "accepted", "unknown", "unknown"]
    told_apart = memory_of([LALA], negatives=[(LALA, aside(0.985))])
    assert look([aside(0.97, 1)], told_apart)[0][0].decision == "unknown"
    views = np.stack([aside(1), aside(0.9, 3)])
    another_view = memory_of([LALA, LALA], views, negatives=[(LALA, aside(0.995))])
    assert look([aside(0.97, 1)], another_view)[0][0].decision == "accepted"


@pytest.mark.parametrize("alike", [0.23, 0.27])
def test_who_looks_like_a_negative_needs_more(alike: float) -> None:
    """From half of a maybe on, 0.25, and not where the negative looks less like Lala."""
    negative = np.zeros(DIM, np.float32)
    negative[[0, 4]] = STEEP * alike, np.sqrt(1 - (STEEP * alike) ** 2)
    for chance, decision in ((0.82, "unsure" if alike > 0.25 else "accepted"), (0.84, "accepted")):
        (match,), _ = look([like(chance)], memory_of([LALA], negatives=[(LALA, negative)]))
        assert match.decision == decision
        assert look([like(chance)], memory_of([LALA]))[0][0].decision == "accepted"


def test_a_copy_makes_nobody_mistakable() -> None:
    """It takes the name from its own copies alone: who was accepted stays so."""
    memory = memory_of([LALA], negatives=[(LALA, aside(0.995))])
    assert memory.mistaken == {}
    assert look([like(0.82)], memory)[0][0].decision == "accepted"
    both = memory_of([LALA], negatives=[(LALA, aside(0.5)), (LALA, aside(0.995))])
    assert both.mistaken == {LALA: pytest.approx(0.5)}
    assert look([like(0.82)], both)[0][0].decision == "unsure"


def test_a_negative_of_another_concept_changes_nothing() -> None:
    region = like(0.9)
    (match,), _ = look([region], memory_of([LALA, TOM], negatives=[(TOM, region)]))
    assert (match.concept, match.decision) == ("Lala", "accepted")


# Several views, and what else looks like this


def test_the_mean_of_the_views_counts() -> None:
    one, other, far = like(1.0), like(0.95), like(0.6)
    memory = memory_of([LALA] * 3, np.stack([far, one, other]))
    middle = (one + other + far) / 3
    length = np.linalg.norm(middle)
    evidence = weigh(one[None], memory, NOBODY_ELSE, 4, gains=(0.0, 0.01))
    assert evidence.similarities[0, 0] == pytest.approx(1)
    assert evidence.scores[0, 0] == pytest.approx(one @ middle / length - 0.01, abs=1e-6)
    assert evidence.view_ids.tolist() == [[102]]
    (found,) = weigh(one[None], memory, NOBODY_ELSE, 4).scores[0]
    assert found == pytest.approx(max(one @ middle, 0.95), abs=1e-6)  # nobody knows what views gain


def test_the_same_view_twice_gains_nothing_and_costs_nothing() -> None:
    for gains in ((), (0.3,)):
        memory = memory_of([LALA] * 3 + [TOM], np.stack([like(0.8)] * 4))
        scores = weigh(like(1.0)[None], memory, NOBODY_ELSE, 4, gains=gains).scores[0]
        assert scores == pytest.approx(np.full(2, like(0.8) @ like(1.0)), abs=1e-6)


def test_a_side_that_was_shown_once_still_counts() -> None:
    axes = np.eye(DIM, dtype=np.float32)
    scores = weigh(axes[:1], memory_of([LALA, LALA], axes[:2]), NOBODY_ELSE, 4).scores
    assert scores == pytest.approx(np.array([[0.95]]))


def test_what_looks_like_many_others_proves_less() -> None:
    cohort = np.stack([like(0, 0, 0.5), like(0, 0, 0, 0.5), np.eye(DIM, dtype=np.float32)[0]])
    common, rare = like(0.9, 0, 0.4, 0.4), like(0.9)
    scores = weigh(np.stack([common, rare]), memory_of([LALA]), cohort, 4).scores[:, 0]
    others = [np.mean([vector @ member for member in cohort[:2]]) for vector in (common, rare)]
    assert scores == pytest.approx(0.63 - 0.75 * np.array(others), abs=1e-5)


def test_the_concept_itself_in_the_cohort_does_not_speak_against_it() -> None:
    strangers = np.stack([like(0, 0, 0.5), like(0, 0, 0, 0.5)])
    with_lala = np.vstack([strangers, np.eye(DIM, dtype=np.float32)[:1]])
    query = like(0.9)
    score = weigh(query[None], memory_of([LALA]), with_lala, 4).scores[0, 0]
    assert score == pytest.approx(0.63 - 0.75 * np.mean(strangers @ query), abs=1e-5)


WIDE = np.eye(32, dtype=np.float32)
THING = WIDE[0]
BEHIND = 120


def at(cosine: float, *axes: int) -> Floats:
    """float32 (n, 32): unit vectors so like THING, each turned towards another of these axes."""
    return (cosine * THING + np.sqrt(1 - cosine**2) * WIDE[[*axes]]).astype(np.float32)


def crowd_before(
    nearest: float, fillers: tuple[float, float], behind: Floats, negatives: Sequence[tuple[int, Floats]] = ()
) -> Memory:
    """The first concept is nearest, with 40 views; 118 others follow, and behind them comes the last one."""
    first = np.concatenate([at(nearest - 0.0001 * view, 1) for view in range(40)])
    others = np.concatenate(
        [at(cosine, 2 + row % 8) for row, cosine in enumerate(np.linspace(*fillers, 118))]
    )
    owners = [*[1] * 40, *range(2, BEHIND), *[BEHIND] * len(behind)]
    return memory_of(owners, np.concatenate([first, others, behind]), negatives=negatives)


def itself(*concepts: int) -> list[tuple[int, Floats]]:
    """A negative of each of these that shows THING."""
    return [(concept, THING) for concept in concepts]


SURROUNDING = np.concatenate(
    [at(0.6, *range(10, 20)), *(at(0.6, axis) * (2 * THING - 1) for axis in range(10, 20))]
)
CROWDS = {
    "its views surround the thing": (crowd_before(0.9, (0.75, 0.65), SURROUNDING), WIDE[20:24], BEHIND),
    "its likest of the cohort leaves it out": (
        crowd_before(0.75, (0.74, 0.71), at(0.7, 10)),
        np.concatenate([at(0.7, 10), WIDE[1:10]]),
        BEHIND,
    ),
    "all before it are refused": (
        crowd_before(0.9, (0.85, 0.75), at(0.7, 10), itself(*range(1, BEHIND))),
        WIDE[20:24],
        BEHIND,
    ),
    "the nearest is refused": (crowd_before(0.9, (0.85, 0.75), at(0.7, 10), itself(1)), WIDE[20:24], 2),
}
"""What brings somebody from behind to the first place: the store, the cohort, and who is first."""


@pytest.mark.parametrize("wanted", [1, 2, 5])
@pytest.mark.parametrize("crowd", CROWDS)
def test_the_search_goes_on_until_nobody_left_out_can_be_among_the_first(
    crowd: str, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, cohort, first = CROWDS[crowd]
    found = weigh(THING[None], memory, cohort, wanted, gains=(0.02, 0.03))
    monkeypatch.setattr("kinsight.evidence._FIRST_VIEWS", len(memory.views))
    everybody = weigh(THING[None], memory, cohort, wanted, gains=(0.02, 0.03))
    assert len(everybody.concepts) == BEHIND
    assert first_of(found, wanted) == first_of(everybody, wanted)
    assert first_of(found, wanted)[0] == first


def first_of(evidence: Evidence, wanted: int) -> list[int]:
    """Ids of the proven concepts with the highest scores."""
    scores = np.where(evidence.proven[0], evidence.scores[0], -2)
    best = np.lexsort((evidence.concepts, -scores))[:wanted]
    found: list[int] = evidence.concepts[best[scores[best] > -2]].tolist()
    return found


def test_the_search_stops_where_it_may() -> None:
    memory = crowd_before(0.9, (0.75, 0.65), at(0.6, 10))
    assert len(weigh(THING[None], memory, WIDE[20:24], 2, gains=(0.02, 0.03)).concepts) < BEHIND


# Categories


@pytest.mark.parametrize(
    ("category", "label", "score", "probability", "decision"),
    [
        ("dog", "dog", 0.9, 0.85, "accepted"),
        ("dog", "cat", 0.9, 0.85, "unsure"),
        ("dog", "cat", 0.9, 0.91, "accepted"),
        ("dog", "cat", 0.49, 0.85, "accepted"),
        ("dog", "thing", 0.9, 0.85, "accepted"),
        ("", "cat", 0.9, 0.85, "accepted"),
        ("axolotl", "cat", 0.9, 0.85, "accepted"),
        ("Dog", "dog", 0.9, 0.85, "accepted"),
        ("Dog", "Cat", 0.9, 0.85, "unsure"),
    ],
)
def test_a_category_that_the_detector_contradicts_needs_more_evidence(
    category: str, label: str, score: float, probability: float, decision: Decision
) -> None:
    memory = memory_of([LALA], categories={LALA: category})
    found, _ = recall(boxes(1, [label], score), np.stack([like(probability), NOBODY]), memory, RULES)
    assert found[0][0].decision == decision


def test_the_whole_photo_contradicts_no_category() -> None:
    memory = memory_of([LALA], categories={LALA: "dog"})
    _, whole_photo = recall(boxes(0), like(0.85)[None], memory, RULES)
    assert whole_photo[0].decision == "accepted"


def test_the_evidence_needed_lies_half_way_to_certainty() -> None:
    memory = memory_of([LALA, TOM], negatives=[(TOM, like(0, 0.6))], categories={LALA: "dog"})
    assert needed_probability(memory, LALA, "dog", 0.9, RULES) == 0.8
    assert needed_probability(memory, LALA, "cat", 0.9, RULES) == pytest.approx(0.9)
    assert needed_probability(memory, TOM, "cat", 0.9, RULES) == pytest.approx(0.8 + 0.2 / 7)


# Many views


@pytest.mark.parametrize("views", [1, 63, 64, 65, 300])
def test_the_margin_counts_however_many_views_the_first_concept_has(views: int) -> None:
    memory = memory_of([LALA] * views + [TOM])
    (match,), _ = look([like(0.9, 0.85)], memory)
    assert (match.concept, match.decision) == ("Lala", "unsure")
    assert match.margin == pytest.approx(0.05, abs=1e-5)


def test_a_negative_uncovers_a_concept_behind_many_views() -> None:
    region = like(0.9, 0.85)
    (match,), _ = look([region], memory_of([LALA] * 300 + [TOM], negatives=[(LALA, region)]))
    assert (match.concept, match.decision) == ("Tom", "accepted")


def test_negatives_of_all_the_nearest_uncover_who_comes_behind_them() -> None:
    region = like(0.6, 0.6, 0.6, 0.6, 0.55)
    near = [concept for concept in (1, 2, 3, 4) for _ in range(20)]
    memory = memory_of([*near, 5], negatives=[(concept, region) for concept in (1, 2, 3, 4)])
    (match,), _ = look([region], memory)
    assert (match.concept, match.decision) == ("Bo", "unsure")
    assert match.margin == pytest.approx(0.55, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_matches_are_those_of_an_exhaustive_comparison(seed: int) -> None:
    rng = np.random.default_rng(seed)
    owners = rng.choice([1, 1, 1, 1, 2, 2, 3, 4, 5, 6], 500)
    views = rng.standard_normal((500, DIM)).astype(np.float32)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    negatives = [(int(rng.integers(1, 7)), view + 0) for view in views[rng.choice(500, 20)]]
    regions = rng.standard_normal((9, DIM)).astype(np.float32)
    regions /= np.linalg.norm(regions, axis=1, keepdims=True)
    found, _ = recall(boxes(8), regions, memory_of(owners.tolist(), views, negatives=negatives), RULES)
    for region, matches in zip(regions, found, strict=False):
        expected = []
        for concept in range(1, 7):
            near = np.where(owners == concept, views @ region, -2)
            view = views[near.argmax()]
            refused = [vector for owner, vector in negatives if owner == concept]
            against = max(
                (
                    region @ vector + 0.2 * (1 - view @ vector)
                    for vector in refused
                    if region @ vector >= 0.99 or (views[owners == concept] @ vector).max() < 0.99
                ),
                default=-1,
            )
            score = max(near[owners == concept].mean(), near.max() - 0.05)
            chance = float(np.clip(score / STEEP, 0, 1)) if near.max() > against else 0.0
            expected.append((-chance, -float(near.max()), concept, 101 + int(near.argmax())))
        best = sorted(expected)[:CANDIDATES]
        assert all(match.refused and match.claim >= matches[0].claim for match in matches[CANDIDATES:])
        assert [(match.concept_id, match.view_id) for match in matches[:CANDIDATES]] == [
            row[2:] for row in best
        ]
        assert [match.similarity for match in matches[:CANDIDATES]] == pytest.approx(
            [-row[1] for row in best], abs=1e-5
        )
        assert [match.probability for match in matches[:CANDIDATES]] == pytest.approx(
            [-row[0] for row in best], abs=1e-4
        )


def test_evidence_has_a_row_for_every_vector_and_a_column_for_every_concept() -> None:
    evidence = weigh(np.stack([like(0.9), like(0, 0.4)]), memory_of([TOM, LALA, TOM]), NOBODY_ELSE, 4)
    assert evidence.concepts.tolist() == [LALA, TOM]
    assert evidence.similarities == pytest.approx(STEEP * np.array([[0.9, 0], [0, 0.4]]), abs=1e-5)
    assert evidence.scores == pytest.approx(evidence.similarities)
    assert evidence.view_ids.tolist() == [[102, 101], [102, 101]]
    assert evidence.scores.dtype == evidence.similarities.dtype == np.float32


def test_explain_says_what_was_found_and_what_was_needed() -> None:
    (match,), _ = look([like(0.7, 0.5)], memory_of([LALA, TOM]))
    assert explain(match, RULES, 0.9) == (
        "similarity 0.49 to view 101 of Lala, so probability 0.70 (needed 0.90, maybe from 0.50), "
        "+0.20 over the next concept (needed +0.10): unsure"
    )


def test_a_calibration_that_accepts_nobody_names_nobody() -> None:
    rules = replace(RULES, calibration=Calibration(((-1.0, 0.5), (1.0, 0.5)), 1.0, 1.0, 0.1, "no evidence"))
    found, _ = recall(boxes(1), np.stack([like(1.0), NOBODY]), memory_of([LALA]), rules)
    assert found[0][0].decision == "unknown"
