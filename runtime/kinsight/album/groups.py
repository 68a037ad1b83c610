"""Groups vectors that are all alike, by complete linkage: nobody joins who is unlike a single member."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kinsight.types import Floats

_CHUNK = 2048
Ids = NDArray[np.int64]


def alike_groups(vectors: Floats, apart: Ids, least: float) -> list[list[int]]:
    """Rows of float32 (n, dim) unit vectors in groups of two or more, largest first, rows ascending.

    In a group every cosine is at least `least`, and no two rows have the same number in `apart`, int64 (n,):
    what is in one photo is not one individual. The most alike are joined first (complete-linkage clustering,
    Sørensen 1948), so the result depends on the vectors and their order alone.
    """
    group_of = np.arange(len(vectors))
    members: dict[int, list[int]] = {row: [row] for row in range(len(vectors))}
    refused: dict[int, set[int]] = defaultdict(set)
    for row, other in _pairs(vectors, least):
        one, two = sorted((int(group_of[row]), int(group_of[other])))
        if one == two or two in refused[one]:
            continue
        both = members[one] + members[two]
        far = (vectors[members[one]] @ vectors[members[two]].T < least).any()
        if far or len(set(apart[both].tolist())) < len(both):
            refused[one].add(two)
            refused[two].add(one)
            continue
        members[one] = both
        group_of[members.pop(two)] = one
        for third in refused.pop(two, ()):
            refused[third].add(one)
            refused[one].add(third)
    groups = [sorted(rows) for rows in members.values() if len(rows) > 1]
    return sorted(groups, key=lambda rows: (-len(rows), rows))


def typical_first(vectors: Floats, count: int) -> list[int]:
    """At most `count` rows of float32 (n, dim): the one most like all others, then each farthest from those.

    Gonzalez' farthest-first traversal (1985): few views that cover what there is.
    """
    similarities = vectors @ vectors.T
    chosen = [int(similarities.sum(axis=1).argmax())]
    while len(chosen) < min(count, len(vectors)):
        nearest = similarities[:, chosen].max(axis=1)
        nearest[chosen] = np.inf
        chosen.append(int(nearest.argmin()))
    return chosen


def _pairs(vectors: Floats, least: float) -> Iterator[tuple[int, int]]:
    """Every pair of rows that is alike, the most alike first, then by row."""
    found = [np.zeros((0, 3), np.float64)]
    for start in range(0, len(vectors), _CHUNK):
        similarities = vectors[start : start + _CHUNK] @ vectors[start:].T
        rows, others = np.nonzero(np.triu(similarities >= least, 1))
        found.append(np.stack([-similarities[rows, others], rows + start, others + start], axis=1))
    pairs = np.concatenate(found)
    for row, other in pairs[np.lexsort(pairs.T[::-1]), 1:]:
        yield int(row), int(other)
