"""Reads the vectors that a bundle brings: its cohort, and those of a detector's classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kinsight.bundle.files import AGAIN
from kinsight.bundle.parts import DetectorPart, EmbedderPart
from kinsight.errors import BundleError

if TYPE_CHECKING:
    from kinsight.types import ClassVectors, Floats


def read_cohort(part: EmbedderPart) -> Floats:
    """float32 (g, dim), unit length; (0, dim) where the bundle has none. BundleError for anything else."""
    import numpy as np  # a bundle can be read without it

    if part.cohort is None:
        return np.zeros((0, part.dim), np.float32)
    return read_vectors(part.cohort.file, "a cohort", part.dim)


def read_classes(part: DetectorPart) -> ClassVectors | None:
    """The labels in vectors; None where the file knows its classes itself. BundleError for anything else."""
    from kinsight.types import ClassVectors

    if part.classes is None:
        return None
    vectors = read_vectors(part.classes.file, "vectors of classes")
    if len(vectors) != len(part.labels):
        raise BundleError(
            f"{part.classes.file} holds {len(vectors)} vectors for {len(part.labels)} labels", AGAIN
        )
    return ClassVectors(part.labels, vectors)


def read_vectors(path: Path, what: str, dim: int | None = None) -> Floats:
    """float32 (n, dim), unit length, of a .npy file that is named as `what` where BundleError refuses it."""
    import numpy as np

    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as cause:
        raise BundleError(f"{path} cannot be read as {what} ({cause})", AGAIN) from None
    fits = isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 and vectors.ndim == 2
    if not fits or dim not in (None, vectors.shape[1]):
        raise BundleError(f"{path} holds no float32 vectors{f' of {dim} numbers' if dim else ''}", AGAIN)
    if not (np.abs(np.linalg.norm(vectors, axis=1) - 1) <= 1e-3).all():
        raise BundleError(f"{path} holds vectors that are not of unit length", AGAIN)
    read: Floats = vectors
    return read
