"""One or several references each: is the right one first, is it accepted, and who is named wrongly."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinsight.evaluate.fitting import FOLDS, best_scores, cross_fitted, memory_of, reference
from kinsight.evaluate.shots import Shot
from kinsight.evidence import Memory
from kinsight.metrics import accept_curve, auroc, recall_at
from kinsight.metrics.scores import Curve
from kinsight.recall import Rules, recall
from kinsight.types import Floats, Match

DRAWS = 5
"""How often the further references are drawn by lot, where there is more than one."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Retrieval:
    """What was measured; shares are 0..1, the pairs hold 90 % of 2000 resamplings of the identities."""

    identities: int
    shots: int  # references per identity
    queries: int  # over all draws
    strangers: int  # over all draws
    recall_at_1: float
    recall_at_2: float
    recall_at_5: float
    auroc: float  # of the right one's score against the strangers' best
    accepted_right: float  # share of queries that got the right name
    wrongly_named: float  # share of strangers that got any name
    misnamed: float  # share of queries that got a wrong name
    folds: int
    accepted_right_range: tuple[float, float]
    wrongly_named_range: tuple[float, float]
    timings_ms: dict[str, float] = field(default_factory=dict, compare=False)
    """Decode, detect, embed, recall: milliseconds a photo, medians; as a look does them."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What is behind a report: scores of the right ones and whether they came first, of the strangers."""

    known: Floats  # float32 (q,)
    known_first: list[bool]  # q
    strangers: Floats  # float32 (s,)
    names: tuple[str, ...]  # n identities
    confusion: NDArray[
        np.float64
    ]  # (n + 1, n + 1): photos; rows who it is, columns who it was called, last nobody

    def curve(self) -> Curve:
        """Accepted right against wrongly named, over all thresholds on the score."""
        return accept_curve(self.known, self.known_first, self.strangers)


@dataclass(frozen=True)
class _Outcome:
    """One photo held against one store."""

    group: str  # its identity, or the path of one who is nobody
    ranked: tuple[str, ...]  # the names, best first
    score: float  # of a query: the right one's; of a stranger: the best
    named: tuple[str, ...]  # whom recall accepts
    weight: float = 1.0
    recall_ms: float = 0.0  # milliseconds of the look-up


def measure(
    shots: Sequence[Shot],
    strangers: Sequence[Shot],
    vocabulary: frozenset[str],
    references: int = 1,
    folds: int = FOLDS,
) -> tuple[Retrieval, Scores]:
    """Retrieval and abstention with the threshold and the cohort of other identities.

    The first reference of an identity is its hand-drawn box, else its first photo's best region; further
    ones are drawn by lot from its other photos, DRAWS times. The queries are all photos that were not taught.
    Strangers are all photos, each against a store without its identity, and `strangers` against the whole
    store. Every identity is decided by a fit on those outside of its fold; strangers of no identity by all
    fits, each counting its part. Raises ConfigError where the others are too few for a fit.
    """
    names = sorted({shot.identity for shot in shots})
    rules = cross_fitted(shots, vocabulary, folds)
    rng = np.random.default_rng(0)
    known: list[_Outcome] = []
    unknown: list[_Outcome] = []
    draws = DRAWS if references > 1 else 1
    for _ in range(draws):
        taught = {name: _taught(name, shots, references, rng) for name in names}
        views = {name: np.stack([reference(shot, shots) for shot in taught[name]]) for name in names}
        known += _queries(shots, taught, memory_of(views), rules)
        unknown += _strangers(shots, strangers, views, rules)
    truth = [{outcome.group} for outcome in known]
    ranked = [outcome.ranked for outcome in known]
    right = np.array([outcome.group in outcome.named for outcome in known])
    misnamed = [bool({*outcome.named} - {outcome.group}) for outcome in known]
    wrong = np.array([bool(outcome.named) for outcome in unknown])
    scores, spread = _scores(known, unknown, names), _spread(known, right, unknown, wrong)
    weights = np.array([outcome.weight for outcome in unknown])
    report = Retrieval(
        identities=len(names),
        shots=references,
        queries=len(known),
        strangers=round(float(weights.sum())),
        recall_at_1=recall_at(ranked, truth, 1),
        recall_at_2=recall_at(ranked, truth, 2),
        recall_at_5=recall_at(ranked, truth, 5),
        auroc=auroc(scores.known, scores.strangers),
        accepted_right=float(right.mean()),
        wrongly_named=float(np.average(wrong, weights=weights)),
        misnamed=float(np.mean(misnamed)),
        folds=min(folds, len(names)),
        accepted_right_range=spread[0],
        wrongly_named_range=spread[1],
        timings_ms=_timings([*shots, *strangers], known),
    )
    return report, scores


def named(shot: Shot, memory: Memory, rules: Rules) -> tuple[str, ...]:
    """The names that recall accepts."""
    boxes, whole_photo = recall(shot.regions, shot.vectors, memory, rules)
    matches: list[Match] = [match for row in (*boxes, whole_photo) for match in row]
    return tuple(match.concept for match in matches if match.decision == "accepted")


def _taught(name: str, shots: Sequence[Shot], count: int, rng: np.random.Generator) -> list[Shot]:
    """The photos that an identity is taught from; at least one is left to ask about."""
    own = [shot for shot in shots if shot.identity == name]
    first = next((shot for shot in own if shot.boxed is not None), own[0])
    others = [shot for shot in own if shot is not first]
    further = rng.permutation(len(others))[: min(count, len(own) - 1) - 1]
    return [first, *(others[row] for row in further)]


def _queries(
    shots: Sequence[Shot], taught: Mapping[str, Sequence[Shot]], full: Memory, rules: Mapping[str, Rules]
) -> list[_Outcome]:
    outcomes = []
    for shot in shots:
        if not any(shot is one for one in taught[shot.identity]):
            mine = rules[shot.identity]
            scores = _ranked(shot, full, mine)
            started = time.perf_counter()
            names = named(shot, full, mine)
            took = 1e3 * (time.perf_counter() - started)
            right = scores[shot.identity]
            outcomes.append(_Outcome(shot.identity, tuple(scores), right, names, recall_ms=took))
    return outcomes


def _strangers(
    shots: Sequence[Shot], nobody: Sequence[Shot], views: Mapping[str, Floats], rules: Mapping[str, Rules]
) -> list[_Outcome]:
    without = {name: memory_of({n: v for n, v in views.items() if n != name}) for name in views}
    outcomes = [_stranger(shot, without[shot.identity], rules[shot.identity], 1.0) for shot in shots]
    full, fits = memory_of(views), list({id(one): one for one in rules.values()}.values())
    return outcomes + [_stranger(shot, full, one, 1 / len(fits)) for shot in nobody for one in fits]


def _stranger(shot: Shot, memory: Memory, rules: Rules, weight: float) -> _Outcome:
    scores = _ranked(shot, memory, rules)
    group = shot.identity or str(shot.path)
    return _Outcome(group, tuple(scores), max(scores.values()), named(shot, memory, rules), weight)


def _ranked(shot: Shot, memory: Memory, rules: Rules) -> dict[str, float]:
    """Name -> score of its best region, best first."""
    scores = best_scores(shot, memory, rules.cohort, rules.calibration.gains)
    return {memory.names[int(row)]: float(scores[row]) for row in np.argsort(-scores, kind="stable")}


def _scores(known: Sequence[_Outcome], unknown: Sequence[_Outcome], names: Sequence[str]) -> Scores:
    """Every stranger once: the mean of the fits that judge it."""
    confusion = np.zeros((len(names) + 1, len(names) + 1))
    column = {name: row for row, name in enumerate(names)}
    rows = [*(column[outcome.group] for outcome in known), *[len(names)] * len(unknown)]
    for row, outcome in zip(rows, (*known, *unknown), strict=True):
        for name in outcome.named or ("",):
            confusion[row, column.get(name, len(names))] += outcome.weight
    best: list[float] = []
    part, weight = 0.0, 0.0
    for outcome in unknown:
        part, weight = part + outcome.weight * outcome.score, weight + outcome.weight
        if weight > 1 - 1e-9:
            best.append(part)
            part, weight = 0.0, 0.0
    return Scores(
        np.array([outcome.score for outcome in known], np.float32),
        [outcome.ranked[0] == outcome.group for outcome in known],
        np.array(best, np.float32),
        tuple(names),
        confusion,
    )


def _timings(shots: Sequence[Shot], known: Sequence[_Outcome]) -> dict[str, float]:
    """Stage -> milliseconds a photo, the median; of stages that were measured."""
    times = {stage: [shot.timings_ms[stage] for shot in shots] for stage in shots[0].timings_ms}
    times["recall"] = [outcome.recall_ms for outcome in known]
    return {stage: float(np.median(several)) for stage, several in times.items()}


def _spread(
    known: Sequence[_Outcome], right: NDArray[np.bool_], unknown: Sequence[_Outcome], wrong: NDArray[np.bool_]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """5 % and 95 % of the shares of the accepted and of the wrongly named, over resampled identities."""
    rng = np.random.default_rng(0)
    ranges = []
    for outcomes, hits in ((known, right), (unknown, wrong)):
        groups, member = np.unique([outcome.group for outcome in outcomes], return_inverse=True)
        weight = np.array([outcome.weight for outcome in outcomes])
        counts = np.bincount(member, weight), np.bincount(member, weight * hits)
        drawn = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), _RESAMPLES)
        shares = (drawn @ counts[1]) / (drawn @ counts[0])
        low, high = np.quantile(shares, [0.05, 0.95])
        ranges.append((float(low), float(high)))
    return ranges[0], ranges[1]
