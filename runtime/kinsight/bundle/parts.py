"""The frozen dataclasses of a bundle: what the device half knows about its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kinsight.errors import ModelError

World = Literal["drawn", "photos"]
Head = Literal["yolox", "yolov8", "end2end", "detr"]
Colour = Literal["bgr", "rgb"]
Resize = Literal["letterbox", "stretch", "shortest-side-centre-crop"]
Anchor = Literal["top-left", "centre"]
Sees = Literal["photo+references", "photo", "nothing"]


@dataclass(frozen=True)
class Preprocess:
    """How pixels become a model's input: resize, order the colours, (pixel * scale - mean) / std."""

    size_wh: tuple[int, int]  # pixels
    colour: Colour
    scale: float  # per pixel value 0..255
    mean: tuple[float, float, float]  # in the order of `colour`, after `scale`
    std: tuple[float, float, float]  # in the order of `colour`, after `scale`
    resize: Resize
    anchor: Anchor = "top-left"  # where a letterboxed photo lies; no meaning otherwise
    pad: int = 114  # pixel value 0..255 around a letterboxed photo; no meaning otherwise


@dataclass(frozen=True)
class VectorFile:
    """Vectors of unit length."""

    file: Path  # .npy, float32 (n, dim)
    sha256: str


@dataclass(frozen=True)
class DetectorPart:
    """Photo -> boxes."""

    file: Path
    sha256: str
    head: Head
    preprocess: Preprocess
    labels: tuple[str, ...]  # by class number
    score_threshold: float  # 0..1
    iou_threshold: float  # 0..1
    classes: VectorFile | None = None  # of the labels; None where the file knows its classes itself
    licence: str = ""  # "" where the bundle's own holds


@dataclass(frozen=True)
class ImageTower:
    """Crop -> vector."""

    file: Path
    sha256: str
    preprocess: Preprocess


@dataclass(frozen=True)
class TextTower:
    """Words -> vector in the same space."""

    file: Path
    sha256: str
    tokenizer: Path
    context: int  # tokens


@dataclass(frozen=True)
class Calibration:
    """The probability that two pictures of one similarity show the same individual."""

    curve: tuple[tuple[float, float], ...]  # (cosine -1..1, probability 0..1), neither ever falling
    accept_probability: float  # 0..1
    unsure_probability: float  # 0..1, at most accept_probability
    margin: float  # 0..1, over the next concept
    fitted_on: str  # in words
    estimated: bool = False  # nothing was measured: said wherever it is used
    gains: tuple[float, ...] = ()  # 0..1, what anybody's score gains with two, three, ... views

    def table(self) -> dict[str, Any]:
        """As it stands in bundle.toml, where a measured one need not say so, nor one that knows no gains."""
        return {**asdict(self), "estimated": self.estimated or None, "gains": self.gains or None}


@dataclass(frozen=True)
class EmbedderPart:
    """Both towers of one embedding space; vectors and thresholds belong to `id`."""

    id: str
    dim: int
    image: ImageTower
    text: TextTower | None = None
    calibration: Calibration | None = None
    cohort: VectorFile | None = None  # individuals that nobody asks about; its calibration was fitted with it
    licence: str = ""  # "" where the bundle's own holds


@dataclass(frozen=True)
class FacesPart:
    """Photo -> faces -> vectors, by which persons are known; models of the shapes of YuNet and SFace."""

    id: str  # stored with every vector
    dim: int
    detector: Path
    detector_sha256: str
    recogniser: Path
    recogniser_sha256: str
    score_threshold: float  # of the detector, 0..1
    calibration: Calibration  # of the cosine of two faces
    licence: str = ""  # "" where the bundle's own holds


@dataclass(frozen=True)
class LlmPart:
    """The language model, with or without its picture encoder."""

    file: Path
    sha256: str
    mmproj: Path | None
    mmproj_sha256: str | None
    sees: Sees
    context: int  # tokens
    max_references: int
    image_max_tokens: int | None  # tokens; always there with an mmproj
    stop: tuple[str, ...]
    smoke: str  # what a first try must show, in words
    licence: str = ""  # "" where the bundle's own holds


@dataclass(frozen=True)
class Bundle:
    """A folder that was read and found to keep the contract; the hashes are a matter of `verify`."""

    folder: Path
    name: str
    version: str
    world: World
    licence: str  # of the strictest part
    detector: DetectorPart
    embedder: EmbedderPart
    llm: LlmPart | None = None
    faces: FacesPart | None = None
    parity: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def language_model(self) -> LlmPart:
        """`llm`, for those who cannot do without; ModelError where there is none."""
        if self.llm is None:
            problem = f"the bundle {self.name} has no language model"
            raise ModelError(problem, "use another bundle for ask, caption and chat")
        return self.llm

    def hashes(self) -> list[tuple[Path, str]]:
        """(file, the sha256 in hex that bundle.toml gives for it)."""
        text, llm = self.embedder.text, self.llm
        pairs = [
            (self.detector.file, self.detector.sha256),
            (self.embedder.image.file, self.embedder.image.sha256),
        ]
        if text:
            pairs.append((text.file, text.sha256))
        pairs += [(each.file, each.sha256) for each in (self.detector.classes, self.embedder.cohort) if each]
        if faces := self.faces:
            pairs += [(faces.detector, faces.detector_sha256), (faces.recogniser, faces.recogniser_sha256)]
        if llm:
            pairs.append((llm.file, llm.sha256))
        if llm and llm.mmproj and llm.mmproj_sha256:
            pairs.append((llm.mmproj, llm.mmproj_sha256))
        return pairs
