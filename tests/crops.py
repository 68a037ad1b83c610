"""Made-up crops for tests of the store."""

import numpy as np

from kinsight.store import NewView


def crop(seed: int, embedder: str = "e", dim: int = 8, photo: str = "") -> NewView:
    """A crop whose picture, box and vector follow from the seed."""
    random = np.random.default_rng(seed)
    vector = random.normal(size=dim).astype(np.float32)
    return NewView(
        picture_jpeg=b"\xff\xd8" + random.bytes(3000),
        xyxy=(seed + 0.5, 2.25, seed + 100.125, 50.0),
        photo_sha256=photo or f"{seed:064x}",
        embedder_id=embedder,
        vector=vector / np.linalg.norm(vector),
    )
