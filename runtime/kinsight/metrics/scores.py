"""Scores for recognition, retrieval, answers, abstention, calibration and boxes."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..types import Floats
from .checks import bools, boxes, check_pairs, floats, no_lone_string

_OPTION = re.compile(  # "A", not the article: "A dog" is no option, "A is right" is
    r"\W*(?i:(?:the )?(?:(?:correct|right|best) )?(?:answer|option|choice)?(?: is)?)\W*"
    r"([Bb](?!\w)|[Aa](?!\w)(?![ \t]+(?!is\b|because\b|since\b)\w))"
)


def recognition_weighted(positive_right: ArrayLike, negative_right: ArrayLike) -> float:
    """The mean of the accuracy on positive and on negative photos (Yo'LLaVA, arXiv 2406.09400).

    positive_right: bool (p,), negative_right: bool (n,), True where the answer was right.
    """
    positive, negative = bools("positive_right", positive_right), bools("negative_right", negative_right)
    return float(positive.mean() + negative.mean()) / 2


def recall_at(ranked: Sequence[Sequence[Hashable]], truth: Sequence[Collection[Hashable]], k: int) -> float:
    """The mean over queries of the share of true concepts that are among the first k.

    ranked: n sequences of distinct concepts, best first; truth: n collections of the concepts that are there,
    none empty (strangers have no recall). With one concept a photo this is the hit rate at k.
    """
    check_pairs("ranked and truth", ranked, truth)
    if k < 1 or not all(len(concepts) for concepts in truth):
        raise ValueError(f"expected k >= 1 and a concept for each query, got k = {k} and {truth}")
    shares = []
    for first, concepts in zip(ranked, truth, strict=True):
        there = set(no_lone_string("truth", concepts))
        top = set(no_lone_string("ranked", first)[:k])
        if len(top) != min(k, len(first)):
            raise ValueError(f"expected distinct concepts, got {first[:k]}")
        shares.append(len(top & there) / len(there))
    return float(np.mean(shares))


def two_option_accuracy(answers: Sequence[str], truth: Sequence[str]) -> float:
    """The share of two-option questions (A or B) that were answered right.

    answers: n free texts that begin with the option: "B", "(b)", "B. on the left", "The answer is B"; any
    other text is a wrong answer. truth: n times "A" or "B".
    """
    check_pairs("answers and truth", answers, truth)
    if not set(truth) <= {"A", "B"}:
        raise ValueError(f"expected truth of A and B, got {sorted(set(truth))}")
    options = (_OPTION.match(answer) for answer in answers)
    right = [m is not None and m[1].upper() == option for m, option in zip(options, truth, strict=True)]
    return right.count(True) / len(right)


def preference_accuracy(preferred_scores: ArrayLike, other_scores: ArrayLike) -> float:
    """The share of pairs whose preferred picture has the higher score; a tie counts half, as a coin would.

    preferred_scores, other_scores: float (n,), one pair a row.
    """
    preferred, other = floats("preferred_scores", preferred_scores), floats("other_scores", other_scores)
    check_pairs("preferred_scores and other_scores", preferred, other)
    return float(np.mean((preferred > other) + 0.5 * (preferred == other)))


def auroc(positive_scores: ArrayLike, negative_scores: ArrayLike) -> float:
    """The chance that a positive scores above a negative, ties half: Mann-Whitney U / (p * n), exact.

    positive_scores: float (p,), negative_scores: float (n,).
    """
    positive = floats("positive_scores", positive_scores)
    negative = np.sort(floats("negative_scores", negative_scores))
    below, not_above = (np.searchsorted(negative, positive, side) for side in ("left", "right"))
    return int((below + not_above).sum()) / (2 * positive.size * negative.size)


def open_set_f1(
    known_scores: ArrayLike, known_right: ArrayLike, stranger_scores: ArrayLike, threshold: float
) -> float:
    """The micro-averaged open-set F-measure when a name is given at score >= threshold.

    Arguments as in `accept_curve`. Precision is over all who are named, strangers too; recall over all known
    ones. Source: Mendes Júnior et al. 2017, doi 10.1007/s10994-016-5610-8.
    """
    known, right, strangers = _open_set(known_scores, known_right, stranger_scores)
    if not np.isfinite(threshold):
        raise ValueError(f"expected a finite threshold, got {threshold}")
    named = int((known >= threshold).sum() + (strangers >= threshold).sum())
    return 2 * int((right & (known >= threshold)).sum()) / (named + known.size)


@dataclass(frozen=True, eq=False)
class Curve:
    """What happens at each threshold; row 0 accepts nobody, the last row everybody with a name proposed."""

    thresholds: NDArray[np.float64]  # (t,), strictly falling from inf; accepted is score >= threshold
    accepted_right: NDArray[np.float64]  # (t,), 0..1 of known ones get their own name, never falling
    known_misnamed: NDArray[np.float64]  # (t,), 0..1 of known ones get another's name, never falling
    strangers_named: NDArray[np.float64]  # (t,), 0..1 of strangers get any name, never falling


def accept_curve(known_scores: ArrayLike, known_right: ArrayLike, stranger_scores: ArrayLike) -> Curve:
    """The shares of right and wrong names at every threshold that makes a difference.

    known_scores: float (n,), the best score of each query whose concept is in the store; known_right:
    bool (n,), whether that best one is the right concept; stranger_scores: float (m,), the best score of
    each query whose concept is not in the store. -inf says that no name was proposed and is never
    accepted. accepted_right is the detection and identification rate at rank 1, strangers_named the false
    alarm rate of open-set identification (Phillips, Grother, Micheals: Evaluation Methods in Face
    Recognition, Handbook of Face Recognition, 2011).
    """
    known, right, strangers = _open_set(known_scores, known_right, stranger_scores)
    scores = np.unique(np.concatenate([known, strangers]))[::-1]
    thresholds = np.concatenate([[np.inf], scores[np.isfinite(scores)]])

    def share(values: NDArray[np.float64], total: int) -> NDArray[np.float64]:
        rejected = np.searchsorted(np.sort(values), thresholds, "left")
        return np.asarray((values.size - rejected) / total, np.float64)

    return Curve(
        thresholds,
        accepted_right=share(known[right], known.size),
        known_misnamed=share(known[~right], known.size),
        strangers_named=share(strangers, strangers.size),
    )


def operating_row(curve: Curve, wrongly_named_max: float) -> int:
    """The row of the lowest threshold at which at most this share (0..1) of strangers gets a name."""
    if not 0 <= wrongly_named_max <= 1:
        raise ValueError(f"expected a share of 0..1, got {wrongly_named_max}")
    return int(np.searchsorted(curve.strangers_named, wrongly_named_max, "right")) - 1


def accepted_right_at(curve: Curve, wrongly_named_max: float) -> float:
    """The largest share of known ones named right while at most this share of strangers gets a name."""
    return float(curve.accepted_right[operating_row(curve, wrongly_named_max)])


def expected_calibration_error(probabilities: ArrayLike, same: ArrayLike, bins: int = 10) -> float:
    """The mean distance of probability and frequency over equal-width bins, weighted by count; 0 is best.

    probabilities: float (n,), 0..1; same: bool (n,), what turned out. A bin is open below and closed
    above, the first closed on both sides. Source: Naeini, Cooper, Hauskrecht, AAAI 2015.
    """
    p, came_true = floats("probabilities", probabilities), bools("same", same)
    check_pairs("probabilities and same", p, came_true)
    if bins < 1 or p.min() < 0 or p.max() > 1:
        raise ValueError(f"expected bins >= 1 and 0..1, got {bins} bins and {p.min()}..{p.max()}")
    rows = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p, "left")
    return float(np.abs(np.bincount(rows, weights=p - came_true)).sum() / p.size)


def iou(xyxy: ArrayLike, other_xyxy: ArrayLike) -> Floats:
    """The intersection over union of every box with every other: float32 (n, m), 0..1.

    xyxy: (n, 4), other_xyxy: (m, 4), in one unit, x0 <= x1 and y0 <= y1; n or m may be 0. Two boxes without
    area have 0.
    """
    a, b = boxes("xyxy", xyxy), boxes("other_xyxy", other_xyxy)
    inter = _intersections(a, b)
    union = np.prod(a[:, 2:] - a[:, :2], axis=1)[:, None] + np.prod(b[:, 2:] - b[:, :2], axis=1) - inter
    shares = np.zeros(inter.shape, np.float32)
    shares[union > 0] = inter[union > 0] / union[union > 0]
    return shares


def shares_inside(xyxy: ArrayLike, other_xyxy: ArrayLike) -> Floats:
    """How much of each box lies in each other one: float32 (n, m), share of its area; boxes as in `iou`."""
    a, b = boxes("xyxy", xyxy), boxes("other_xyxy", other_xyxy)
    areas = np.prod(a[:, 2:] - a[:, :2], axis=1)[:, None]
    shares: Floats = (_intersections(a, b) / np.where(areas > 0, areas, 1)).astype(np.float32)
    return shares


def _intersections(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area that every box (n, 4) has in common with every other (m, 4): (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter: NDArray[np.float64] = np.prod(np.clip(high - low, 0, None), axis=2)
    return inter


def _open_set(
    known_scores: ArrayLike, known_right: ArrayLike, stranger_scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    known, right = floats("known_scores", known_scores), bools("known_right", known_right)
    check_pairs("known_scores and known_right", known, right)
    return known, right, floats("stranger_scores", stranger_scores)
