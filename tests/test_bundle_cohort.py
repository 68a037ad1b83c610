"""The cohort of a bundle: written with a calibration, read back, and refused where it is something else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from kinsight.bundle import Calibration, check_hashes, read_bundle, read_cohort
from kinsight.errors import BundleError
from kinsight_export.parts import rewrite_calibration

CALIBRATION = Calibration(((0.1, 0.0), (0.9, 1.0)), 0.8, 0.4, 0.1, "by hand")


def test_a_cohort_comes_and_goes_with_its_calibration(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "mine"))
    dim = read_bundle(folder).embedder.dim
    assert read_cohort(read_bundle(folder).embedder).shape == (0, dim)
    for count in (3, 2):
        cohort = np.eye(dim, dtype=np.float32)[:count]
        bundle = rewrite_calibration(folder, CALIBRATION, cohort)
        check_hashes(bundle)
        np.testing.assert_array_equal(read_cohort(bundle.embedder), cohort)
        assert len(list(folder.glob("cohort-*.npy"))) == 1
    with pytest.raises(BundleError, match="not of unit length"):
        rewrite_calibration(folder, CALIBRATION, 2 * np.eye(dim, dtype=np.float32))
    np.testing.assert_array_equal(read_cohort(read_bundle(folder).embedder), cohort)
    assert rewrite_calibration(folder, CALIBRATION).embedder.cohort is None
    assert list(folder.glob("cohort-*.npy")) == []


@pytest.mark.parametrize("content", [b"", b"no numbers", b"\x93NUMPY\x01\x00"])
def test_a_damaged_cohort_is_refused(tiny_bundle: Path, tmp_path: Path, content: bytes) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "mine"))
    dim = read_bundle(folder).embedder.dim
    bundle = rewrite_calibration(folder, CALIBRATION, np.eye(dim, dtype=np.float32)[:3])
    assert bundle.embedder.cohort
    bundle.embedder.cohort.file.write_bytes(content)
    with pytest.raises(BundleError, match="cannot be read as a cohort"):
        read_cohort(bundle.embedder)
    with pytest.raises(BundleError, match="is damaged"):
        check_hashes(bundle)


def test_vectors_of_another_embedder_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "mine"))
    with pytest.raises(BundleError, match="holds no float32 vectors of"):
        rewrite_calibration(folder, CALIBRATION, np.eye(5, dtype=np.float32))
