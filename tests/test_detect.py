"""Regions: every head gives the same boxes, in pixels of the photo, and what is no region is dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import ArrayLike

from kinsight.bundle import DetectorPart, Head, Preprocess
from kinsight.config import DeviceConfig
from kinsight.detect import HEADS, MAX_REGIONS, MIN_SIDE_PX, Detector
from kinsight.errors import ModelError
from kinsight.types import Box, Pixels, Regions
from tiny import DETECTOR_INPUT, GREY, Blob, draw
from tiny_detector import (
    FAMILIES,
    LABELS,
    MOST_BLOBS,
    SIDE,
    Family,
    make_detector,
    make_rows_detector,
    save_model,
)

SCENE = (
    Blob("red", (100, 100, 300, 250)),
    Blob("blue", (400, 50, 600, 200), "ball"),
    Blob("green", (50, 400, 250, 600), "cone"),
)
STRETCHED = replace(DETECTOR_INPUT, resize="stretch")
CENTRED = replace(DETECTOR_INPUT, anchor="centre")
Rows = Callable[..., Detector]


def part_of(file: Path, head: Head, preprocess: Preprocess = DETECTOR_INPUT) -> DetectorPart:
    return DetectorPart(file, "", head, preprocess, LABELS, score_threshold=0.1, iou_threshold=0.5)


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Path]:
    folder = tmp_path_factory.mktemp("detectors")
    return {family: make_detector(folder / f"{family}.onnx", family) for family in FAMILIES}


@pytest.fixture
def blobs(detectors: dict[Family, Path], device: DeviceConfig) -> Detector:
    return Detector(part_of(detectors["end2end"], "end2end"), device)


@pytest.fixture
def rows(tmp_path: Path, device: DeviceConfig) -> Rows:
    """A detector that always gives these rows: corners in input pixels, score, class."""

    def make(rows: ArrayLike, preprocess: Preprocess = DETECTOR_INPUT) -> Detector:
        return Detector(
            part_of(make_rows_detector(tmp_path / "rows.onnx", rows), "end2end", preprocess), device
        )

    return make


def found(regions: Regions) -> set[tuple[str, Box]]:
    return {(label, regions.box(row)) for row, label in enumerate(regions.labels)}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_finds_the_blobs_to_the_pixel(
    family: Family, detectors: dict[Family, Path], device: DeviceConfig
) -> None:
    detector = Detector(part_of(detectors[family], FAMILIES[family]), device)
    regions = detector.detect(draw(SCENE))
    assert regions.labels == ("box", "ball", "cone")
    assert np.abs(regions.xyxy - [blob.box for blob in SCENE]).max() < 0.01
    assert regions.scores == pytest.approx([0.765, 0.75, 0.5], abs=0.02)
    assert (np.diff(regions.scores) <= 0).all()
    assert regions.xyxy.dtype == regions.scores.dtype == np.float32


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_reads_all_of_its_rows(
    family: Family, detectors: dict[Family, Path], device: DeviceConfig
) -> None:
    boxes: list[Box] = [(x, y, x + 50, y + 60) for y in range(0, 400, 100) for x in range(0, 500, 100)]
    blobs = [Blob("red", box) for box in boxes]
    regions = Detector(part_of(detectors[family], FAMILIES[family]), device).detect(draw(blobs))
    assert len(regions) == len(boxes) == MAX_REGIONS
    assert np.abs(np.sort(regions.xyxy, axis=0) - np.sort(boxes, axis=0)).max() < 0.01


def test_the_table_has_a_row_for_every_head_of_the_contract() -> None:
    assert set(HEADS) == set(get_args(Head)) == set(FAMILIES.values())


@pytest.mark.parametrize(
    ("family", "head"),
    [(family, head) for family in FAMILIES for head in HEADS if FAMILIES[family] != head],
)
def test_a_wrong_head_is_refused_with_the_mend(
    family: Family, head: Head, detectors: dict[Family, Path], device: DeviceConfig
) -> None:
    detector = Detector(part_of(detectors[family], head), device)
    with pytest.raises(ModelError, match=f"not a {head} head.*bundle.toml"):
        detector.detect(draw(SCENE))


@pytest.mark.parametrize("family", ["yolox", "yolov8"])
def test_labels_that_do_not_fit_the_head_are_refused(
    family: Family, detectors: dict[Family, Path], device: DeviceConfig
) -> None:
    part = replace(part_of(detectors[family], FAMILIES[family]), labels=("dog", "cat"))
    with pytest.raises(ModelError, match="right labels"):
        Detector(part, device).detect(draw(SCENE))


def test_a_class_beyond_the_labels_is_a_thing(rows: Rows) -> None:
    assert rows([[0, 0, 32, 32, 0.9, 7]]).detect(draw([])).labels == ("thing",)


@pytest.mark.parametrize("size_wh", [(640, 480), (480, 640), (640, 320), (1280, 1280), (64, 64)])
@pytest.mark.parametrize(
    "preprocess", [DETECTOR_INPUT, CENTRED, STRETCHED], ids=["top-left", "centre", "stretch"]
)
def test_boxes_come_back_to_the_pixels_of_the_photo(
    size_wh: tuple[int, int], preprocess: Preprocess, detectors: dict[Family, Path], device: DeviceConfig
) -> None:
    width, height = size_wh
    scale_x = SIDE / (width if preprocess.resize == "stretch" else max(size_wh))
    scale_y = SIDE / (height if preprocess.resize == "stretch" else max(size_wh))
    box = round(14 / scale_x), round(6 / scale_y), round(44 / scale_x), round(18 / scale_y)
    detector = Detector(part_of(detectors["end2end"], "end2end", preprocess), device)
    regions = detector.detect(draw([Blob("red", box)], size_wh))
    assert len(regions) == 1
    assert regions.xyxy[0] == pytest.approx(box, abs=0.01)


@pytest.mark.parametrize(
    ("size_wh", "preprocess", "expected"),
    [
        ((640, 320), DETECTOR_INPUT, (80, 80, 320, 240)),
        ((640, 320), CENTRED, (80, 0, 320, 80)),
        ((320, 640), CENTRED, (0, 80, 160, 240)),
        ((640, 320), STRETCHED, (80, 40, 320, 120)),
    ],
    ids=["top-left", "centre-wide", "centre-high", "stretch"],
)
def test_an_input_box_is_mapped_by_the_placement(
    size_wh: tuple[int, int], preprocess: Preprocess, expected: Box, rows: Rows
) -> None:
    regions = rows([[8, 8, 32, 24, 0.9, 0]], preprocess).detect(draw([], size_wh))
    assert regions.box(0) == pytest.approx(expected, abs=1e-3)


def test_boxes_are_cut_at_the_edge_of_the_photo(rows: Rows) -> None:
    regions = rows([[-10, -10, 90, 40, 0.9, 0]]).detect(draw([], (640, 320)))
    assert regions.box(0) == (0, 0, 640, 320)


def test_suppression_does_not_care_for_the_class(rows: Rows) -> None:
    regions = rows([[8, 8, 40, 40, 0.6, 0], [9, 9, 41, 41, 0.9, 1], [44, 44, 60, 60, 0.5, 0]]).detect(
        draw([])
    )
    assert regions.labels == ("ball", "box")
    assert regions.scores == pytest.approx([0.9, 0.5])
    assert regions.box(1) == (440, 440, 600, 600)


def test_boxes_that_overlap_less_than_the_threshold_both_stay(rows: Rows) -> None:
    regions = rows([[0, 0, 30, 30, 0.9, 0], [12, 0, 42, 30, 0.8, 0]]).detect(draw([]))  # IoU 18 / 42
    assert len(regions) == 2


@pytest.mark.parametrize(("side_px", "kept"), [(MIN_SIDE_PX, True), (MIN_SIDE_PX - 1, False)])
def test_a_region_is_at_least_so_large_in_the_photo(side_px: float, kept: bool, rows: Rows) -> None:
    side = side_px * SIDE / 640
    flat, high = [0, 0, 32, side, 0.9, 0], [0, 40, side, 60, 0.9, 0]
    assert len(rows([flat, high]).detect(draw([]))) == 2 * kept


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(5))
def test_rows_that_are_not_finite_are_dropped(bad: float, column: int, rows: Rows) -> None:
    row = [8.0, 8.0, 40.0, 40.0, 0.9, 0.0]
    row[column] = bad
    regions = rows([row, [44, 44, 60, 60, 0.5, 0]]).detect(draw([]))
    assert [regions.box(n) for n in range(len(regions))] == [(440, 440, 600, 600)]


def test_an_inverted_box_is_dropped(rows: Rows) -> None:
    assert len(rows([[40, 40, 8, 8, 0.9, 0]]).detect(draw([]))) == 0


def test_a_score_counts_from_the_threshold_on(rows: Rows) -> None:
    part = [[8, 8, 40, 40, 0.11, 0], [44, 44, 60, 60, 0.09, 0]]
    assert rows(part).detect(draw([])).scores == pytest.approx([0.11])


def test_the_best_regions_are_kept_where_there_are_too_many(rows: Rows) -> None:
    many = [[x, y, x + 6, y + 6, 0.2 + 0.001 * (x + y), 0] for x in range(0, 56, 8) for y in range(0, 56, 8)]
    regions = rows(many).detect(draw([]))
    assert len(regions) == MAX_REGIONS
    assert regions.scores == pytest.approx(sorted((row[4] for row in many), reverse=True)[:MAX_REGIONS])


def test_thousands_of_rows_are_no_trouble(rows: Rows) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 32, (5000, 2))
    many = np.concatenate([corners, corners + 20, rng.random((5000, 1)), np.zeros((5000, 1))], axis=1)
    regions = rows(many).detect(draw([]))
    assert 0 < len(regions) <= MAX_REGIONS
    assert regions.scores[0] == pytest.approx(many[:, 4].max())


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_to_see_is_no_region(
    family: Family, detectors: dict[Family, Path], device: DeviceConfig
) -> None:
    detector = Detector(part_of(detectors[family], FAMILIES[family]), device)
    assert len(detector.detect(draw([]))) == 0


@pytest.mark.parametrize("size_wh", [(1, 1), (4000, 10), (10, 4000), (2, 3)])
def test_odd_photos_are_plain_success(size_wh: tuple[int, int], blobs: Detector) -> None:
    width, height = size_wh
    regions = blobs.detect(draw([Blob("red", (0, 0, width, height))], size_wh))
    assert len(regions) == 0  # no side of 12 pixels


def test_a_narrow_photo_has_regions_of_the_least_size(blobs: Detector) -> None:
    regions = blobs.detect(draw([Blob("red", (640, 0, 1280, 40))], (2560, 40)))
    assert [regions.box(row) for row in range(len(regions))] == [(640, 0, 1280, 40)]


def test_a_detector_has_one_picture_as_input(tmp_path: Path, device: DeviceConfig) -> None:
    text = "g (float[1, 3, 8, 8] a, float[1, 3, 8, 8] b) => (float[1, 3, 8, 8] c) { c = Add (a, b) }"
    file = save_model(tmp_path / "two.onnx", text, {})
    with pytest.raises(ModelError, match=r"two\.onnx has the inputs a, b: a detector takes one picture"):
        Detector(part_of(file, "end2end"), device)


def test_the_deployed_head_is_fed_the_size_of_its_input(
    detectors: dict[Family, Path], device: DeviceConfig
) -> None:
    detector = Detector(part_of(detectors["detr-deployed"], "detr"), device)
    feeds = detector.feeds(np.zeros((3, SIDE, SIDE), np.float32))
    assert feeds["orig_target_sizes"].tolist() == [[SIDE, SIDE]]
    assert feeds["orig_target_sizes"].dtype == np.int64
    assert feeds["images"].shape == (1, 3, SIDE, SIDE)


def test_the_drawing_is_what_the_models_are_told_about() -> None:
    pixels: Pixels = draw([Blob((200, 10, 10), (2, 1, 5, 3))], (8, 4))
    assert pixels[1:3, 2:5].tolist() == [[[200, 10, 10]] * 3] * 2
    assert (pixels == GREY).all(axis=2).sum() == 8 * 4 - 6
    assert MOST_BLOBS > MAX_REGIONS
