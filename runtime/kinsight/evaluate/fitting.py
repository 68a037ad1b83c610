"""Fits when to name on photos of several identities, and cross-fits: each is judged by a fit on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kinsight.bundle import Calibration
from kinsight.calibration import LEAST_SCORES, PHOTOS, fit, needed_score
from kinsight.errors import ConfigError
from kinsight.evaluate.shots import Shot
from kinsight.evidence import Memory, weigh
from kinsight.index import Index
from kinsight.recall import Rules
from kinsight.types import Floats

LEAST_COHORT = 10
"""With fewer identities there is no cohort: who is left of it would say more of them than of the region."""
STORE_SIZE = 15
"""Concepts in the simulated stores of a fit: the more there are, the nearer strangers come."""
FOLDS = 20
"""At most so many fits; with fewer identities each is judged by the fit on all others."""
MOST_VIEWS = 3
"""How many views of a concept a fit tries; more gain as much."""
_STORES = 10
_CHOICES = 10


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a bundle is given: both belong together."""

    calibration: Calibration
    cohort: Floats  # float32 (g, dim), unit length, one vector an identity by name; none of too few


def fit_on(shots: Sequence[Shot], fitted_on: str, seed: int = 0) -> Fitted:
    """A calibration and a cohort from photos of several identities, each photo the one reference in turn.

    The reference of a photo is its hand-drawn box, else the region that looks most like the identity's other
    photos: what a person would have pointed at. A member of the cohort is the mean of an identity's
    references; an identity is never held against itself. What scores gain with two views and with three is
    how much higher the rule, stricter there, puts the threshold. Raises ConfigError where there are too few
    photos for a fit.
    """
    rng = np.random.default_rng(seed)
    trial = _Trial.of(shots)
    try:
        same, strangers = trial.scores(1, rng)
        calibration = fit(same, strangers, fitted_on)
    except ValueError as error:
        few = f"{len(shots)} photos of {len(trial.names)} identities are too few to fit on"
        raise ConfigError(f"{few} ({error})", "give more identities, or more photos of each") from None
    needed, several = [needed_score(same, strangers)], replace(PHOTOS, wrong=PHOTOS.wrong_several)
    for views in range(2, MOST_VIEWS + 1):
        same, strangers = trial.scores(views, rng)
        if min(len(same), len(strangers)) < LEAST_SCORES:
            break
        needed.append(max(needed[-1], needed_score(same, strangers, several)))
    gains = tuple(round(float(score - needed[0]), 4) for score in needed[1:])
    return Fitted(replace(calibration, gains=gains), trial.cohort)


@dataclass(frozen=True, eq=False)
class _Trial:
    """Photos of several identities, each with the reference that it would be."""

    shots: Sequence[Shot]
    identities: NDArray[np.str_]  # one a shot
    names: NDArray[np.str_]
    references: Floats  # float32 (shots, dim)
    cohort: Floats  # float32 (g, dim), the names' means; none of too few

    @staticmethod
    def of(shots: Sequence[Shot]) -> _Trial:
        references = np.stack([reference(shot, shots) for shot in shots])
        identities = np.array([shot.identity for shot in shots])
        names = np.unique(identities)
        cohort = np.stack([_mean(references[identities == name]) for name in names])
        return _Trial(
            shots, identities, names, references, cohort if len(names) >= LEAST_COHORT else cohort[:0]
        )

    def scores(self, views: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """float32 (n,): photos against so many views of their own identity; (m,): against stores of others.

        Of each identity up to _CHOICES sets of views are drawn by lot, or each view alone is one.
        """
        sets = [rows for name in self.names for rows in self._sets(name, views, rng)]
        if not sets:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        owners = np.array([self.identities[rows[0]] for rows in sets])
        memory = memory_of({str(number): self.references[list(rows)] for number, rows in enumerate(sets)})
        same: list[Floats] = []
        strangers: list[Floats] = []
        for name in self.names:
            members = self.cohort[self.names != name] if len(self.cohort) else self.cohort
            photos = np.flatnonzero(self.identities == name).tolist()
            scores = _best_scores([self.shots[row] for row in photos], memory, members, (0.0,))
            unseen = [[row not in rows for rows in sets] for row in photos]
            same.append(scores[np.array(unseen) & (owners == name)])
            others, firsts, counts = np.unique(owners, return_index=True, return_counts=True)
            rows = np.flatnonzero(others != name)
            for _ in range(_STORES if len(rows) else 0):
                stored = rng.permutation(rows)[:STORE_SIZE]
                drawn = firsts[stored] + rng.integers(counts[stored], size=(len(photos), len(stored)))
                strangers.append(np.take_along_axis(scores, drawn, axis=1).max(axis=1))
        none = [np.zeros(0, np.float32)]
        return np.concatenate(same + none), np.concatenate(strangers + none)

    def _sets(self, name: np.str_, views: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
        own = np.flatnonzero(self.identities == name).tolist()
        every = list(combinations(own, views))
        return every if views == 1 else [every[row] for row in rng.permutation(len(every))[:_CHOICES]]


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
        negative_ids=np.zeros(0, np.int64),
    )


def best_scores(shot: Shot, memory: Memory, cohort: Floats, gains: Sequence[float] = ()) -> Floats:
    """float32 (c,): of every concept of a store, in the order of their ids, the score of its best region."""
    scores: Floats = _best_scores([shot], memory, cohort, gains)[0]
    return scores


def _best_scores(
    shots: Sequence[Shot], memory: Memory, cohort: Floats, gains: Sequence[float] = ()
) -> Floats:
    """float32 (shots, c): as `best_scores` of each."""
    vectors = np.concatenate([shot.vectors for shot in shots])
    evidence = weigh(vectors, memory, cohort, len(memory.names), gains=gains)
    starts = np.cumsum([0, *(len(shot.vectors) for shot in shots[:-1])])
    scores: Floats = np.maximum.reduceat(evidence.scores, starts, axis=0).astype(np.float32)
    return scores


def _mean(vectors: Floats) -> Floats:
    total = vectors.sum(axis=0)
    unit: Floats = (total / max(float(np.linalg.norm(total)), 1e-12)).astype(np.float32)
    return unit
