"""Fewer bits: candidates made and measured, the fastest within the limits taken, the others refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from identities import draw_identities
from kinsight.bundle import check_hashes, read_bundle
from kinsight.embed import Embedder
from kinsight_export.cli import main
from kinsight_export.quantise.seeing import Eyes, identities_changed, nearest
from kinsight_export.trial import WORKSTATION
from tiny import make_bundle


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A calibrated bundle of one's own."""
    return make_bundle(tmp_path / "bundles" / "tiny").folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw_identities(tmp_path / "blobs", ["red", "green", "blue"])


def quantise(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main(["quantise", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_what_loses_too_much_is_refused_with_its_figures(
    own: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = read_bundle(own)
    code = quantise(
        own, photos, "--part", "embedder", "--least-cosine", "0.999999", "--plot", tmp_path / "out.png"
    )
    assert code == 0
    after = read_bundle(own)
    check_hashes(after)
    assert (after.detector, after.embedder) == (before.detector, before.embedder)
    rows = after.parity["embedder_candidates"]
    assert rows["fp32"]["verdict"] == "chosen"
    assert {"int8 static, min-max", "int8 static, percentile"} <= rows.keys()
    for name, row in rows.items():
        assert name == "fp32" or re.match(
            r"refused: (picture vectors, lowest cosine 0\.9|.* the time)", row["verdict"]
        )
    said = capfd.readouterr().out
    assert "The embedder stays as it is: nothing is faster and as good." in said
    assert (tmp_path / "out-embedder.png").is_file()


def test_what_is_within_the_limits_and_faster_takes_its_place(own: Path, photos: Path) -> None:
    before = read_bundle(own).embedder
    assert quantise(own, photos, "--part", "embedder", "--least-cosine", "0", "--max-changes", "99") == 0
    after = read_bundle(own)
    check_hashes(after)
    rows = after.parity["embedder_candidates"]
    chosen = next(name for name, row in rows.items() if row["verdict"] == "chosen")
    if chosen == "fp32":
        assert after.embedder.id == before.id and after.embedder.calibration == before.calibration
    else:
        assert after.embedder.id.startswith("tiny-1-int8") and after.embedder.calibration is None
        vectors = Embedder(after.embedder, WORKSTATION).images([np.zeros((20, 20, 3), np.uint8)])
        assert vectors.shape == (1, before.dim)
    assert "detector_candidates" not in after.parity


@pytest.mark.stress
def test_a_detector_is_judged_by_its_boxes(own: Path, photos: Path) -> None:
    assert quantise(own, photos, "--part", "detector") == 0
    after = read_bundle(own)
    check_hashes(after)
    rows = after.parity["detector_candidates"]
    assert rows["fp32"]["boxes"] == 1.0 and len(rows) >= 2
    assert sum(row["verdict"] == "chosen" for row in rows.values()) == 1
    assert after.embedder.calibration


def test_identities_that_change_are_counted(own: Path, photos: Path) -> None:
    eyes = Eyes.of(read_bundle(own), photos, lambda what, done, total: None)
    names = nearest(eyes.shots)
    assert names == [name for name in ("blue", "green", "red") for _ in range(3)]
    assert identities_changed(eyes.shots, eyes.again(eyes.bundle)) == (0, 9)
    swapped = [shot for shot in eyes.shots if shot.identity != "red"]
    others = [shot for shot in eyes.shots if shot.identity != "blue"]
    assert identities_changed(swapped, others)[0] > 0


def test_a_folder_without_identities(own: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert quantise(own, tmp_path / "gone") == 1
    assert "there is no folder" in capfd.readouterr().err
