"""Makes tiny real ONNX models that see coloured blobs on grey, and a whole bundle of them.

    python tests/tiny.py FOLDER     writes the bundle of the tests, without a language model (about 100 KB)

The detector is that of `tiny_detector`. The embedder is a soft histogram of the saturated pixels with a trace
of their layout: one colour is one individual, wherever it is and however large.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from kinsight.bundle import Bundle, Calibration, EmbedderPart, Preprocess
from kinsight.calibration import Rates, fit
from kinsight.config import load_device
from kinsight.embed import Embedder
from kinsight.types import Box, Floats, Pixels
from kinsight_export.parts import (
    BundleSpec,
    DetectorSpec,
    EmbedderSpec,
    LlmSpec,
    TextSpec,
    rewrite_calibration,
    spec_of,
    write_bundle,
)
from tiny_detector import FAMILIES, LABELS, SIDE, Family, make_detector, make_open_detector, save_model

GREY = 114
Shape = Literal["box", "ball", "cone"]
_SHAPES: tuple[Shape, ...] = ("box", "ball", "cone")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 30, 30),
    "orange": (240, 140, 20),
    "yellow": (235, 225, 30),
    "green": (30, 160, 40),
    "cyan": (30, 220, 220),
    "blue": (30, 50, 225),
    "purple": (125, 20, 130),
    "pink": (240, 100, 190),
    "brown": (125, 70, 20),
}

VIEW_SIDE = 32  # pixels of the embedder's input
DIM = 32
TEXT_CONTEXT = 8
DETECTOR_INPUT = Preprocess(
    (SIDE, SIDE), "rgb", 1 / 255, (0.0,) * 3, (1.0,) * 3, "letterbox", "top-left", GREY
)
IMAGE_INPUT = Preprocess((VIEW_SIDE, VIEW_SIDE), "rgb", 1 / 255, (0.0,) * 3, (1.0,) * 3, "stretch")

_WIDTH_OF_A_COLOUR = 0.3
_LAYOUT_WEIGHT = 0.2
_CONSTANT = 0.1
_PICTURES = 6


@dataclass(frozen=True)
class Blob:
    """A coloured shape that fills its box."""

    colour: str | tuple[int, int, int]  # a name in COLOURS, or RGB
    box: Box  # pixels of the photo
    shape: Shape = "box"


BlobPhoto = Callable[..., Path]
"""The fixture `blob_photo`: draws blobs, in a size if wanted, and gives the path of the picture."""


def draw(blobs: Sequence[Blob], size_wh: tuple[int, int] = (640, 640)) -> Pixels:
    """uint8 (height, width, 3) RGB: the shapes on grey, the later ones on top."""
    width, height = size_wh
    pixels = np.full((height, width, 3), GREY, np.uint8)
    for blob in blobs:
        x0, y0, x1, y1 = (round(edge) for edge in blob.box)
        down, across = (np.mgrid[0 : y1 - y0, 0 : x1 - x0] + 0.5) / np.array([y1 - y0, x1 - x0])[
            :, None, None
        ]
        inside = np.ones(across.shape, bool)
        if blob.shape == "ball":
            inside = np.hypot(across - 0.5, down - 0.5) <= 0.5
        elif blob.shape == "cone":
            inside = np.abs(across - 0.5) <= 0.1 + 0.4 * down
        pixels[y0:y1, x0:x1][inside] = COLOURS[blob.colour] if isinstance(blob.colour, str) else blob.colour
    return pixels


def make_image_tower(path: Path, batch: str | int = "n", dim: int = DIM) -> Path:
    """Pictures (n, 3, 32, 32), values 0..1 -> (n, 32): colours, a constant, the layout by quarters."""
    side, half = VIEW_SIDE, VIEW_SIDE // 2
    text = f"""
    image (float[{batch}, 3, {side}, {side}] pixel_values) => (float[{batch}, {dim}] image_embeds) {{
        high = ReduceMax <axes = [1]> (pixel_values)
        low = ReduceMin <axes = [1]> (pixel_values)
        saturation = Sub (high, low)
        square = ReduceSumSquare <axes = [1]> (pixel_values)
        falling = Mul (square, steepness)
        nearness = Conv (pixel_values, anchors, lengths)
        exponent = Sub (nearness, falling)
        likeness = Exp (exponent)
        inked = Mul (likeness, saturation)
        sums = GlobalAveragePool (inked)
        ink = GlobalAveragePool (saturation)
        some_ink = Max (ink, least)
        shares = Div (sums, some_ink)
        colours = Flatten (shares)
        quarters = AveragePool <kernel_shape = [{half}, {half}], strides = [{half}, {half}]> (saturation)
        flat_quarters = Flatten (quarters)
        layout = Mul (flat_quarters, layout_weight)
        blank = Flatten (ink)
        nothing = Mul (blank, zero)
        constant = Add (nothing, some)
        image_embeds = Concat <axis = 1> (colours, constant, layout)
    }}"""
    return save_model(path, text, _tower_constants())


def _anchors() -> Floats:
    """float32 (27, 3): the colours of the histogram, 0..1."""
    levels = np.array([0, 0.5, 1], np.float32)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)


def _tower_constants() -> dict[str, ArrayLike]:
    steepness = 1 / (2 * _WIDTH_OF_A_COLOUR**2)
    anchors = _anchors()
    return {
        "steepness": steepness,
        "anchors": (2 * steepness * anchors)[:, :, None, None],
        "lengths": -steepness * (anchors**2).sum(axis=1),
        "least": 1e-3,
        "layout_weight": _LAYOUT_WEIGHT,
        "zero": 0.0,
        "some": _CONSTANT,
    }


WORDS = ("a", "photo", "of", "the", *COLOURS)
PAD_ID = len(WORDS) + 1


def make_text_tower(folder: Path, masked: bool = True) -> tuple[Path, Path]:
    """(text.onnx, tokenizer.json): the mean of the words' vectors, that of a colour being its histogram.

    What must not count spoils every text: padding where a `masked` tower is not fed the mask, and [UNK] where
    another tower is padded with the usual 0 in place of the tokenizer's own padding.
    """
    colours = np.array(list(COLOURS.values())) / 255
    distances = ((colours[:, None] - _anchors()[None]) ** 2).sum(axis=2)
    table = np.zeros((PAD_ID + 1, DIM), np.float32)
    table[:, 27] = 1e-3
    table[1 + len(WORDS) - len(COLOURS) : PAD_ID, :27] = np.exp(-distances / (2 * _WIDTH_OF_A_COLOUR**2))
    table[PAD_ID if masked else 0] = -1
    mask = ", int64[n, m] attention_mask" if masked else ""
    weights = "attention_mask" if masked else "input_ids"
    text = f"""text (int64[n, m] input_ids{mask}) => (float[n, {DIM}] text_embeds) {{
        words = Gather (table, input_ids)
        weights = Cast <to = 1> ({weights})
        kept = Mul (weights, {"one" if masked else "zero"})
        shares = Add (kept, {"zero" if masked else "one"})
        columns = Unsqueeze (shares, last)
        weighed = Mul (words, columns)
        text_embeds = ReduceMean <axes = [1], keepdims = 0> (weighed)
    }}"""
    tower = save_model(folder / "text.onnx", text, {"table": table, "one": 1.0, "zero": 0.0, "last": [-1]})
    vocabulary = {word: number for number, word in enumerate(("[UNK]", *WORDS, "[PAD]"))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(pad_id=PAD_ID, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))
    return tower, folder / "tokenizer.json"


def constant_tower(path: Path, inputs: str) -> Path:
    """A tower that answers everything with the same vector."""
    text = f"""tower ({inputs}) => (float[n, 32] embeds) {{
        shape = Shape ({inputs.rsplit(maxsplit=1)[-1]})
        n = Gather (shape, first)
        times = Concat <axis = 0> (n, one)
        embeds = Tile (row, times)
    }}"""
    return save_model(path, text, {"first": [0], "one": [1], "row": np.ones((1, 32))})


def make_bundle(
    folder: Path, llm: LlmSpec | None = None, family: Family = "end2end", calibrated: bool = True
) -> Bundle:
    """A whole bundle in `folder`, its parts beside it; calibrated on blobs of many colours."""
    parts = folder.with_name(f"{folder.name}-parts")
    parts.mkdir(parents=True)
    labels = parts / "labels.txt"
    labels.write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    detector = DetectorSpec(
        make_detector(parts / "detector.onnx", family), labels, FAMILIES[family], DETECTOR_INPUT
    )
    text = TextSpec(*make_text_tower(parts), TEXT_CONTEXT)
    embedder = EmbedderSpec("tiny-1", DIM, make_image_tower(parts / "image.onnx"), IMAGE_INPUT, text)
    bundle = write_bundle(BundleSpec("tiny", "1", "drawn", "Apache-2.0", detector, embedder, llm), folder)
    return rewrite_calibration(folder, fit_on_blobs(bundle.embedder)) if calibrated else bundle


def make_open_bundle(folder: Path) -> Bundle:
    """The same with a detector that is told what to look for: red and blue blobs, and what is taught."""
    closed = make_bundle(folder.with_name(f"{folder.name}-closed"))
    parts = folder.with_name(f"{folder.name}-closed-parts")
    labels, classes = parts / "open-labels.txt", parts / "classes.npy"
    labels.write_text("red\nblue\n", encoding="utf-8")
    np.save(classes, Embedder(closed.embedder, load_device("laptop-cpu")).texts(("red", "blue")))
    steepness = 1 / (2 * _WIDTH_OF_A_COLOUR**2)
    file = make_open_detector(parts / "open.onnx", _anchors(), steepness, DIM)
    detector = DetectorSpec(file, labels, "yolov8", DETECTOR_INPUT, 0.3, classes=classes)
    bundle = write_bundle(replace(spec_of(closed.folder), name="open", detector=detector), folder)
    return rewrite_calibration(folder, fit_on_blobs(bundle.embedder))


def fit_on_blobs(part: EmbedderPart, seed: int = 7) -> Calibration:
    """The calibration of an embedder on blobs: one colour is one individual, strangers have another one."""
    rng = np.random.default_rng(seed)
    embedder = Embedder(part, load_device())
    levels = (35, 130, 240)
    colours = [rgb for rgb in product(levels, repeat=3) if max(rgb) > min(rgb)]
    crops = [_crop(colour, rng) for colour in colours for _ in range(_PICTURES)]
    vectors = embedder.images(crops).reshape(len(colours), _PICTURES, -1)
    same = np.einsum("id,ipd->ip", vectors[:, 0], vectors[:, 1:]).ravel()
    strangers = np.einsum("id,jpd->ijp", vectors[:, 0], vectors[:, 1:])[~np.eye(len(colours), dtype=bool)]
    fitted_on = f"blobs of {len(colours)} colours, seed {seed}"
    return fit(same, strangers.ravel(), fitted_on, Rates(towards=0.0))


def _crop(colour: tuple[int, ...], rng: np.random.Generator) -> Pixels:
    """A blob that fills its picture, in more or less light."""
    light = rng.uniform(0.8, 1.05)
    red, green, blue = (round(value * light) for value in colour)
    width, height = (int(side) for side in rng.integers(30, 90, 2))
    shape: Shape = _SHAPES[int(rng.integers(len(_SHAPES)))]
    return draw([Blob((red, green, blue), (0, 0, width, height), shape)], (width, height))


if __name__ == "__main__":
    make_bundle(Path(sys.argv[1]))
