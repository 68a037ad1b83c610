"""The pictures on which models are compared: smooth ones, where any resizing agrees, scenes, photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kinsight.drawn import random_scene
from kinsight.errors import ConfigError
from kinsight.evaluate import photos_in
from kinsight.image import load
from kinsight.types import Pixels

_SIZES_WH = ((640, 480), (360, 640), (512, 512), (900, 400))
_COLOURS = ((16, 96, 224), (224, 16, 96), (96, 224, 16), (60, 190, 128))
_SCENES = 12
_PHOTOS = 24


def smooth_pictures() -> list[Pixels]:
    """uint8 (h, w, 3) of several shapes: slow waves, other ones in every channel, so nothing is symmetric."""
    pictures = []
    for width, height in _SIZES_WH:
        y, x = np.mgrid[0:height, 0:width] / np.array([height, width])[:, None, None]
        waves = [np.sin(3 * x + 1.5 * y), np.cos(2.5 * y - x), np.sin(2 * x * y + 4 * y + 1)]
        middles, depths = (150, 95, 120), (90, 80, 70)
        channels = [middle + depth * wave for wave, middle, depth in zip(waves, middles, depths, strict=True)]
        pictures.append(np.stack(channels, axis=2).round().clip(0, 255).astype(np.uint8))
    return pictures


def flat_pictures() -> list[Pixels]:
    """uint8 (h, w, 3) of the same shapes, of one colour each: however one is resized, it stays what it is."""
    pairs = zip(_SIZES_WH, _COLOURS, strict=True)
    return [np.full((height, width, 3), colour, np.uint8) for (width, height), colour in pairs]


def scenes(count: int = _SCENES, seed: int = 5) -> list[Pixels]:
    """Drawn scenes, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [random_scene(rng).pixels for _ in range(count)]


def pictures_of(folder: Path | None) -> tuple[list[Pixels], str]:
    """(photos of a folder and the folders in it, spread over it, or else scenes; what they are, in words)."""
    if folder is None:
        return scenes(), f"{_SCENES} drawn scenes"
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}", "give a folder of photos")
    paths = [path for place in (folder, *sorted(folder.rglob("*/"))) for path in photos_in(place)]
    chosen = spread(list(dict.fromkeys(paths)), _PHOTOS)
    if not chosen:
        raise ConfigError(f"there is no photo in {folder}", "give a folder of photos")
    return [load(path).pixels for path in chosen], f"{len(chosen)} photos of {folder.name}"


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of them, at equal distances."""
    if len(paths) <= count:
        return list(paths)
    return [paths[round(row)] for row in np.linspace(0, len(paths) - 1, count)]
