"""Makes tiny real detectors: they find every connected blob of saturated pixels, exactly to the pixel.

There is one model for every kind of head, and all give the same boxes; boxes, balls and cones are told apart
by how much of their box is filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnx.parser
from numpy.typing import ArrayLike
from onnx import numpy_helper

from kinsight.bundle import Head

LABELS = ("box", "ball", "cone")
SIDE = 64  # pixels of the input
MOST_BLOBS = 32

_SATURATED = 0.25
_HEADER = '<ir_version: 8, opset_import: ["": 17]>\n'

Family = Literal["yolox", "yolov8", "end2end", "detr-deployed", "detr-raw"]
FAMILIES: dict[Family, Head] = {
    "yolox": "yolox",
    "yolov8": "yolov8",
    "end2end": "end2end",
    "detr-deployed": "detr",
    "detr-raw": "detr",
}


def save_model(path: Path, text: str, constants: Mapping[str, ArrayLike]) -> Path:
    """Writes a model from ONNX's textual syntax and its constants: integers become int64, others float32."""
    model = onnx.parser.parse_model(_HEADER + text)
    for name, value in constants.items():
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def make_detector(path: Path, family: Family = "end2end") -> Path:
    """A detector of one head that finds up to MOST_BLOBS blobs in a 64 x 64 picture, values 0..1."""
    head, outputs, more = _HEADS[family]
    sizes = ", int64[1, 2] orig_target_sizes" if family == "detr-deployed" else ""
    text = f"detector (float[1, 3, {SIDE}, {SIDE}] images{sizes}) => ({outputs}) {{\n{_blobs()}{head}}}"
    return save_model(path, text, {**_detector_constants(), **more})


def _blobs() -> str:
    """What all of them begin with: the boxes of the blobs, and how surely each is of every kind."""
    grow = "".join(
        f"grown{step} = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (label{step})\n"
        f"label{step + 1} = Mul (grown{step}, mask)\n"
        for step in range(SIDE)
    )
    return f"{_MASK}{grow}{_BOXES.replace('LAST', f'label{SIDE}')}"


_MASK = """
high = ReduceMax <axes = [1]> (images)
low = ReduceMin <axes = [1]> (images)
saturation = Sub (high, low)
is_blob = Greater (saturation, saturated)
mask = Cast <to = 1> (is_blob)
label0 = Mul (mask, numbers)
"""
# Growing gives every pixel of a blob the highest number in it; the pixel that had it first is its peak.
_BOXES = """
is_peak = Equal (LAST, label0)
peak = Cast <to = 1> (is_peak)
peaks = Mul (peak, label0)
flat_peaks = Reshape (peaks, flat)
found, places = TopK (flat_peaks, most)
number = Transpose (found)
flat_labels = Reshape (LAST, flat)
is_member = Equal (flat_labels, number)
is_found = Greater (number, zero)
is_in = And (is_member, is_found)
members = Cast <to = 1> (is_in)
area = ReduceSum (members, axis1)
flat_saturation = Reshape (saturation, flat)
inked = Mul (members, flat_saturation)
ink = ReduceSum (inked, axis1)
some_area = Max (area, one)
score = Div (ink, some_area)
stacked = Unsqueeze (members, axis1)
reached = Mul (stacked, reach)
spans = ReduceMax <axes = [2], keepdims = 0> (reached)
signed = Mul (spans, signs)
corners = Add (signed, base)
sides = MatMul (corners, to_sides)
centre = MatMul (corners, to_centre)
box_area = ReduceProd <axes = [1]> (sides)
some_box_area = Max (box_area, one)
fill = Div (area, some_box_area)
enough = GreaterOrEqual (fill, least_fill)
few = Less (fill, most_fill)
is_kind = And (enough, few)
kind = Cast <to = 1> (is_kind)
class_scores = Mul (kind, score)
"""
_K, _C = MOST_BLOBS, len(LABELS)
_ROWS = sum((SIDE // stride) ** 2 for stride in (8, 16, 32))


def _detector_constants() -> dict[str, ArrayLike]:
    y, x = (grid.ravel() for grid in np.mgrid[0:SIDE, 0:SIDE].astype(np.float32))
    return {
        "saturated": _SATURATED,
        "numbers": np.arange(1.0, SIDE * SIDE + 1).reshape(1, 1, SIDE, SIDE),
        "flat": [1, SIDE * SIDE],
        "most": [MOST_BLOBS],
        "zero": 0.0,
        "one": 1.0,
        "axis0": [0],
        "axis1": [1],
        "reach": np.stack([SIDE - x, SIDE - y, x + 1, y + 1]),
        "signs": [-1.0, -1.0, 1.0, 1.0],
        "base": [float(SIDE), float(SIDE), 0.0, 0.0],
        "to_sides": [[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]],
        "to_centre": [[0.5, 0.0], [0.0, 0.5], [0.5, 0.0], [0.0, 0.5]],
        "least_fill": [0.9, 0.65, -1.0],
        "most_fill": [9.0, 0.9, 0.65],
    }


def _yolox_constants() -> dict[str, ArrayLike]:
    """The blobs go to rows that jump between all three levels, wherever they lie in the picture."""
    levels = [(SIDE // stride, stride) for stride in (8, 16, 32)]
    cells = [(column, row, stride) for n, stride in levels for row in range(n) for column in range(n)]
    rows = np.linspace(0, _ROWS - 1, MOST_BLOBS).round().astype(int)[11 * np.arange(MOST_BLOBS) % MOST_BLOBS]
    spread = np.zeros((_ROWS, MOST_BLOBS))
    spread[rows, np.arange(MOST_BLOBS)] = 1
    chosen = np.array(cells, np.float32)[rows]
    return {"cells": chosen[:, :2], "strides": chosen[:, 2:], "spread": spread, "least_side": 1e-3}


_HEADS: dict[Family, tuple[str, str, dict[str, ArrayLike]]] = {
    "yolox": (
        """
        in_cells = Div (centre, strides)
        offsets = Sub (in_cells, cells)
        some_sides = Max (sides, least_side)
        side_cells = Div (some_sides, strides)
        logs = Log (side_cells)
        rows = Concat <axis = 1> (offsets, logs, score, kind)
        all_rows = MatMul (spread, rows)
        output = Unsqueeze (all_rows, axis0)
        """,
        f"float[1, {_ROWS}, {5 + _C}] output",
        _yolox_constants(),
    ),
    "yolov8": (
        """
        rows = Concat <axis = 1> (centre, sides, class_scores)
        columns = Transpose (rows)
        output = Unsqueeze (columns, axis0)
        """,
        f"float[1, {4 + _C}, {_K}] output",
        {},
    ),
    "end2end": (
        """
        class = MatMul (kind, classes)
        rows = Concat <axis = 1> (corners, score, class)
        output = Unsqueeze (rows, axis0)
        """,
        f"float[1, {_K}, 6] output",
        {"classes": [[0.0], [1.0], [2.0]]},
    ),
    "detr-deployed": (
        """
        class = MatMul (kind, classes)
        whole_class = Cast <to = 7> (class)
        labels = Reshape (whole_class, row)
        scores = Reshape (score, row)
        size = Cast <to = 1> (orig_target_sizes)
        sizes = Concat <axis = 1> (size, size)
        shares = Div (corners, side)
        scaled = Mul (shares, sizes)
        boxes = Unsqueeze (scaled, axis0)
        """,
        f"int64[1, {_K}] labels, float[1, {_K}, 4] boxes, float[1, {_K}] scores",
        {"classes": [[0.0], [1.0], [2.0]], "row": [1, _K], "side": float(SIDE)},
    ),
    "detr-raw": (
        """
        chances = Clip (class_scores, least, most_chance)
        against = Sub (one, chances)
        odds = Div (chances, against)
        logit_rows = Log (odds)
        logits = Unsqueeze (logit_rows, axis0)
        box_rows = Concat <axis = 1> (centre, sides)
        shares = Div (box_rows, side)
        pred_boxes = Unsqueeze (shares, axis0)
        """,
        f"float[1, {_K}, {_C}] logits, float[1, {_K}, 4] pred_boxes",
        {"least": 1e-6, "most_chance": 1 - 1e-6, "side": float(SIDE)},
    ),
}
"""Of each head: how it is made from the boxes, its outputs, its constants."""


def make_open_detector(path: Path, anchors: ArrayLike, steepness: float, dim: int) -> Path:
    """A yolov8 detector of the same blobs that is told with every picture what to look for.

    A blob is a class as far as its colour's histogram over `anchors` (27, 3), that of `tiny`'s towers, is
    like the class's vector; vectors are (1, n, dim) of unit length, for any n.
    """
    inputs = f"float[1, 3, {SIDE}, {SIDE}] images, float[1, n, {dim}] classes"
    text = f"detector ({inputs}) => (float[1, m, {_K}] output) {{\n{_blobs()}{_TOLD}}}"
    more = {"anchors": anchors, "steepness": -steepness, "spread": np.eye(27, dim)}
    return save_model(path, text, {**_detector_constants(), **more, "channels": [3, SIDE * SIDE]})


_TOLD = """
flat_pixels = Reshape (images, channels)
pixels = Transpose (flat_pixels)
sums = MatMul (members, pixels)
colour = Div (sums, some_area)
colours = Unsqueeze (colour, axis1)
apart = Sub (colours, anchors)
square = ReduceSumSquare <axes = [2], keepdims = 0> (apart)
exponent = Mul (square, steepness)
histogram = Exp (exponent)
wide = MatMul (histogram, spread)
length = ReduceL2 <axes = [1], keepdims = 1> (wide)
unit = Div (wide, length)
named = Squeeze (classes, axis0)
turned = Transpose (named)
likeness = MatMul (unit, turned)
told_scores = Mul (likeness, score)
rows = Concat <axis = 1> (centre, sides, told_scores)
columns = Transpose (rows)
output = Unsqueeze (columns, axis0)
"""


def make_rows_detector(path: Path, rows: ArrayLike) -> Path:
    """An end2end detector that gives these rows (n, 6) always: corners in input pixels, score, class."""
    rows = np.asarray(rows, np.float32)
    text = f"""detector (float[1, 3, {SIDE}, {SIDE}] images) => (float[1, {len(rows)}, 6] output) {{
        shape = Shape (images)
        one = Gather (shape, first)
        times = Concat <axis = 0> (one, others)
        output = Tile (rows, times)
    }}"""
    return save_model(path, text, {"first": [0], "others": [1, 1], "rows": rows[None]})
