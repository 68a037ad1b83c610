"""Runs every part of a bundle once before it is written: a part that does not run is never bundled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from kinsight.bundle import (
    DetectorPart,
    EmbedderPart,
    ImageTower,
    LlmPart,
    TextTower,
    VectorFile,
    read_classes,
)
from kinsight.bundle.read import read_labels
from kinsight.config import DeviceConfig
from kinsight.detect import Detector
from kinsight.embed import Embedder
from kinsight.errors import BundleError, ConfigError, ModelError
from kinsight.image import FaceModels
from kinsight.llm import Generation, Picture, Text, Turn, load_llm
from kinsight.session import CPU, Session
from kinsight.types import Floats, Pixels
from kinsight_export.gate.compare import lowest_cosine
from kinsight_export.parts import DetectorSpec, EmbedderSpec, FacesSpec, LlmSpec

WORKSTATION = DeviceConfig("workstation", (CPU,), threads=0, memory_mb=4096)
_FEW, _SAME = 4, 0.999  # labels, and the cosine of two vectors of the same words
_SFACE = "give models of the shapes of YuNet and SFace, as OpenCV has them"
_OF_BUNDLES = ("restore the ", "name the right head ")  # how mends of files in bundles begin
GET_AGAIN = "get the file again, or export it again"
ANOTHER_HEAD = "name another head with --head, or give the right --labels"
_TEXTS = ("a red dog", "two blue cars at night")


@contextmanager
def not_yet_bundled(mend: str) -> Iterator[None]:
    """For files that are in no bundle yet: takes the place of a mend that is to see to one."""
    try:
        yield
    except (ModelError, BundleError) as error:
        if not error.mend.startswith(_OF_BUNDLES):
            raise
        raise type(error)(error.problem, mend) from error


def refuse_other_size(file: Path, size_wh: tuple[int, int]) -> None:
    """ConfigError where a graph takes pictures of one size, which is another."""
    own = _own_size(file)
    if own and own != size_wh:
        (width, height), (wide, high) = own, size_wh
        raise ConfigError(
            f"{file.name} takes pictures of {width} x {height}, not of {wide} x {high}",
            "leave the size out, or export the model again with that size",
        )


def _own_size(file: Path) -> tuple[int, int] | None:
    """Width and height of a graph's picture; None where they are free."""
    shapes = [shape for shape in Session(file, WORKSTATION).inputs.values() if len(shape) == 4]
    height, width = shapes[0][2:] if shapes else (None, None)
    return (width, height) if height and width else None


def input_size(file: Path, settings: dict[str, str], default: int | None) -> tuple[int, int]:
    """Width and height of a graph's picture: as set, else as the graph says, else the default.

    Raises ConfigError where none of them tells.
    """
    if "size_wh" in settings:
        return 0, 0  # replaced by the setting
    if own := _own_size(file):
        return own
    if default:
        return default, default
    raise ConfigError(f"{file.name} takes pictures of any size", "say which with size_wh=W,H")


def vector_length(file: Path, preprocess_size: tuple[int, int]) -> int:
    """The dimension of an image tower's vectors, found by running it once."""
    session = Session(file, WORKSTATION)
    width, height = preprocess_size
    name = next(iter(session.inputs))
    (vectors, *_) = session.run({name: np.zeros((1, 3, height, width), np.float32)}).values()
    if vectors.ndim != 2:
        raise BundleError(
            f"{file.name} gives the shape {vectors.shape} for one picture",
            "export the tower with its pooling",
        )
    return int(vectors.shape[1])


def detector_part(spec: DetectorSpec, labels: tuple[str, ...]) -> DetectorPart:
    """What the runtime takes, before there is a bundle."""
    classes = VectorFile(spec.classes, "") if spec.classes else None
    return DetectorPart(
        spec.file, "", spec.head, spec.preprocess, labels, spec.score_threshold, spec.iou_threshold, classes
    )


def embedder_part(spec: EmbedderSpec) -> EmbedderPart:
    """What the runtime takes, before there is a bundle."""
    text = TextTower(spec.text.file, "", spec.text.tokenizer, spec.text.context) if spec.text else None
    return EmbedderPart(spec.id, spec.dim, ImageTower(spec.image, "", spec.preprocess), text)


def try_detector(spec: DetectorSpec) -> None:
    """Runs it on one picture. Raises ModelError where the head is another, BundleError without labels."""
    Detector(detector_part(spec, read_labels(spec.labels)), WORKSTATION).detect(_picture())


def try_embedder(spec: EmbedderSpec) -> None:
    """Runs both towers once. Raises ModelError where one does not run, BundleError where all is one to it."""
    embedder = Embedder(embedder_part(spec), WORKSTATION)
    _refuse_equal(embedder.images([_picture(), _picture()[:, ::-1] // 2]), spec.image, "pictures")
    if spec.text:
        _refuse_equal(embedder.texts(_TEXTS), spec.text.file, "texts")


def try_classes(detector: DetectorSpec, embedder: EmbedderSpec) -> None:
    """Holds the vectors of a detector's classes against the embedder's words: what you teach becomes a class.

    ConfigError where they are not of the same text tower.
    """
    classes = read_classes(detector_part(detector, read_labels(detector.labels)))
    if classes is None:
        return
    words = np.zeros((0, 0), np.float32)
    if embedder.text:
        words = Embedder(embedder_part(embedder), WORKSTATION).texts(classes.labels[:_FEW])
    if words.shape[1] != classes.vectors.shape[1] or lowest_cosine(words, classes.vectors[:_FEW]) < _SAME:
        raise ConfigError(
            f"the classes of {detector.file.name} are vectors of other words than those of {embedder.id}",
            "take the embedder that was its --words, or export the detector without --open-classes",
        )


def face_vector_length(recogniser: Path) -> int:
    """The dimension of a recogniser's vectors, found by running it once on a picture of its own size.

    ModelError where it does not run, BundleError where it gives no vector.
    """
    session = Session(recogniser, WORKSTATION)
    (name, shape), *_ = session.inputs.items()
    picture = np.zeros([1, *(side or 112 for side in shape[1:])], np.float32)
    (vectors, *_) = session.run({name: picture}).values()
    if vectors.ndim != 2:
        raise BundleError(f"{recogniser.name} gives the shape {vectors.shape} for one face", _SFACE)
    return int(vectors.shape[1])


def try_faces(spec: FacesSpec) -> None:
    """Looks for faces in one picture. ModelError where OpenCV cannot load or run one of the models."""
    try:
        FaceModels(spec.detector, spec.recogniser, spec.score_threshold).faces(_picture())
    except ModelError as error:
        raise ModelError(error.problem, _SFACE) from error


def try_llm(spec: LlmSpec) -> None:
    """Has it say one token, about a picture where it sees. Raises ModelError where it does not load or run,
    MissingPackage without llama-cpp-python."""
    part = LlmPart(
        file=spec.file,
        sha256="",
        mmproj=spec.mmproj,
        mmproj_sha256=None,
        sees=spec.sees,
        context=spec.context,
        max_references=spec.max_references,
        image_max_tokens=spec.image_max_tokens,
        stop=spec.stop,
        smoke=spec.smoke,
    )
    picture = () if spec.sees == "nothing" or not spec.mmproj else (Picture(_picture()),)
    with load_llm(part, WORKSTATION) as llm:
        for _ in llm.generate([Turn("user", (*picture, Text("What is this?")))], Generation(max_tokens=1)):
            pass


def _refuse_equal(vectors: Floats, tower: Path, what: str) -> None:
    if np.allclose(vectors[0], vectors[1]):
        raise BundleError(
            f"{tower.name} gives the same vector for different {what}", "export the right tower"
        )


def _picture() -> Pixels:
    """uint8 (96, 128, 3): coloured ramps and a bright square."""
    y, x = np.mgrid[0:96, 0:128]
    pixels = np.stack([2 * x, 2 * y, (x * y) // 48], axis=2).astype(np.uint8)
    pixels[20:60, 30:70] = (240, 40, 40)
    return pixels
