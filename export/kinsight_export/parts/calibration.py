"""Gives a bundle another calibration, and the cohort that it was fitted with."""

from __future__ import annotations

import hashlib
import io
import stat
from pathlib import Path

import numpy as np

from kinsight.bundle import Bundle, Calibration, read_cohort
from kinsight.bundle.read import bundle_of, open_bundle_toml
from kinsight.errors import BundleError
from kinsight.home import write_private
from kinsight.tomlread import StrictToml
from kinsight.types import Floats
from kinsight_export.parts.writing import DISK, toml_of


def rewrite_calibration(
    bundle_folder: Path, calibration: Calibration, cohort: Floats | None = None
) -> Bundle:
    """Give a bundle this calibration; everything else in its bundle.toml stays, but for comments.

    `cohort`, float32 (g, dim), is what it was fitted with; the bundle has none where there is none.
    BundleError, with the old file untouched, where the result is against the contract or cannot be written.
    """
    folder, toml = open_bundle_toml(bundle_folder)
    before = bundle_of(folder, toml).embedder.cohort
    mode = stat.S_IMODE(toml.path.stat().st_mode)
    kept = before
    try:
        written = None if cohort is None or not len(cohort) else _write_cohort(folder, cohort, mode)
        embedder = {**toml.raw["embedder"], "calibration": calibration.table(), "cohort": written}
        data = toml_of({**toml.raw, "embedder": embedder})
        bundle = bundle_of(folder, StrictToml.parse(toml.path, data, BundleError))
        read_cohort(bundle.embedder)
        write_private(toml.path, data, mode=mode)
        kept = bundle.embedder.cohort
    except OSError as cause:
        raise BundleError(f"{toml.path} cannot be written ({cause.strerror})", DISK) from None
    finally:
        for path in set(folder.glob(_COHORT.format("*"))) - ({kept.file} if kept else set()):
            path.unlink(missing_ok=True)
    return bundle


_COHORT = "cohort-{}.npy"


def _write_cohort(folder: Path, cohort: Floats, mode: int) -> dict[str, str]:
    """Under a name of its own, so that the old bundle stays whole until its bundle.toml is replaced."""
    buffer = io.BytesIO()
    np.save(buffer, cohort.astype("<f4"), allow_pickle=False)
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    name = _COHORT.format(sha256[:8])
    write_private(folder / name, buffer.getvalue(), mode=mode)
    return {"file": name, "sha256": sha256}
