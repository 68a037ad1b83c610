"""Whether the runtime prepares a picture as the source does, and if not, what it is that differs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinsight.bundle import Preprocess
from kinsight.image import prepare
from kinsight.types import Floats, Pixels
from kinsight_export.gate.compare import worst
from kinsight_export.gate.pictures import smooth_pictures
from kinsight_export.gate.report import Check
from kinsight_export.sources.kinds import Prepare

LIMIT = (
    0.01  # of the range of the values: interpolations differ less on smooth pictures, everything else more
)
_CHANNELS = ("red", "green", "blue")


def preprocessing_check(rule: Preprocess, theirs: Prepare) -> Check:
    """The runtime's input against the source's, on smooth pictures of several shapes."""
    pairs = [(prepare(pixels, rule)[0], theirs(pixels), pixels) for pixels in smooth_pictures()]
    figure = worst(_difference(ours, source) for ours, source, _ in pairs)
    return Check(
        name="preprocessing",
        compared="the runtime's input against the source's own, on smooth pictures",
        measure="mean difference, as a share of the range",
        figure=figure,
        limit=LIMIT,
        cause="" if figure <= LIMIT else _cause(pairs, rule),
    )


def _difference(ours: Floats, theirs: Floats) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours - theirs).mean()) / max(float(np.ptp(theirs)), 1e-12)


def _cause(pairs: Sequence[tuple[Floats, Floats, Pixels]], rule: Preprocess) -> str:
    """What explains the difference, tried from the likeliest on."""
    if any(ours.shape != theirs.shape for ours, theirs, _ in pairs):
        ours, theirs, _ = pairs[0]
        return f"the input has another size: {ours.shape} here, {theirs.shape} there"
    swapped = "red and blue are swapped: change `colour`"
    if all(_difference(ours[::-1], theirs) <= LIMIT for ours, theirs, _ in pairs):
        return swapped
    inner = [(ours, theirs, _inside(pixels, rule)) for ours, theirs, pixels in pairs]
    if all(_where(ours, theirs, inside) <= LIMIT for ours, theirs, inside in inner):
        return "the border of a letterbox has another value or place: change `pad` or `anchor`"
    for turned, word in ((1, ""), (-1, f"{swapped}, and ")):
        lines = [_line(inner, channel, turned) for channel in range(3)]
        if all(rest <= LIMIT for _, _, rest in lines):
            told = ", ".join(
                f"{name} is off by a factor of {slope:.3g} and by {offset:.3g}"
                for name, (slope, offset, _) in zip(_CHANNELS, lines, strict=True)
                if abs(slope - 1) > 0.01 or abs(offset) > 0.01
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
    return float(np.abs(ours - theirs)[:, inside].mean()) / max(float(np.ptp(theirs)), 1e-12)


def _line(
    inner: Sequence[tuple[Floats, Floats, NDArray[np.bool_]]], channel: int, turned: int
) -> tuple[float, float, float]:
    """(slope, offset, what is left as a share of the range) of the best line from our values to theirs."""
    x = np.concatenate([ours[::turned][channel][inside] for ours, _, inside in inner])
    y = np.concatenate([theirs[channel][inside] for _, theirs, inside in inner])
    slope, offset = np.polyfit(x, y, 1)
    rest = float(np.abs(slope * x + offset - y).mean()) / max(float(np.ptp(y)), 1e-12)
    return float(slope), float(offset), rest
