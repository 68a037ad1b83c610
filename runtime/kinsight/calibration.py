"""From similarity to the probability of the same individual, fitted on other identities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinsight.bundle import Calibration
from kinsight.types import Floats

MARGIN = 0.05
"""How much more probable than the next concept an accepted one must be."""

LEAST_SCORES = 10
"""Scores of each kind that a fit needs."""


@dataclass(frozen=True)
class Rates:
    """Where a fit puts its thresholds: shares, 0..1."""

    keep: float = 0.9  # of the right ones accepted; the rest is given up to stay silent before strangers
    wrong: float = 0.015  # of strangers that may be named; where they look too much alike, fewer are accepted
    wrong_several: float = 0.01  # the same for whom several views are known
    towards: float = 0.4  # where strangers are farther: the part of the gap that goes to the right ones
    maybe_keep: float = 0.97  # the same for "maybe": from there on a match is worth a question
    maybe_wrong: float = 0.1


PHOTOS = Rates()
"""For identities in photos; a fit set holds few look-alikes, so among others twice as many are named."""

_KNOTS = 17
_BEYOND = 0.001
_LEAST_SPREAD = 0.001
_RIDGE = 0.02
_STEPS = 50


def probability(similarities: Floats, calibration: Calibration) -> Floats:
    """Cosines of any shape -> probabilities of the same shape, float32, 0..1, along the bundle's curve."""
    curve = np.array(calibration.curve)
    chances: Floats = np.interp(similarities, curve[:, 0], curve[:, 1]).astype(np.float32)
    return chances


def needed_similarity(chance: float, calibration: Calibration) -> float:
    """The least cosine whose probability is `chance`, 0..1, along the bundle's curve; inf if none has it."""
    similarities, heights = np.array(calibration.curve).T
    rising = np.maximum.accumulate(heights)
    if chance > rising[-1]:
        return float("inf")
    above = int(np.searchsorted(rising, chance))
    if above == 0:
        return float(similarities[0]) if chance > 0 else -1.0
    left, right = rising[above - 1], rising[above]
    step = (chance - left) / (right - left)
    return float(similarities[above - 1] + step * (similarities[above] - similarities[above - 1]))


def fit(same: Floats, strangers: Floats, fitted_on: str, rates: Rates = PHOTOS) -> Calibration:
    """Fits the curve and the thresholds.

    `same`, float32 (n,): similarity of a photo to the one reference of its own identity. `strangers`, float32
    (m,): similarity of a photo to the nearest reference of a store without its identity. The curve is Platt's
    sigmoid (Platt 1999, "Probabilistic outputs for support vector machines") for equal shares of both.
    A fit set holds few look-alikes, so the rate of wrong names alone would put the threshold too low for
    strangers of the same kind: the threshold is where `rates.keep` of the right ones are accepted, less the
    part `rates.towards` of the gap to where `rates.wrong` of the strangers lie above it - or there, where
    there is no gap. "Maybe" begins lower, by the same rule with its own rates. Where the same look no more
    alike than strangers, nobody is named.
    Raises ValueError on fewer than 10 of either.
    """
    if min(len(same), len(strangers)) < LEAST_SCORES:
        found = f"{len(same)} and {len(strangers)}"
        raise ValueError(f"expected at least {LEAST_SCORES} similarities of each kind, got {found}")
    threshold = needed_score(same, strangers, rates)
    at_least = replace(rates, keep=rates.maybe_keep, wrong=rates.maybe_wrong)
    maybe = min(needed_score(same, strangers, at_least), threshold)
    slope, offset = _platt(same, strangers)
    low, high = float(min(same.min(), strangers.min())), float(max(same.max(), strangers.max()))
    evenly = np.linspace(low - _BEYOND, high + _BEYOND, _KNOTS)
    knots = np.unique(np.round(np.clip(np.append(evenly, [threshold, maybe]), -1, 1), 4))
    heights = np.round(1 / (1 + np.exp(-(slope * knots + offset))), 6)
    curve = tuple(zip(knots.tolist(), heights.tolist(), strict=True))
    silent = Calibration(curve, 1.0, 1.0, MARGIN, fitted_on)
    if heights[0] == heights[-1]:
        return silent
    chances = probability(np.array([threshold, maybe], np.float32), silent)
    accept, unsure = (np.floor(chances.astype(np.float64) * 1e6) / 1e6).tolist()
    return replace(silent, accept_probability=accept, unsure_probability=min(unsure, accept))


def needed_score(same: Floats, strangers: Floats, rates: Rates = PHOTOS) -> float:
    """From where on a score is accepted, see `fit`; the same arrays."""
    kept = float(np.quantile(same, 1 - rates.keep))
    met = float(np.quantile(strangers, 1 - rates.wrong))
    return max(kept - rates.towards * (kept - met), met)


def _platt(same: Floats, strangers: Floats) -> tuple[float, float]:
    """Slope, 0 or more, and offset of the sigmoid: Newton's method on the balanced log loss with a ridge."""
    x = np.concatenate([same, strangers]).astype(np.float64)
    truth = np.concatenate([np.ones(len(same)), np.zeros(len(strangers))])
    weight = np.where(truth > 0, 0.5 / len(same), 0.5 / len(strangers))
    centre, spread = float(np.average(x, weights=weight)), max(float(x.std()), _LEAST_SPREAD)
    features = np.stack([(x - centre) / spread, np.ones_like(x)], axis=1)
    ridge = np.diag([_RIDGE, 0.0])
    theta = np.zeros(2)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-features @ theta))
        gradient = features.T @ (weight * (p - truth)) + ridge @ theta
        hessian = (features * (weight * p * (1 - p))[:, None]).T @ features + ridge + 1e-9 * np.eye(2)
        theta -= np.linalg.solve(hessian, gradient)
    if theta[0] <= 0:
        return 0.0, 0.0
    return float(theta[0] / spread), float(theta[1] - theta[0] * centre / spread)
