"""Fits when the pocket bundle names somebody: on drawn individuals of no training, look-alikes among them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kinsight.bundle import Calibration
from kinsight.calibration import Rates, fit
from kinsight.detect import Detector
from kinsight.drawn import Drawing, Individual, draw_scene, individual, look_alike
from kinsight.drawn.scenes import any_size
from kinsight.embed import Embedder
from kinsight.evaluate.pocket import region_at
from kinsight.image import crop
from kinsight.types import Floats

RATES = Rates(keep=0.96, wrong=0.04, towards=0.0, maybe_keep=0.97, maybe_wrong=0.05)
"""Half of the strangers here are look-alikes, so their rate may speak; "maybe" is a narrow band below."""
STORE = 20
"""Concepts in the store that a stranger is held against."""
_STORES = 4
_LEAST_VISIBLE = 0.6
_ATTEMPTS = 20


def calibrate(detector: Detector, embedder: Embedder, individuals: int, seed: int) -> Calibration:
    """By the runtime's own way: the detector's region, the taught view, the nearest of a store."""
    same, strangers = similarities(detector, embedder, individuals, seed)
    fitted_on = f"drawn world, {individuals} individuals and a look-alike of each, seed {seed}"
    return fit(same, strangers, fitted_on, RATES)


def similarities(
    detector: Detector, embedder: Embedder, individuals: int, seed: int
) -> tuple[Floats, Floats]:
    """Cosines of photos to their own reference, and to the nearest one of stores without it.

    Every other store of a stranger holds somebody of whom it differs in exactly one attribute.
    """
    rng = np.random.default_rng((seed, 0, 0, 3))
    people = [individual(rng) for _ in range(individuals)]
    twins = [look_alike(one, rng) for one in people]
    see = _Seer(detector, embedder, rng)
    taught = np.stack([see.taught(one) for one in people])
    likes = np.stack([see.taught(one) for one in twins])
    met = np.stack([see.met(one) for one in people])
    same = (met * taught).sum(axis=1)
    cosines = met @ taught.T
    strangers = []
    for row in range(individuals):
        others = np.delete(np.arange(individuals), row)
        for turn in range(_STORES):
            best = cosines[row, rng.choice(others, STORE, replace=False)].max()
            strangers.append(max(best, met[row] @ likes[row]) if turn % 2 else best)
    return same.astype(np.float32), np.array(strangers, np.float32)


class _Seer:
    """Draws individuals until they show, and sees them as the runtime does."""

    def __init__(self, detector: Detector, embedder: Embedder, rng: np.random.Generator) -> None:
        self._detector, self._embedder, self._rng = detector, embedder, rng

    def taught(self, one: Individual) -> Floats:
        """float32 (dim,): one view, alone in a picture."""
        return self._seen(lambda: draw_scene([one], self._rng), self._embedder.views)

    def met(self, one: Individual) -> Floats:
        """float32 (dim,): in a scene with up to three others."""
        return self._seen(lambda: self._scene(one), self._embedder.images)

    def _scene(self, one: Individual) -> Drawing:
        others = [individual(self._rng) for _ in range(int(self._rng.integers(0, 4)))]
        return draw_scene([one, *others], self._rng, any_size(self._rng))

    def _seen(self, draw: Callable[[], Drawing], embed: Callable[[list[np.ndarray]], Floats]) -> Floats:
        for _ in range(_ATTEMPTS):
            drawing = draw()
            thing = drawing.things[0]
            regions = self._detector.detect(drawing.pixels)
            row = region_at(regions, thing.xyxy)
            if thing.visible >= _LEAST_VISIBLE and row is not None:
                vector: Floats = embed([crop(drawing.pixels, regions.box(row))])[0]
                return vector
        raise ValueError(f"the detector finds no {thing.individual.kind}: train it longer")
