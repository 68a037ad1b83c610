"""How far two results are apart: tensors, selections of rows, vectors, orders, boxes; pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinsight.metrics import iou
from kinsight.types import Floats

Array = NDArray[Any]


def worst(differences: Iterable[float]) -> float:
    """The largest difference; inf where one is no number, as what is not finite agrees with nothing."""
    return max((value if math.isfinite(value) else math.inf for value in differences), default=0.0)


def tensor_difference(ours: Array, theirs: Array, least: float = 1e-12) -> float:
    """The largest difference as a share of the largest value of `theirs`, which counts as `least` at least.

    inf where the shapes differ, and where a value is not finite.
    """
    if not _comparable(ours, theirs):
        return math.inf
    scale = max(float(np.abs(theirs).max(initial=0.0)), least)
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0)) / scale


def selection_difference(ours: Array, theirs: Array, edge: float = 0.02) -> float:
    """The same for rows (n, d) that were selected in some order: each against the nearest row of the other.

    Column by column as a share of the column's largest value. A share `edge` of the rows is left out, as
    which one is the last to be selected may turn on the last bit.
    """
    if not _comparable(ours, theirs):
        return math.inf
    scale = np.maximum(np.abs(theirs).max(axis=0), 1e-12)
    apart = np.abs(ours[None] / scale - theirs[:, None] / scale).max(axis=2)
    nearest = np.sort(np.maximum(apart.min(axis=0), apart.min(axis=1)))
    return float(nearest[max(0, int(np.ceil(len(nearest) * (1 - edge))) - 1)])


def _comparable(ours: Array, theirs: Array) -> bool:
    """Whether they have one shape and nothing but finite numbers."""
    return ours.shape == theirs.shape and bool(np.isfinite(ours).all() and np.isfinite(theirs).all())


def lowest_cosine(ours: Floats, theirs: Floats) -> float:
    """Of the rows of two (n, d), in pairs; nan where one is not finite."""
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(((ours * theirs).sum(axis=1) / np.maximum(lengths, 1e-12)).min())


def rank_agreement(ours: Floats, theirs: Floats) -> float:
    """Whether pictures are alike in the same order: the mean rank correlation of the rows' similarities.

    float32 (n, d), unit length, n >= 4. 1 where every picture orders all others as the source does.
    """
    count = len(ours)
    others = ~np.eye(count, dtype=bool)
    correlations = []
    for row in range(count):
        ranks = [np.argsort(np.argsort((v @ v[row])[others[row]])) for v in (ours, theirs)]
        correlations.append(np.corrcoef(ranks[0], ranks[1])[0, 1])
    return float(np.mean(correlations))


def boxes_found_again(
    ours: Floats, theirs: Floats, least_iou: float = 0.9, labels: tuple[Array, Array] | None = None
) -> tuple[int, int]:
    """(boxes of either side that the other has too, boxes of both sides); float32 (n, 4) and (m, 4) xyxy.

    With the labels of both, (n,) and (m,), a box is only the same if it has the same one.
    """
    total = len(ours) + len(theirs)
    if not len(ours) or not len(theirs):
        return 0, total
    overlaps = iou(ours, theirs)
    if labels:
        overlaps = np.where(labels[0][:, None] == labels[1][None], overlaps, 0)
    both = (overlaps.max(axis=0) >= least_iou).sum() + (overlaps.max(axis=1) >= least_iou).sum()
    return int(both), total
