"""Folders of photos, a folder per identity, in which every identity is a blob of one colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kinsight.image import save
from tiny import Blob, draw

SIDE = 256  # pixels of a photo


def draw_identities(folder: Path, colours: Sequence[str], photos: int = 4, seed: int = 0) -> Path:
    """`photos` pictures of a blob of each colour, here and there, larger and smaller, on grey."""
    rng = np.random.default_rng(seed)
    for colour in colours:
        (folder / colour).mkdir(parents=True)
        for number in range(photos):
            save(draw([_blob(colour, rng)], (SIDE, SIDE)), folder / colour / f"{number:02}.png")
    return folder


def _blob(colour: str, rng: np.random.Generator) -> Blob:
    width, height = (int(side) for side in rng.integers(60, 150, 2))
    x, y = (int(rng.integers(4, SIDE - side - 4)) for side in (width, height))
    return Blob(colour, (x, y, x + width, y + height), "ball" if rng.integers(2) else "box")
