"""Fits when to name on photos of several identities, and cross-fits: each is judged by a fit on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kinsight.bundle import Calibration
from kinsight.calibration import fit
from kinsight.errors import ConfigError
from kinsight.evaluate.shots import Shot
from kinsight.evidence import COHORT_NEAREST, Memory, weigh
from kinsight.index import Index
from kinsight.recall import Rules
from kinsight.types import Floats

LEAST_COHORT = COHORT_NEAREST + 2
"""With fewer identities there is no cohort: who is left of it would say more of them than of the region."""
STORE_SIZE = 15
"""References in the simulated stores of a fit: the more there are, the nearer strangers come."""
FOLDS = 20
"""At most so many fits; with fewer identities each is judged by the fit on all others."""
_STORES = 10


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a bundle is given: both belong together."""

    calibration: Calibration
    cohort: Floats  # float32 (g, dim), unit length, one vector an identity by name; none of too few


def fit_on(shots: Sequence[Shot], fitted_on: str, seed: int = 0) -> Fitted:
    """A calibration and a cohort from photos of several identities, each photo the one reference in turn.

    The reference of a photo is its hand-drawn box, else the region that looks most like the identity's other
    photos: what a person would have pointed at. A member of the cohort is the mean of an identity's
    references; an identity is never held against itself. Strangers: each photo against stores of STORE_SIZE
    references of other identities. Raises ConfigError where there are too few photos for a fit.
    """
    rng = np.random.default_rng(seed)
    references = np.stack([reference(shot, shots) for shot in shots])
    identities = np.array([shot.identity for shot in shots])
    names = np.unique(identities)
    cohort = np.stack([_mean(references[identities == name]) for name in names])
    members = names if len(names) >= LEAST_COHORT else names[:0]
    cohort = cohort[: len(members)]
    memory = memory_of({str(row): view[None] for row, view in enumerate(references)})
    same: list[float] = []
    strangers: list[float] = []
    for row, shot in enumerate(shots):
        nearest = best_scores(shot, memory, cohort[members != shot.identity])
        own = identities == shot.identity
        same.extend(nearest[own & (np.arange(len(shots)) != row)])
        if (size := min(STORE_SIZE, int((~own).sum()))) > 0:
            stores = (rng.choice(nearest[~own], size, replace=False) for _ in range(_STORES))
            strangers.extend(store.max() for store in stores)
    try:
        calibration = fit(np.array(same, np.float32), np.array(strangers, np.float32), fitted_on)
    except ValueError as error:
        few = f"{len(shots)} photos of {len(names)} identities are too few to fit on"
        raise ConfigError(f"{few} ({error})", "give more identities, or more photos of each") from None
    return Fitted(calibration, cohort)


def cross_fitted(
    shots: Sequence[Shot], vocabulary: frozenset[str], folds: int = FOLDS, seed: int = 0
) -> dict[str, Rules]:
    """Identity -> rules fitted without the fold of the identities that it is in. Raises as `fit_on`."""
    names = sorted({shot.identity for shot in shots})
    order = np.random.default_rng(seed).permutation(len(names))
    rules: dict[str, Rules] = {}
    for rows in np.array_split(order, min(folds, len(names))):
        fold = [names[row] for row in rows]
        fitted = fit_on([shot for shot in shots if shot.identity not in fold], "other identities")
        rules |= dict.fromkeys(fold, Rules(fitted.calibration, vocabulary, fitted.cohort))
    return rules


def reference(shot: Shot, shots: Sequence[Shot]) -> Floats:
    """float32 (dim,): the hand-drawn box, else the region most like the identity's other photos."""
    if shot.boxed is not None:
        return shot.boxed
    regions = shot.views[:-1] if len(shot.regions) else shot.views
    others = [other for other in shots if other.identity == shot.identity and other is not shot]
    alike = np.sum([(regions @ other.vectors.T).max(axis=1) for other in others], axis=0)
    best: Floats = regions[int(np.argmax(alike))]
    return best


def memory_of(references: Mapping[str, Floats]) -> Memory:
    """A store: name -> its views, float32 (k, dim); the ids are the rows of the names."""
    owners = [row for row, views in enumerate(references.values()) for _ in views]
    ids = np.arange(len(owners), dtype=np.int64)
    vectors = np.concatenate(list(references.values()))
    return Memory(
        names=dict(enumerate(references)),
        categories={},
        view_ids=ids,
        view_concepts=np.array(owners, np.int64),
        views=Index(vectors, ids),
        negative_concepts=np.zeros(0, np.int64),
        negatives=np.zeros((0, vectors.shape[1]), np.float32),
    )


def best_scores(shot: Shot, memory: Memory, cohort: Floats) -> Floats:
    """float32 (c,): of every concept of a store, in the order of their ids, the score of its best region."""
    evidence = weigh(shot.vectors, memory, cohort, len(memory.names))
    scores: Floats = evidence.scores.max(axis=0)
    return scores


def _mean(vectors: Floats) -> Floats:
    total = vectors.sum(axis=0)
    unit: Floats = (total / max(float(np.linalg.norm(total)), 1e-12)).astype(np.float32)
    return unit
