"""The gate's report: limits kept and broken, what stands in bundle.toml, the table and the picture."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinsight.errors import ParityError
from kinsight.image import load
from kinsight.tomlread import StrictToml
from kinsight.tomlwrite import toml_bytes
from kinsight_export.gate import Check, Fact, Report
from kinsight_export.gate.compare import selection_difference, tensor_difference, worst
from kinsight_export.gate.selected import selected_difference
from kinsight_export.gate.show import plot_reports, print_reports

SAME = Check("raw outputs", "file against source, 3 pictures", "largest difference", 1e-5, 1e-3)
ALIKE = Check("embeddings", "5 pictures", "lowest cosine", 0.99999, 0.9999, "at least")
OFF = Check("preprocessing", "3 pictures", "largest difference", 0.4, 0.02, cause="red and blue are swapped")


def test_a_limit_is_kept_or_broken() -> None:
    assert SAME.kept and ALIKE.kept and not OFF.kept
    assert not Check("x", "", "", float("nan"), 1.0).kept
    assert not Check("x", "", "", float("nan"), 1.0, "at least").kept
    assert not Check("x", "", "", float("inf"), 1.0, "at least").kept
    assert Check("x", "", "", 1.0, 1.0).kept and Check("x", "", "", 1.0, 1.0, "at least").kept


def test_what_is_no_number_is_infinitely_different() -> None:
    sound = np.arange(12, dtype=np.float32).reshape(1, 3, 4)[..., [0, 1, 2, 3, 1, 0]]
    assert worst([0.0, float("nan")]) == worst([float("nan"), 0.0]) == math.inf and worst([]) == 0.0
    for value in (np.nan, np.inf, -np.inf):
        for spoiled in (sound.copy(), sound * 0):
            spoiled[0, 2, 5] = value
            for ours, theirs in ((sound, spoiled), (spoiled, sound), (spoiled, spoiled)):
                assert tensor_difference(ours, theirs) == math.inf
                assert selection_difference(ours[0], theirs[0]) == math.inf
                assert selected_difference(ours, theirs) == math.inf
    assert tensor_difference(sound, sound) == selection_difference(sound[0], sound[0]) == 0.0


def test_what_is_not_judged_is_said() -> None:
    said = io.StringIO()
    report = Report("detector", "x", (SAME,), unjudged=("boxes: none found on either side",))
    print_reports([report], said)
    assert "boxes: none found on either side, not judged.\n" in said.getvalue()
    assert report.table()["not_judged"] == ["boxes: none found on either side"]


def test_what_does_not_agree_is_refused_with_its_cause() -> None:
    good = Report("detector", "yolo11n.pt", (SAME, ALIKE))
    assert good.require() is good
    with pytest.raises(ParityError, match=r"preprocessing, largest difference 0.4, must be at most 0.02: "):
        Report("detector", "yolo11n.pt", (SAME, OFF)).require()
    with pytest.raises(ParityError, match="probably red and blue are swapped"):
        Report("detector", "yolo11n.pt", (OFF,)).require()
    with pytest.raises(ParityError, match="compared with nothing"):
        Report("detector", "yolo11n.pt", ()).require()


def test_what_stands_in_bundle_toml() -> None:
    report = Report("detector", "yolo11n.pt", (SAME,), (Fact("size", 10.4, "MB"),))
    toml = StrictToml.parse(Path("x"), toml_bytes({"parity": {"detector": report.table()}}), ParityError)
    assert toml.raw["parity"]["detector"] == {
        "source": "yolo11n.pt",
        "size": {"figure": 10.4, "unit": "MB"},
        "raw_outputs": {
            "compared": SAME.compared,
            "measure": SAME.measure,
            "figure": 1e-5,
            "limit": "at most 0.001",
            "verdict": "kept",
        },
    }


@pytest.mark.stress
def test_the_table_and_the_picture(tmp_path: Path) -> None:
    reports = [Report("detector", "yolo11n.pt", (SAME, OFF)), Report("embedder", "clip", (ALIKE,))]
    said = io.StringIO()
    print_reports(reports, said)
    assert "broken" in said.getvalue() and said.getvalue().count("kept") == 2
    assert "preprocessing: probably red and blue are swapped." in said.getvalue()
    said = io.StringIO()
    print_reports(
        [Report("detector", "x", (OFF, replace(OFF, name="again"), replace(OFF, name="boxes", cause="")))],
        said,
    )
    assert said.getvalue().count("probably") == 1
    assert "preprocessing, again: probably red and blue are swapped." in said.getvalue()
    print_reports([Report("detector", "x", (replace(OFF, cause=""),))], said)
    assert said.getvalue().endswith("preprocessing: probably not the same model.\n")
    plot_reports(reports, tmp_path / "gate.png")
    pixels = load(tmp_path / "gate.png").pixels
    red, green, blue = (pixels[..., channel].astype(int) for channel in range(3))
    assert ((red - green > 80) & (red - blue > 80)).sum() > 500  # a broken one
    assert ((green - red > 60) & (green - blue > 20)).sum() > 1000  # kept ones
