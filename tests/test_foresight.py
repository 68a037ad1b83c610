"""What an answer will take beside the language model: what is there already is not counted again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinsight.bundle import Calibration, FacesPart, pocket_folder, read_bundle
from kinsight.errors import PhotoError
from kinsight.foresight import ahead
from kinsight.image import encode_jpeg
from kinsight.llm import Beside
from kinsight.types import Photo

MIB = 1 << 20


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 million pixels."""
    file = tmp_path_factory.mktemp("photo") / "photo.jpg"
    file.write_bytes(encode_jpeg(np.zeros((1500, 2000, 3), np.uint8)))
    return file


def test_what_is_there_is_not_counted_again(photo: Path) -> None:
    bundle = read_bundle(pocket_folder())
    decoded = Photo(np.zeros((1500, 2000, 3), np.uint8), "", "")
    everything = ahead(bundle, photo, (), False)
    assert everything.coming - ahead(bundle, decoded, (), False).coming == 9_000_000
    unseen = ahead(bundle, photo, ("_seeker",), False), ahead(bundle, photo, ("embedder",), False)
    files = bundle.detector.file, bundle.embedder.image.file
    for one, file in zip(unseen, files, strict=True):
        assert everything.coming - one.coming >= file.stat().st_size
        assert everything.spare > one.spare > 0
    nothing = ahead(bundle, decoded, ("_seeker", "embedder"), False)
    assert 0 < nothing.coming < 8 * MIB and nothing.spare == 0
    assert ahead(bundle, None, (), True) == Beside(worker=True)


def test_faces_and_the_words_of_categories_count(photo: Path) -> None:
    bundle = read_bundle(pocket_folder())
    plain, text = ahead(bundle, photo, (), False), bundle.embedder.text
    assert text is not None
    faces = FacesPart("faces", 8, text.file, "", text.file, "", 0.5, Calibration((), 0.9, 0.5, 0.0, ""))
    both = ahead(replace(bundle, faces=faces), photo, (), False)
    assert both.coming - plain.coming >= 2 * text.file.stat().st_size


def test_a_file_that_is_no_photo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="there is no file"):
        ahead(read_bundle(pocket_folder()), tmp_path / "none.jpg", (), False)
