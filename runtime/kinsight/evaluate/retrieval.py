"""One reference per identity: is the right one first, is it accepted, and who is named wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinsight.bundle import Calibration
from kinsight.calibration import fit
from kinsight.errors import ConfigError
from kinsight.evaluate.shots import Shot
from kinsight.index import Index
from kinsight.metrics import accept_curve, auroc, recall_at
from kinsight.metrics.scores import Curve
from kinsight.recall import Memory, Rules, recall
from kinsight.types import Floats, Match

STORE_SIZE = 15
"""References in the simulated stores of a fit: the more there are, the nearer strangers come."""
SPLITS = 20
"""Random halves of the identities; each half is judged by the fit on the other."""
_STORES = 10


@dataclass(frozen=True)
class Retrieval:
    """What was measured; shares are 0..1, the pairs are the least and the most over all splits."""

    identities: int
    queries: int
    strangers: int
    recall_at_1: float
    recall_at_2: float
    auroc: float  # of the right one's similarity against the strangers' best
    accepted_right: float  # share of queries that got the right name
    wrongly_named: float  # share of strangers that got any name
    misnamed: float  # share of queries that got a wrong name
    splits: int
    accepted_right_range: tuple[float, float]
    wrongly_named_range: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Scores:
    """The similarities behind a report: of the right ones and whether they came first, of the strangers."""

    known: Floats  # float32 (q,)
    known_first: list[bool]  # q
    strangers: Floats  # float32 (s,)

    def curve(self) -> Curve:
        """Accepted right against wrongly named, over all thresholds on the similarity."""
        return accept_curve(self.known, self.known_first, self.strangers)


@dataclass(frozen=True, eq=False)
class _Trial:
    """What every split has in common."""

    shots: Sequence[Shot]
    queries: Sequence[Shot]
    full: Memory
    nobody: Sequence[tuple[Shot, Memory]]  # a photo and the store that does not know who is in it
    vocabulary: frozenset[str]


def fit_on(shots: Sequence[Shot], fitted_on: str, seed: int = 0) -> Calibration:
    """A calibration from photos of several identities, each photo being the one reference in turn.

    The reference of a photo is its hand-drawn box, else the region that looks most like the identity's other
    photos: what a person would have pointed at. Strangers: each photo against stores of STORE_SIZE references
    of other identities. Raises ConfigError where there are too few photos for a fit.
    """
    rng = np.random.default_rng(seed)
    references = np.stack([_reference(shot, shots) for shot in shots])
    identities = np.array([shot.identity for shot in shots])
    same: list[float] = []
    strangers: list[float] = []
    for row, shot in enumerate(shots):
        nearest = (shot.vectors @ references.T).max(axis=0)
        own = identities == shot.identity
        same.extend(nearest[own & (np.arange(len(shots)) != row)])
        if (size := min(STORE_SIZE, int((~own).sum()))) > 0:
            stores = (rng.choice(nearest[~own], size, replace=False) for _ in range(_STORES))
            strangers.extend(store.max() for store in stores)
    try:
        return fit(np.array(same, np.float32), np.array(strangers, np.float32), fitted_on)
    except ValueError as error:
        few = f"{len(shots)} photos of {len(set(identities.tolist()))} identities are too few to fit on"
        raise ConfigError(f"{few} ({error})", "give more identities, or more photos of each") from None


def measure(
    shots: Sequence[Shot], strangers: Sequence[Shot], vocabulary: frozenset[str], splits: int = SPLITS
) -> tuple[Retrieval, Scores]:
    """One-shot retrieval and abstention with the threshold of other identities.

    Each identity's reference is its hand-drawn box, else its first photo's best region; the queries are its
    other photos. Strangers are all photos, each against a store without its identity, and `strangers` against
    the whole store. Identities are split into random halves; the fit on one half decides for the other, and
    strangers of no identity are decided by both fits, each counting half. Raises ConfigError where a half is
    too small for a fit.
    """
    names = sorted({shot.identity for shot in shots})
    taught = {name: _taught(name, shots) for name in names}
    queries = [shot for shot in shots if shot is not taught[shot.identity]]
    full = _memory({name: _reference(shot, shots) for name, shot in taught.items()})
    without = {
        name: _memory({n: _reference(shot, shots) for n, shot in taught.items() if n != name})
        for name in names
    }
    found = [_ranked(shot, full) for shot in queries]
    known = np.array([scores[shot.identity] for scores, shot in zip(found, queries, strict=True)], np.float32)
    firsts = [next(iter(scores)) == shot.identity for scores, shot in zip(found, queries, strict=True)]
    nobody = [(shot, without[shot.identity]) for shot in shots] + [(shot, full) for shot in strangers]
    nearest = np.array([next(iter(_ranked(*pair).values()), -1.0) for pair in nobody], np.float32)

    rng = np.random.default_rng(0)
    trial = _Trial(shots, queries, full, nobody, vocabulary)
    outcomes = np.array([_judge_halves(_halves(names, rng), trial) for _ in range(splits)])
    right, misnamed, wrong = outcomes.mean(axis=0)
    truth = [{shot.identity} for shot in queries]
    ranked = [list(scores) for scores in found]
    report = Retrieval(
        identities=len(names),
        queries=len(queries),
        strangers=len(nobody),
        recall_at_1=recall_at(ranked, truth, 1),
        recall_at_2=recall_at(ranked, truth, 2),
        auroc=auroc(known, nearest),
        accepted_right=float(right),
        wrongly_named=float(wrong),
        misnamed=float(misnamed),
        splits=splits,
        accepted_right_range=(float(outcomes[:, 0].min()), float(outcomes[:, 0].max())),
        wrongly_named_range=(float(outcomes[:, 2].min()), float(outcomes[:, 2].max())),
    )
    return report, Scores(known, firsts, nearest)


def cross_fitted(shots: Sequence[Shot], vocabulary: frozenset[str], seed: int = 0) -> dict[str, Rules]:
    """Identity -> the rules fitted on the half of the identities that it is not in. Raises as `fit_on`."""
    names = sorted({shot.identity for shot in shots})
    halves = _halves(names, np.random.default_rng(seed))
    rules: dict[str, Rules] = {}
    for fitted, judged in (halves, halves[::-1]):
        calibration = fit_on([shot for shot in shots if shot.identity in fitted], "the other half")
        rules |= dict.fromkeys(judged, Rules(calibration, vocabulary))
    return rules


def _judge_halves(halves: tuple[frozenset[str], frozenset[str]], trial: _Trial) -> tuple[float, float, float]:
    """(accepted right, misnamed, strangers named), 0..1, each half decided by the fit on the other."""
    right = misnamed = 0
    wrong = counted = 0.0
    for fitted, judged in (halves, halves[::-1]):
        calibration = fit_on([shot for shot in trial.shots if shot.identity in fitted], "the other half")
        rules = Rules(calibration, trial.vocabulary)
        for shot in trial.queries:
            if shot.identity in judged:
                named = _named(shot, trial.full, rules)
                right += shot.identity in named
                misnamed += bool(named - {shot.identity})
        for shot, memory in trial.nobody:
            if shot.identity in judged or not shot.identity:
                weight = 1.0 if shot.identity else 0.5
                wrong += weight * bool(_named(shot, memory, rules))
                counted += weight
    return right / len(trial.queries), misnamed / len(trial.queries), wrong / counted


def _halves(names: Sequence[str], rng: np.random.Generator) -> tuple[frozenset[str], frozenset[str]]:
    order = rng.permutation(len(names))
    first = frozenset(names[row] for row in order[: len(names) // 2])
    return first, frozenset(names) - first


def _taught(name: str, shots: Sequence[Shot]) -> Shot:
    """The photo that an identity is taught from: the one with a hand-drawn box, else its first."""
    own = [shot for shot in shots if shot.identity == name]
    return next((shot for shot in own if shot.boxed is not None), own[0])


def _reference(shot: Shot, shots: Sequence[Shot]) -> Floats:
    """float32 (dim,): the hand-drawn box, else the region most like the identity's other photos."""
    if shot.boxed is not None:
        return shot.boxed
    regions = shot.views[:-1] if len(shot.regions) else shot.views
    others = [other for other in shots if other.identity == shot.identity and other is not shot]
    alike = np.sum([(regions @ other.vectors.T).max(axis=1) for other in others], axis=0)
    best: Floats = regions[int(np.argmax(alike))]
    return best


def _memory(references: dict[str, Floats]) -> Memory:
    """A store of one view per identity."""
    ids = np.arange(len(references), dtype=np.int64)
    vectors = np.stack(list(references.values()))
    return Memory(
        names=dict(enumerate(references)),
        categories={},
        view_ids=ids,
        view_concepts=ids,
        views=Index(vectors, ids),
        negative_concepts=np.zeros(0, np.int64),
        negatives=np.zeros((0, vectors.shape[1]), np.float32),
    )


def _ranked(shot: Shot, memory: Memory) -> dict[str, float]:
    """Name -> similarity of its best region, most similar first."""
    rows, similarities = memory.views.search(shot.vectors, len(memory.names))
    best: dict[str, float] = {}
    for row, similarity in zip(rows.ravel().tolist(), similarities.ravel().tolist(), strict=True):
        name = memory.names[row]
        best[name] = max(similarity, best.get(name, -1.0))
    return dict(sorted(best.items(), key=lambda item: -item[1]))


def _named(shot: Shot, memory: Memory, rules: Rules) -> set[str]:
    """The names that recall accepts."""
    boxes, whole_photo = recall(shot.regions, shot.vectors, memory, rules)
    matches: list[Match] = [match for row in (*boxes, whole_photo) for match in row]
    return {match.concept for match in matches if match.decision == "accepted"}
