"""Pixels into a model's input by the bundle's rule, and boxes back to where they were."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.bundle import Preprocess
from kinsight.image import Placement, crop, prepare, prepare_batch, thumbnail
from kinsight.types import Box

RAW = Preprocess((8, 8), "rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "letterbox", "top-left", 114)
CLIP = Preprocess(
    (8, 8),
    "rgb",
    1 / 255,
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
    "stretch",
)
COLOUR = (10, 20, 30)


def plain(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), COLOUR, np.uint8)


def grain(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


LETTERBOXES = [  # photo, anchor -> left, top, width, height of the photo in 8 x 8
    ((4, 2), "top-left", (0, 0, 8, 4)),
    ((4, 2), "centre", (0, 2, 8, 4)),
    ((2, 4), "top-left", (0, 0, 4, 8)),
    ((2, 4), "centre", (2, 0, 4, 8)),
    ((16, 16), "top-left", (0, 0, 8, 8)),
    ((16, 11), "top-left", (0, 0, 8, 5)),  # 5.5 rounded down
    ((16, 13), "centre", (0, 1, 8, 6)),  # 6.5 rounded to even
    ((16, 15), "centre", (0, 0, 8, 8)),  # 7.5 rounded to even
    ((16, 10), "centre", (0, 1, 8, 5)),  # the odd row of padding goes below
    ((10, 16), "centre", (1, 0, 5, 8)),  # and the odd column to the right
    ((4000, 10), "top-left", (0, 0, 8, 1)),
    ((4000, 10), "centre", (0, 3, 8, 1)),
    ((1, 1), "centre", (0, 0, 8, 8)),
]


@pytest.mark.parametrize(("photo_wh", "anchor", "place"), LETTERBOXES)
def test_letterbox_table(photo_wh: tuple[int, int], anchor: str, place: tuple[int, int, int, int]) -> None:
    chw, placement = prepare(plain(*photo_wh), replace(RAW, anchor=anchor))
    left, top, width, height = place
    expected = np.full((3, 8, 8), 114, np.float32)
    expected[:, top : top + height, left : left + width] = np.reshape(COLOUR, (3, 1, 1))
    assert chw.dtype == np.float32 and np.array_equal(chw, expected)
    assert placement == Placement((width / photo_wh[0], height / photo_wh[1]), (left, top), photo_wh)


def test_padding_is_scaled_like_pixels() -> None:
    chw, _ = prepare(plain(4, 2), replace(CLIP, resize="letterbox", pad=255))
    expected = (1 - np.array(CLIP.mean)) / np.array(CLIP.std)
    assert np.allclose(chw[:, 7, 7], expected, rtol=1e-6)


@pytest.mark.parametrize("rule", [RAW, CLIP, replace(CLIP, colour="bgr")], ids=["raw", "CLIP", "CLIP as BGR"])
def test_values_follow_the_rule(rule: Preprocess) -> None:
    pixels = grain(8, 8)
    chw, _ = prepare(pixels, rule)
    channels = pixels if rule.colour == "rgb" else pixels[..., ::-1]
    expected = (channels.astype(np.float64) * rule.scale - rule.mean) / rule.std
    assert np.allclose(chw, expected.transpose(2, 0, 1), rtol=1e-6, atol=1e-6)


def test_channel_order() -> None:
    rgb, _ = prepare(plain(8, 8), RAW)
    bgr, _ = prepare(plain(8, 8), replace(RAW, colour="bgr"))
    assert rgb[:, 0, 0].tolist() == [10, 20, 30]
    assert bgr[:, 0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize("photo_wh", [(640, 480), (300, 500), (415, 417), (100, 80)])
def test_letterbox_is_yolox_own(photo_wh: tuple[int, int]) -> None:
    """YOLOX's preproc, yolox/data/data_augment.py, for photos that shrink less than twice."""
    pixels = grain(*photo_wh)
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    ratio = min(416 / bgr.shape[0], 416 / bgr.shape[1])
    size_wh = int(bgr.shape[1] * ratio), int(bgr.shape[0] * ratio)
    padded = np.full((416, 416, 3), 114, np.uint8)
    padded[: size_wh[1], : size_wh[0]] = cv2.resize(bgr, size_wh, interpolation=cv2.INTER_LINEAR)
    chw, _ = prepare(pixels, replace(RAW, size_wh=(416, 416), colour="bgr"))
    assert np.array_equal(chw, padded.transpose(2, 0, 1).astype(np.float32))


def test_shrinking_much_averages() -> None:
    """Bilinear sampling alone would see only one colour of stripes as wide as its step."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = stripes[:, 3::4] = 255
    chw, _ = prepare(stripes, replace(RAW, size_wh=(16, 16), resize="stretch"))
    assert np.abs(chw - 127.5).max() <= 1


def test_centre_crop_takes_the_middle() -> None:
    pixels = plain(20, 8)
    pixels[:, :6] = pixels[:, 14:] = 0
    chw, placement = prepare(pixels, replace(RAW, resize="shortest-side-centre-crop"))
    assert np.array_equal(chw, np.broadcast_to(np.reshape(COLOUR, (3, 1, 1)), (3, 8, 8)))
    assert placement == Placement((1.0, 1.0), (-6.0, 0.0), (20, 8))
    tall, placement = prepare(
        np.rot90(pixels), replace(RAW, resize="shortest-side-centre-crop", size_wh=(4, 4))
    )
    assert np.array_equal(tall, np.broadcast_to(np.reshape(COLOUR, (3, 1, 1)), (3, 4, 4)))
    assert placement == Placement((0.5, 0.5), (0.0, -3.0), (8, 20))


sides = st.integers(1, 90)
rules = st.builds(
    Preprocess,
    size_wh=st.tuples(st.integers(4, 64), st.integers(4, 64)),
    colour=st.just("rgb"),
    scale=st.just(1.0),
    mean=st.just((0.0, 0.0, 0.0)),
    std=st.just((1.0, 1.0, 1.0)),
    resize=st.sampled_from(["letterbox", "stretch", "shortest-side-centre-crop"]),
    anchor=st.sampled_from(["top-left", "centre"]),
    pad=st.just(0),
)


@given(
    photo_wh=st.tuples(sides, sides), rule=rules, corners=st.lists(st.floats(0, 1), min_size=4, max_size=4)
)
@settings(max_examples=200, deadline=None)
def test_boxes_come_back(photo_wh: tuple[int, int], rule: Preprocess, corners: list[float]) -> None:
    chw, placement = prepare(plain(*photo_wh), rule)
    assert chw.shape == (3, rule.size_wh[1], rule.size_wh[0])
    box = np.array([corners], np.float32) * np.array(photo_wh * 2, np.float32)
    inside = box * np.array(placement.scale_xy * 2) + np.array(placement.offset_xy * 2)
    assert np.allclose(placement.to_photo(inside.astype(np.float32)), box, atol=1e-3)
    far = placement.to_photo(np.array([[-1e6, -1e6, 1e6, 1e6]], np.float32))
    assert far.dtype == np.float32 and far.tolist() == [[0, 0, *photo_wh]]


@given(photo_wh=st.tuples(st.integers(24, 90), st.integers(24, 90)), rule=rules)
@settings(max_examples=100, deadline=None)
def test_placement_says_where_the_pixels_are(photo_wh: tuple[int, int], rule: Preprocess) -> None:
    """The right half of the photo is white: its edge in the input, mapped back, is the photo's middle."""
    pixels = np.zeros((photo_wh[1], photo_wh[0], 3), np.uint8)
    middle = photo_wh[0] // 2
    pixels[:, middle:] = 255
    chw, placement = prepare(pixels, rule)
    row = chw[0, int(placement.offset_xy[1] + placement.scale_xy[1] * photo_wh[1] / 2)]
    white = np.flatnonzero(row >= 128)
    edge = placement.to_photo(np.array([[white[0], 0, white[0], 0]], np.float32))[0, 0]
    assert abs(edge - middle) <= 0.5 + 1 / placement.scale_xy[0]


def test_a_batch_is_its_pictures() -> None:
    pictures = [grain(40, 30), grain(9, 90)[5:60], grain(1, 1), grain(200, 10)[:, 20:90]]
    batch = prepare_batch(pictures, CLIP)
    assert batch.dtype == np.float32 and batch.flags.c_contiguous
    assert np.array_equal(batch, np.stack([prepare(pixels, CLIP)[0] for pixels in pictures]))
    assert prepare_batch([], CLIP).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("photo_wh", [(1, 1), (4000, 10), (10, 4000), (1, 5000)])
@pytest.mark.parametrize("resize", ["letterbox", "stretch", "shortest-side-centre-crop"])
def test_extreme_shapes(photo_wh: tuple[int, int], resize: str) -> None:
    chw, placement = prepare(plain(*photo_wh), replace(RAW, resize=resize, size_wh=(224, 200)))
    assert chw.shape == (3, 200, 224)
    middle = np.array(photo_wh) / 2 * placement.scale_xy + placement.offset_xy
    x, y = np.minimum(middle, (223, 199)).astype(int)
    assert chw[:, y, x].tolist() == list(COLOUR)


@pytest.mark.parametrize(
    ("xyxy", "padding", "span"),
    [
        ((10, 5, 30, 15), 0.0, (10, 5, 30, 15)),
        ((10, 5, 30, 15), 0.1, (8, 4, 32, 16)),
        ((10.4, 5.6, 29.2, 14.1), 0.0, (10, 5, 30, 15)),
        ((0, 0, 40, 20), 0.5, (0, 0, 40, 20)),
        ((-9, -9, 5, 5), 0.0, (0, 0, 5, 5)),
        ((7, 7, 7, 7), 0.0, (7, 7, 8, 8)),
        ((99, 99, 120, 120), 0.0, (39, 19, 40, 20)),
        ((-30, -30, -20, -20), 0.0, (0, 0, 1, 1)),
    ],
)
def test_crop_table(xyxy: Box, padding: float, span: tuple[int, int, int, int]) -> None:
    pixels = grain(40, 20)
    left, top, right, bottom = span
    cut = crop(pixels, xyxy, padding)
    assert np.array_equal(cut, pixels[top:bottom, left:right])
    assert np.shares_memory(cut, pixels)


@pytest.mark.parametrize(
    ("photo_wh", "longest", "size_wh"),
    [
        ((400, 300), 100, (100, 75)),
        ((300, 400), 100, (75, 100)),
        ((50, 40), 100, (50, 40)),
        ((4000, 10), 200, (200, 1)),
    ],
)
def test_thumbnail_table(photo_wh: tuple[int, int], longest: int, size_wh: tuple[int, int]) -> None:
    small = thumbnail(plain(*photo_wh), longest)
    assert (small.shape[1], small.shape[0]) == size_wh
    assert (small == COLOUR).all()
