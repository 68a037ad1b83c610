"""Scores for the names in captions and answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .checks import check_pairs, no_lone_string
from .names import NameKey, name_key, names_mentioned, names_published


@dataclass(frozen=True)
class NameScore:
    """How well captions name whom they show: shares, 0..1, micro-averaged (counts of all captions)."""

    recall: float
    precision: float
    f1: float


def caption_name_scores(
    captions: Sequence[str], expected: Sequence[Collection[str]], known_names: Collection[str]
) -> NameScore:
    """Name recall, precision and F1; an extra wrong name costs precision.

    captions: n texts; expected: n collections of the names in each photo; known_names: all names that count.
    A caption mentions a name or does not (`names_mentioned`), however often. Over all captions together,
    recall = right / expected and precision = right / mentioned, 0 where no name is mentioned at all.
    Raises ValueError where no name is expected at all (see `absent_naming_rate`) or one that is not known.
    """
    truths = _truths(captions, expected, known_names)
    right = mentioned = 0
    for caption, truth in zip(captions, truths, strict=True):
        said = _keys(names_mentioned(caption, known_names))
        right += len(said & truth)
        mentioned += len(said)
    return _score(right, mentioned, truths)


def caption_name_scores_published(
    captions: Sequence[str], expected: Sequence[Collection[str]], known_names: Collection[str]
) -> NameScore:
    """Name recall, precision and F1 as published: token equality, and one verdict for each expected name.

    Arguments and errors as in `caption_name_scores`, names found and source as in `names_published`. An
    expected name is right, wrong (missing, while a name that was not expected is there) or not answered:
    recall = right / expected and precision = right / (right + wrong), 0 where nothing is answered. So an
    extra wrong name beside the right one costs nothing.
    """
    truths = _truths(captions, expected, known_names)
    right = answered = 0
    for caption, truth in zip(captions, truths, strict=True):
        said = _keys(names_published(caption, known_names))
        right += len(said & truth)
        answered += len(truth) if said - truth else len(said)
    return _score(right, answered, truths)


def absent_naming_rate(
    answers: Sequence[str], allowed: Sequence[Collection[str]], known_names: Collection[str]
) -> float:
    """The share of answers that mention a known name which is not allowed in that answer.

    answers: n texts; allowed: n collections of names: who is there, and who was asked about, as a denial
    names too. known_names may be empty.
    """
    check_pairs("answers and allowed", answers, allowed)
    known = list(no_lone_string("known_names", known_names))
    bad = 0
    for answer, names in zip(answers, allowed, strict=True):
        fine = _keys(no_lone_string("allowed", names))
        bad += not _keys(names_mentioned(answer, [*known, *names])) <= fine
    return bad / len(answers)


def _truths(
    captions: Sequence[str], expected: Sequence[Collection[str]], known_names: Collection[str]
) -> list[set[NameKey]]:
    check_pairs("captions and expected", captions, expected)
    known = _keys(no_lone_string("known_names", known_names))
    truths = [_keys(no_lone_string("expected", names)) for names in expected]
    if not set().union(*truths) <= known:
        raise ValueError(f"expected names that are all known, got {expected} and {known_names}")
    if not any(truths):
        raise ValueError(f"expected at least one name in {len(captions)} captions, got none")
    return truths


def _keys(names: Collection[str]) -> set[NameKey]:
    return {name_key(name) for name in names}


def _score(right: int, given: int, truths: list[set[NameKey]]) -> NameScore:
    expected = sum(map(len, truths))
    return NameScore(right / expected, right / given if given else 0.0, 2 * right / (given + expected))
