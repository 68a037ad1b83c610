"""How much memory an answer takes beside the language model, told before anything for it is loaded."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from kinsight.bundle import Bundle
from kinsight.image import stored_pixels
from kinsight.llm import Beside
from kinsight.types import Photo

_MIB = 1 << 20
_RUNTIME = 22 * _MIB  # ONNX Runtime's code, and what its first session takes
_ASKING = 6 * _MIB  # recall, and the words and pictures of a question
_WEIGHTS = 1.25, 3.25  # of a file's bytes: a transformer's, a convolutional network's
_DETECTOR = 64, 160  # bytes for each pixel of the model's input
_EMBEDDER = 24, 96  # the same, of every crop
_CROPS = 21  # of a photo at most, itself included
_PIXEL = 3  # bytes of a decoded photo's
_UNKNOWN = 12_000_000  # pixels of a photo whose file does not tell


def ahead(bundle: Bundle, photo: Photo | str | Path | None, there: Collection[str], worker: bool) -> Beside:
    """What an assistant will load before the language model, at least, and how much more that may be.

    `there` are its attributes that are loaded already. Measured on convolutional networks and on one of
    matrices only; the least counts for a refusal, the most for what is advised then. PhotoError where the
    photo's file is none.
    """
    if photo is None:
        return Beside(worker=worker)
    files, most_px, least_px = 0, 0, 0
    if "_seeker" not in there:
        files += _size(bundle.detector.file)
        width, height = bundle.detector.preprocess.size_wh
        least_px, most_px = (width * height * each for each in _DETECTOR)
    if "embedder" not in there:
        files += _size(bundle.embedder.image.file)
        width, height = bundle.embedder.image.preprocess.size_wh
        least_px += _CROPS * width * height * _EMBEDDER[0]
        most_px += _CROPS * width * height * _EMBEDDER[1]
    if bundle.faces and "face_models" not in there:
        files += _size(bundle.faces.detector) + _size(bundle.faces.recogniser)
    if bundle.detector.classes and bundle.embedder.text and "_seeker" not in there:
        most_px += int(_WEIGHTS[1] * _size(bundle.embedder.text.file))  # read where a category is no label
    fixed = _ASKING + (_RUNTIME if {"_seeker", "embedder"} - set(there) else 0)
    pixels = 0 if isinstance(photo, Photo) else _PIXEL * (stored_pixels(photo) or _UNKNOWN)
    least, most = (int(each * files) for each in _WEIGHTS)
    return Beside(
        coming=fixed + pixels + least + least_px, spare=most + most_px - least - least_px, worker=worker
    )


def _size(file: Path) -> int:
    """Bytes; 0 where it is not there, which whoever loads it will say."""
    return file.stat().st_size if file.exists() else 0
