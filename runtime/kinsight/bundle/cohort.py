"""Reads the cohort of a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinsight.bundle.files import AGAIN
from kinsight.bundle.parts import EmbedderPart
from kinsight.errors import BundleError

if TYPE_CHECKING:
    from kinsight.types import Floats


def read_cohort(part: EmbedderPart) -> Floats:
    """float32 (g, dim), unit length; (0, dim) where the bundle has none. BundleError for anything else."""
    import numpy as np  # a bundle can be read without it

    if part.cohort is None:
        return np.zeros((0, part.dim), np.float32)
    path = part.cohort.file
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as cause:
        raise BundleError(f"{path} cannot be read as a cohort ({cause})", AGAIN) from None
    fits = isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 and vectors.ndim == 2
    if not fits or vectors.shape[1] != part.dim:
        raise BundleError(f"{path} holds no float32 vectors of {part.dim} numbers", AGAIN)
    if not (np.abs(np.linalg.norm(vectors, axis=1) - 1) <= 1e-3).all():
        raise BundleError(f"{path} holds vectors that are not of unit length", AGAIN)
    cohort: Floats = vectors
    return cohort
