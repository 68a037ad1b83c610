"""Drawn scenes as batches of the network's inputs and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinsight.drawn import KINDS, Drawing, random_scene
from kinsight.image import prepare
from kinsight.types import Floats
from kinsight_train.detector.network import preprocess

LEAST_VISIBLE = 0.25  # of a thing; what is hidden more than that is not looked for
_MOST_THINGS = 8  # a scene; all arrays of one batch have this length


class Pictures(NamedTuple):
    """A batch of b scenes as the network's input and what is in them."""

    pixels: NDArray[np.uint8]  # (b, 3, size, size)
    xyxy: Floats  # float32 (b, _MOST_THINGS, 4), input pixels; 0 where there is nothing
    kinds: NDArray[np.int64]  # (b, _MOST_THINGS), row of KINDS; -1 where there is nothing


@dataclass(frozen=True)
class Scenes:
    """step -> Pictures, each scene drawn from (seed, step, number)."""

    seed: int
    batch: int
    size: int

    def __call__(self, step: int) -> Pictures:
        out = Pictures(
            np.empty((self.batch, 3, self.size, self.size), np.uint8),
            np.zeros((self.batch, _MOST_THINGS, 4), np.float32),
            np.full((self.batch, _MOST_THINGS), -1, np.int64),
        )
        for row in range(self.batch):
            drawing = random_scene(np.random.default_rng((self.seed, step, row)))
            chw, placement = prepare(drawing.pixels, preprocess(self.size))
            out.pixels[row] = np.rint(chw * 255)
            xyxy, kinds = truth(drawing)
            xyxy = xyxy * np.array(placement.scale_xy * 2, np.float32)
            out.xyxy[row, : len(kinds)], out.kinds[row, : len(kinds)] = (
                xyxy[:_MOST_THINGS],
                kinds[:_MOST_THINGS],
            )
        return out


def truth(drawing: Drawing) -> tuple[Floats, NDArray[np.int64]]:
    """What a detector should find: boxes, float32 (n, 4), photo pixels, and kinds, int64 (n,)."""
    things = [thing for thing in drawing.things if thing.visible >= LEAST_VISIBLE]
    xyxy = np.array([thing.xyxy for thing in things], np.float32).reshape(-1, 4)
    return xyxy, np.array([KINDS.index(thing.individual.kind) for thing in things], np.int64)


def held_out(seed: int, count: int) -> Iterator[Drawing]:
    """Scenes whose seeds no training uses: those end in 0, as numpy fills them up, and these in 1."""
    return (random_scene(np.random.default_rng((seed, number, 0, 1))) for number in range(count))
