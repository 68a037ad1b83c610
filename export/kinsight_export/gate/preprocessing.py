"""Whether the runtime prepares a picture as the source does, and if not, what it is that differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kinsight.bundle import Preprocess
from kinsight.image import prepare
from kinsight.types import Floats, Pixels
from kinsight_export.gate.compare import worst
from kinsight_export.gate.pictures import flat_pictures, smooth_pictures
from kinsight_export.gate.report import Check
from kinsight_export.sources.kinds import Prepare

LIMIT = (
    0.01  # of the range of the values: interpolations differ less on smooth pictures, everything else more
)
NUMBERS_LIMIT = 0.001  # the same on pictures of one colour each, where no interpolation differs at all
_CHANNELS = ("red", "green", "blue")
_Pair: TypeAlias = tuple[Floats, Floats, NDArray[np.bool_]]
"""(the runtime's input, the source's, where both show the photo)."""


def preprocessing_checks(rule: Preprocess, theirs: Prepare) -> list[Check]:
    """The runtime's input against the source's: how a picture is fitted, which numbers colours get."""
    fitted, coloured = (
        [(prepare(pixels, rule)[0], theirs(pixels), _inside(pixels, rule)) for pixels in pictures]
        for pictures in (smooth_pictures(), flat_pictures())
    )
    figure = worst(_difference(ours, source) for ours, source, _ in fitted)
    numbers = worst(_largest(*pair) for pair in coloured)
    compared = "the runtime's input against the source's own, on"
    return [
        Check(
            name="preprocessing",
            compared=f"{compared} smooth pictures",
            measure="mean difference, as a share of the range",
            figure=figure,
            limit=LIMIT,
            cause="" if figure <= LIMIT else _cause(fitted, LIMIT),
        ),
        Check(
            name="picture numbers",
            compared=f"{compared} pictures of one colour",
            measure="largest difference, as a share of the range",
            figure=numbers,
            limit=NUMBERS_LIMIT,
            cause="" if numbers <= NUMBERS_LIMIT else _cause(coloured, NUMBERS_LIMIT),
        ),
    ]


def _difference(ours: Floats, theirs: Floats) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours - theirs).mean()) / _range(theirs)


def _largest(ours: Floats, theirs: Floats, inside: NDArray[np.bool_]) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours - theirs)[:, inside].max()) / _range(theirs)


def _range(values: Floats) -> float:
    return max(float(np.ptp(values)), 1e-12)


def _cause(pairs: Sequence[_Pair], limit: float) -> str:
    """What explains a difference of more than `limit`, tried from the likeliest on."""
    if any(ours.shape != theirs.shape for ours, theirs, _ in pairs):
        ours, theirs, _ = pairs[0]
        return f"the input has another size: {ours.shape} here, {theirs.shape} there"
    swapped = "red and blue are swapped: change `colour`"
    if all(_where(ours[::-1], theirs, inside) <= limit for ours, theirs, inside in pairs):
        return swapped
    if all(_where(ours, theirs, inside) <= limit for ours, theirs, inside in pairs):
        return "the border of a letterbox has another value or place: change `pad` or `anchor`"
    for turned, word in ((1, ""), (-1, f"{swapped}, and ")):
        lines = [_line(pairs, channel, turned) for channel in range(3)]
        if all(rest <= limit for _, _, rest in lines):
            told = ", ".join(
                f"{name} is off by a factor of {slope:.3g} and by {offset:.3g}"
                for name, (slope, offset, _) in zip(_CHANNELS, lines, strict=True)
                if abs(slope - 1) > limit or abs(offset) > limit
            )
            return f"{word}`mean`, `std` or `scale` is another: {told or 'all channels a little'}"
    return "the picture is fitted in another way: change `resize`, `size_wh` or `anchor`"


def _inside(pixels: Pixels, rule: Preprocess) -> NDArray[np.bool_]:
    """bool (h, w): where the photo lies in the input, less a rim of two pixels."""
    width, height = rule.size_wh
    _, placement = prepare(pixels, rule)
    photo = np.array([[0, 0, pixels.shape[1], pixels.shape[0]]], np.float32)
    corners = photo * np.tile(placement.scale_xy, 2) + np.tile(placement.offset_xy, 2)
    left, top = np.maximum(np.ceil(corners[0, :2]).astype(int) + 2, 0)
    right, bottom = np.floor(corners[0, 2:]).astype(int) - 2
    inside = np.zeros((height, width), bool)
    inside[top : min(bottom, height), left : min(right, width)] = True
    return inside


def _where(ours: Floats, theirs: Floats, inside: NDArray[np.bool_]) -> float:
    return float(np.abs(ours - theirs)[:, inside].mean()) / _range(theirs)


def _line(pairs: Sequence[_Pair], channel: int, turned: int) -> tuple[float, float, float]:
    """(slope, offset, what is left as a share of the range) of the best line from our values to theirs."""
    x = np.concatenate([ours[::turned][channel][inside] for ours, _, inside in pairs])
    y = np.concatenate([theirs[channel][inside] for _, theirs, inside in pairs])
    slope, offset = np.polyfit(x, y, 1)
    rest = float(np.abs(slope * x + offset - y).mean()) / _range(y)
    return float(slope), float(offset), rest
