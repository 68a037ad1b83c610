"""Calibration: a curve that never falls, thresholds that hold, and a legal result on any data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kinsight.bundle import Calibration, read_bundle
from kinsight.calibration import MARGIN, PHOTOS, Rates, fit, needed_score, probability
from kinsight.types import Floats
from kinsight_export.parts import rewrite_calibration

COSINES = arrays.arrays(np.float32, st.integers(10, 40), elements=st.floats(-1, 1, width=32))


def drawn(mean: float, spread: float, count: int, seed: int = 0) -> Floats:
    noise = np.random.default_rng(seed).normal(mean, spread, count)
    return np.clip(noise, -1, 1).astype(np.float32)


def accepted(similarities: Floats, calibration: Calibration) -> float:
    return float((probability(similarities, calibration) >= calibration.accept_probability).mean())


def maybe(similarities: Floats, calibration: Calibration) -> float:
    return float((probability(similarities, calibration) >= calibration.unsure_probability).mean())


def is_legal(calibration: Calibration) -> bool:
    similarities, chances = np.array(calibration.curve).T
    return bool(
        len(similarities) >= 2
        and (np.diff(similarities) > 0).all()
        and (np.diff(chances) >= 0).all()
        and (np.abs(similarities) <= 1).all()
        and (chances >= 0).all()
        and (chances <= 1).all()
        and 0 <= calibration.unsure_probability <= calibration.accept_probability <= 1
        and 0 <= calibration.margin <= 1
    )


def test_the_probability_at_the_knots_is_that_of_the_curve() -> None:
    calibration = Calibration(((0.2, 0.01), (0.5, 0.5), (0.8, 0.99)), 0.9, 0.5, 0.05, "by hand")
    knots = np.array([0.2, 0.5, 0.8], np.float32)
    assert probability(knots, calibration) == pytest.approx([0.01, 0.5, 0.99], abs=1e-6)


def test_the_probability_is_linear_between_the_knots_and_flat_beyond() -> None:
    calibration = Calibration(((0.2, 0.1), (0.6, 0.9)), 0.9, 0.5, 0.05, "by hand")
    found = probability(np.array([[-1.0, 0.4], [0.5, 1.0]], np.float32), calibration)
    assert found == pytest.approx(np.array([[0.1, 0.5], [0.7, 0.9]]), abs=1e-6)
    assert found.dtype == np.float32


def test_a_fit_keeps_the_right_ones_where_strangers_are_far() -> None:
    same, strangers = drawn(0.8, 0.08, 1000), drawn(0.3, 0.08, 4000, seed=1)
    calibration = fit(same, strangers, "synthetic", Rates(towards=0.0))
    assert accepted(same, calibration) == pytest.approx(PHOTOS.keep, abs=0.005)
    assert accepted(strangers, calibration) <= PHOTOS.wrong
    assert accepted(drawn(0.8, 0.08, 4000, seed=2), calibration) == pytest.approx(PHOTOS.keep, abs=0.04)
    assert calibration.margin == MARGIN
    assert calibration.fitted_on == "synthetic"


def test_a_part_of_the_gap_to_the_strangers_goes_to_the_right_ones() -> None:
    same, strangers = drawn(0.8, 0.08, 1000), drawn(0.3, 0.08, 4000, seed=1)
    ends = np.quantile(same, 1 - PHOTOS.keep), np.quantile(strangers, 1 - PHOTOS.wrong)
    for towards in (0.0, 1 / 3, 1.0):
        threshold = ends[0] - towards * (ends[0] - ends[1])
        rates = Rates(towards=towards)
        assert needed_score(same, strangers, rates) == pytest.approx(threshold, abs=1e-6)
        expected = float((same >= threshold).mean())
        assert accepted(same, fit(same, strangers, "x", rates)) == pytest.approx(expected, abs=0.003)
    assert needed_score(strangers, same, PHOTOS) == pytest.approx(np.quantile(same, 1 - PHOTOS.wrong))


def test_a_fit_keeps_strangers_out_where_they_are_near() -> None:
    same, strangers = drawn(0.6, 0.1, 1000), drawn(0.5, 0.1, 4000, seed=1)
    calibration = fit(same, strangers, "synthetic")
    assert accepted(strangers, calibration) == pytest.approx(PHOTOS.wrong, abs=0.003)
    assert accepted(drawn(0.5, 0.1, 9000, seed=2), calibration) == pytest.approx(PHOTOS.wrong, abs=0.01)
    assert accepted(same, calibration) < PHOTOS.keep
    assert maybe(strangers, calibration) == pytest.approx(PHOTOS.maybe_wrong, abs=0.003)


def test_the_shares_can_be_chosen() -> None:
    same, strangers = drawn(0.8, 0.08, 1000), drawn(0.5, 0.08, 4000, seed=1)
    assert accepted(same, fit(same, strangers, "x", Rates(keep=0.5, towards=0.0))) == pytest.approx(
        0.5, abs=0.005
    )
    strict = fit(same, strangers, "x", Rates(keep=0.99, wrong=0.001))
    assert accepted(strangers, strict) == pytest.approx(0.001, abs=0.001)


def test_maybe_begins_lower_by_its_own_shares() -> None:
    same, strangers = drawn(0.8, 0.08, 1000), drawn(0.3, 0.08, 4000, seed=1)
    calibration = fit(same, strangers, "synthetic", Rates(towards=0.0))
    assert maybe(same, calibration) == pytest.approx(PHOTOS.maybe_keep, abs=0.005)
    assert maybe(strangers, calibration) <= PHOTOS.maybe_wrong


def test_the_curve_is_the_probability_for_equal_shares_of_both() -> None:
    """The log odds of two normal distributions of one width are linear: Platt's sigmoid up to its ridge."""
    same, strangers = drawn(0.6, 0.1, 20_000), drawn(0.4, 0.1, 5000, seed=1)
    calibration = fit(same, strangers, "synthetic")
    similarities = np.linspace(0.3, 0.7, 9, dtype=np.float32)
    truth = 1 / (1 + np.exp(-(similarities - 0.5) * 0.2 / 0.1**2))
    assert probability(similarities, calibration) == pytest.approx(truth, abs=0.08)
    assert probability(similarities[4:5], calibration) == pytest.approx([0.5], abs=0.01)


@pytest.mark.parametrize(
    ("same", "strangers", "kept"),
    [
        ([0.9] * 20, [0.1] * 20, 1.0),
        ([1.0] * 20, [-1.0] * 20, 1.0),
        ([0.80006] * 20, [0.1] * 20, 1.0),
        (np.linspace(0.9, 1, 100), np.linspace(0, 0.3, 100), 1.0),
        ([1.0000001] * 20, [0.3] * 20, 1.0),
    ],
    ids=["two-values", "the-ends", "between-the-digits", "separated", "beyond-one"],
)
def test_perfectly_separated_data_keep_the_right_ones(
    same: list[float], strangers: list[float], kept: float
) -> None:
    right, wrong = np.array(same, np.float32), np.array(strangers, np.float32)
    calibration = fit(right, wrong, "x")
    assert is_legal(calibration)
    assert accepted(right, calibration) == pytest.approx(kept, abs=0.01)
    assert accepted(wrong, calibration) == 0


@pytest.mark.parametrize(
    ("same", "strangers"),
    [
        (np.full(20, 0.8, np.float32), np.full(20, 0.8, np.float32)),
        (np.full(20, 1.0, np.float32), np.full(20, 1.0, np.float32)),
        (drawn(0.4, 0.1, 300), drawn(0.6, 0.1, 300, seed=1)),
    ],
    ids=["all-equal", "all-one", "strangers-more-alike"],
)
def test_where_the_same_look_no_more_alike_nobody_is_named(same: Floats, strangers: Floats) -> None:
    calibration = fit(same, strangers, "x")
    assert is_legal(calibration)
    everything = np.linspace(-1, 1, 201, dtype=np.float32)
    assert accepted(everything, calibration) == maybe(everything, calibration) == 0


@pytest.mark.stress
@settings(max_examples=80, deadline=None)
@given(COSINES, COSINES)
@example(np.full(20, 0.8000001, np.float32), np.full(20, 0.8, np.float32))
def test_every_fit_is_legal(same: Floats, strangers: Floats) -> None:
    with np.errstate(all="raise", under="ignore"):
        calibration = fit(same, strangers, "x")
    assert is_legal(calibration)
    chances = probability(np.sort(np.concatenate([same, strangers])), calibration)
    assert (np.diff(chances) >= 0).all()


@pytest.mark.parametrize("same", [[0.9] * 20, [0.1] * 20, np.linspace(0, 1, 20)])
def test_a_bundle_takes_every_fit(same: list[float], tiny_bundle: Path, tmp_path: Path) -> None:
    calibration = fit(np.array(same, np.float32), np.full(20, 0.1, np.float32), "3 pets, seed 7")
    folder = shutil.copytree(tiny_bundle, tmp_path / "copy")
    rewrite_calibration(folder, calibration)
    assert read_bundle(folder).embedder.calibration == calibration


@pytest.mark.parametrize(("same", "strangers"), [(9, 100), (100, 9), (0, 0)])
def test_too_few_similarities_are_refused(same: int, strangers: int) -> None:
    with pytest.raises(ValueError, match=f"at least 10 .*, got {same} and {strangers}"):
        fit(drawn(0.8, 0.1, same), drawn(0.3, 0.1, strangers), "x")
