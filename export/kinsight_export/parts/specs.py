"""What a bundle is made of: the parts with their sources, and the tables that they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from kinsight.bundle import Bundle, Calibration, Head, Preprocess, Sees, World
from kinsight.home import expanded

_LABELS, _CLASSES = "labels.txt", "classes.npy"
_FACES, _RECOGNISER = "face-detector.onnx", "face-recogniser.onnx"
Sources: TypeAlias = dict[str, Path]
Hashes: TypeAlias = Mapping[str, str]
"""Name in the bundle or part -> sha256."""


@dataclass(frozen=True)
class DetectorSpec:
    """The detector's files and how to run it."""

    file: Path
    labels: Path  # one label a line, by class number
    head: Head
    preprocess: Preprocess
    score_threshold: float = 0.1  # 0..1
    iou_threshold: float = 0.5  # 0..1
    licence: str | None = None  # None where the bundle's own holds
    classes: Path | None = None  # .npy with a vector a label, where the file is told what to look for


@dataclass(frozen=True)
class TextSpec:
    """The embedder's text tower."""

    file: Path
    tokenizer: Path
    context: int  # tokens


@dataclass(frozen=True)
class EmbedderSpec:
    """The embedder's files and how to run them."""

    id: str
    dim: int
    image: Path
    preprocess: Preprocess
    text: TextSpec | None = None
    calibration: Calibration | None = None
    licence: str | None = None  # None where the bundle's own holds


@dataclass(frozen=True)
class LlmSpec:
    """The language model's files and how to run them."""

    file: Path
    sees: Sees
    context: int  # tokens
    max_references: int
    stop: tuple[str, ...]
    smoke: str
    mmproj: Path | None = None
    image_max_tokens: int | None = None  # required with an mmproj
    licence: str | None = None  # None where the bundle's own holds


@dataclass(frozen=True)
class FacesSpec:
    """The models for faces, of the shapes of YuNet and SFace, and when two faces are one person's."""

    id: str
    dim: int
    detector: Path
    recogniser: Path
    score_threshold: float  # of the detector, 0..1
    calibration: Calibration
    licence: str | None = None  # None where the bundle's own holds


PartSpec: TypeAlias = DetectorSpec | EmbedderSpec | LlmSpec


@dataclass(frozen=True)
class BundleSpec:
    """Everything of which a bundle is made; paths are those of the sources."""

    name: str
    version: str
    world: World
    licence: str
    detector: DetectorSpec
    embedder: EmbedderSpec
    llm: LlmSpec | None = None
    faces: FacesSpec | None = None
    parity: Mapping[str, Any] = field(default_factory=dict)


def parts_of(bundle: Bundle) -> tuple[DetectorSpec, EmbedderSpec]:
    """The detector and the embedder of a bundle, for another one; its cohort is left behind."""
    detector, embedder, tower = bundle.detector, bundle.embedder, bundle.embedder.text
    eyes = DetectorSpec(
        detector.file,
        bundle.folder / _LABELS,
        detector.head,
        detector.preprocess,
        detector.score_threshold,
        detector.iou_threshold,
        classes=detector.classes.file if detector.classes else None,
    )
    towers = EmbedderSpec(
        embedder.id,
        embedder.dim,
        embedder.image.file,
        embedder.image.preprocess,
        TextSpec(tower.file, tower.tokenizer, tower.context) if tower else None,
        embedder.calibration,
    )
    return eyes, towers


def sources_of(
    detector: DetectorSpec | None,
    embedder: EmbedderSpec | None,
    llm: LlmSpec | None,
    faces: FacesSpec | None = None,
) -> Sources:
    """Name in the bundle or part -> source; of the parts that are there."""
    text = embedder.text if embedder else None
    sources = {
        "detector.onnx": detector and detector.file,
        _LABELS: detector and detector.labels,
        _CLASSES: detector and detector.classes,
        "image.onnx": embedder and embedder.image,
        "text.onnx": text and text.file,
        "tokenizer.json": text and text.tokenizer,
        _FACES: faces and faces.detector,
        _RECOGNISER: faces and faces.recogniser,
        "llm.gguf": llm and llm.file,
        "mmproj.gguf": llm and llm.mmproj,
    }
    return {name: expanded(source) for name, source in sources.items() if source}


def detector_table(detector: DetectorSpec, hashes: Hashes) -> dict[str, Any]:
    """[detector] in the order of the contract."""
    return {
        **_hashed("detector.onnx", hashes),
        "head": detector.head,
        **_preprocess(detector.preprocess),
        "labels": _LABELS,
        "score_threshold": detector.score_threshold,
        "iou_threshold": detector.iou_threshold,
        "licence": detector.licence,
        "classes": _hashed(_CLASSES, hashes) if detector.classes else None,
    }


def embedder_table(embedder: EmbedderSpec, hashes: Hashes) -> dict[str, Any]:
    """[embedder] in the order of the contract."""
    text, calibration = embedder.text, embedder.calibration
    return {
        "id": embedder.id,
        "dim": embedder.dim,
        "licence": embedder.licence,
        "image": {**_hashed("image.onnx", hashes), **_preprocess(embedder.preprocess)},
        "text": {**_hashed("text.onnx", hashes), "tokenizer": "tokenizer.json", "context": text.context}
        if text
        else None,
        "calibration": calibration.table() if calibration else None,
    }


def faces_table(faces: FacesSpec, hashes: Hashes) -> dict[str, Any]:
    """[faces] in the order of the contract."""
    return {
        "id": faces.id,
        "dim": faces.dim,
        "score_threshold": faces.score_threshold,
        "licence": faces.licence,
        "detector": _hashed(_FACES, hashes),
        "recogniser": _hashed(_RECOGNISER, hashes),
        "calibration": faces.calibration.table(),
    }


def llm_table(llm: LlmSpec, hashes: Hashes) -> dict[str, Any]:
    """[llm] in the order of the contract."""
    return {
        **_hashed("llm.gguf", hashes),
        "mmproj": "mmproj.gguf" if llm.mmproj else None,
        "mmproj_sha256": hashes.get("mmproj.gguf"),
        "sees": llm.sees,
        "context": llm.context,
        "max_references": llm.max_references,
        "image_max_tokens": llm.image_max_tokens,
        "stop": llm.stop,
        "smoke": llm.smoke,
        "licence": llm.licence,
    }


def _hashed(name: str, hashes: Hashes) -> dict[str, str]:
    return {"file": name, "sha256": hashes[name]}


def _preprocess(preprocess: Preprocess) -> dict[str, Any]:
    values = asdict(preprocess)
    if preprocess.resize != "letterbox":
        del values["anchor"], values["pad"]
    return values
