"""Made-up photos for tests of the album's shelf in the store."""

from __future__ import annotations

import numpy as np

from kinsight.store import NewPhoto, NewView, Seer
from kinsight.types import Floats, Regions

SEER = Seer("e", 0.9)
DIM = 8


def unit(seed: int, dim: int = DIM) -> Floats:
    """A vector that follows from the seed; two seeds are nothing alike, as far as there is room."""
    vector = np.random.default_rng(seed).normal(size=dim).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def new_photo(
    seed: int, path: str = "", of: tuple[int, ...] = (), dim: int = DIM, above: int | None = None
) -> NewPhoto:
    """A photo in which these seeds are seen, each a region; the whole is like nothing else."""
    random = np.random.default_rng(1000 + seed)
    boxes = np.array([(10 * row, 5, 10 * row + 9, 50) for row in range(len(of))], np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(of), dtype=np.float32)
    regions = Regions(boxes, scores, tuple("thing" for _ in of))
    vectors = np.stack([*(unit(other, dim) for other in of), unit(10_000 + seed, dim)])
    sha256 = f"{seed:064x}"
    return NewPhoto(
        path or f"/photos/{seed}.jpg",
        *(sha256, 99, seed, (640, 480)),
        random.bytes(2000),
        regions,
        vectors,
        above,
    )


def view_in(seed: int, photo: int) -> NewView:
    """A view of a seed, cut from a photo."""
    picture = b"\xff\xd8" + np.random.default_rng(500 + seed).bytes(1000)
    return NewView(picture, (0.0, 5.0, 9.0, 50.0), f"{photo:064x}", SEER.embedder_id, unit(seed))
