"""Reads a part: a folder with part.toml, which is a bundle.toml with one of its three parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinsight.bundle import Calibration, Preprocess
from kinsight.bundle.contract import CONTRACT, FORMAT
from kinsight.bundle.files import AGAIN, check_gguf, check_onnx, inside
from kinsight.bundle.verify import sha256_of
from kinsight.errors import BundleError
from kinsight.home import expanded
from kinsight.tomlread import ANY_TABLE, Key, Kind, StrictToml, Table, optional
from kinsight_export.parts.specs import DetectorSpec, EmbedderSpec, FacesSpec, LlmSpec, PartSpec, TextSpec

PART_TOML = "part.toml"


@dataclass(frozen=True)
class Part:
    """A part that was read, with its hashes checked."""

    folder: Path
    spec: PartSpec
    parity: Mapping[str, Any]  # report -> its rows, as under [parity]


def is_part(folder: Path) -> bool:
    """Whether the folder has a part.toml that can be read."""
    return os.access(folder / PART_TOML, os.R_OK)


def read_part(folder: str | Path) -> Part:
    """The part in a folder; BundleError names the first thing that is against the contract."""
    folder = expanded(folder).resolve()
    if not is_part(folder):
        raise BundleError(
            f"{folder} is not a part, it has no {PART_TOML} that can be read",
            "name a folder that a verb for parts of `kinsight-export` wrote",
        )
    toml = StrictToml.open(folder / PART_TOML, BundleError)
    values = toml.read(_contract())
    there = [kind for kind in _READERS if values[kind]]
    if len(there) != 1:
        raise BundleError(f"{toml.path} holds {len(there)} parts", "write one part a folder")
    return Part(folder, _READERS[there[0]](folder, values[there[0]]), values["parity"])


def _contract() -> Table:
    """As that of bundle.toml, but for its head, and every part may be absent."""
    parts = {kind: table for kind in _READERS if isinstance(table := CONTRACT.entries[kind], Table)}
    head = Table({"format": Key(Kind(str(FORMAT), lambda value: type(value) is int and value == FORMAT))})
    optional_parts = {kind: replace(table, required=False) for kind, table in parts.items()}
    return Table({"part": head, **optional_parts, "parity": optional(ANY_TABLE, {})})


def detector_of(folder: Path, values: Mapping[str, Any]) -> DetectorSpec:
    """The detector of a folder and its checked values. BundleError where a file is damaged."""
    classes = values["classes"]
    return DetectorSpec(
        file=_onnx(folder, values),
        labels=inside(folder, values["labels"], "detector.labels"),
        head=values["head"],
        preprocess=_preprocess(values),
        score_threshold=values["score_threshold"],
        iou_threshold=values["iou_threshold"],
        licence=values["licence"] or None,
        classes=_whole(folder, classes["file"], classes["sha256"]) if classes else None,
    )


def embedder_of(folder: Path, values: Mapping[str, Any]) -> EmbedderSpec:
    """The same of the embedder, without its calibration."""
    text = values["text"]
    return EmbedderSpec(
        id=values["id"],
        dim=values["dim"],
        image=_onnx(folder, values["image"]),
        preprocess=_preprocess(values["image"]),
        text=TextSpec(
            _onnx(folder, text), inside(folder, text["tokenizer"], "embedder.text.tokenizer"), text["context"]
        )
        if text
        else None,
        licence=values["licence"] or None,
    )


def faces_of(folder: Path, values: Mapping[str, Any]) -> FacesSpec:
    """The same of the models for faces, with their calibration."""
    return FacesSpec(
        id=values["id"],
        dim=values["dim"],
        detector=_onnx(folder, values["detector"]),
        recogniser=_onnx(folder, values["recogniser"]),
        score_threshold=values["score_threshold"],
        calibration=Calibration(**values["calibration"]),
        licence=values["licence"] or None,
    )


def llm_of(folder: Path, values: Mapping[str, Any]) -> LlmSpec:
    """The same of the language model."""
    mmproj = values["mmproj"]
    file = _whole(folder, values["file"], values["sha256"])
    eyes = _whole(folder, mmproj, values["mmproj_sha256"]) if mmproj else None
    for gguf in (file, eyes):
        if gguf:
            check_gguf(gguf)
    return LlmSpec(
        file=file,
        sees=values["sees"],
        context=values["context"],
        max_references=values["max_references"],
        stop=values["stop"],
        smoke=values["smoke"],
        mmproj=eyes,
        image_max_tokens=values["image_max_tokens"],
        licence=values["licence"] or None,
    )


def _preprocess(values: Mapping[str, Any]) -> Preprocess:
    keys = Preprocess.__dataclass_fields__
    return Preprocess(**{key: values[key] for key in keys if values[key] is not None})


def _onnx(folder: Path, values: Mapping[str, Any]) -> Path:
    path = _whole(folder, values["file"], values["sha256"])
    check_onnx(path)
    return path


def _whole(folder: Path, name: str, sha256: str | None) -> Path:
    path = inside(folder, name, "file")
    if sha256_of(path) != sha256:
        raise BundleError(f"{path} is damaged: its hash is not that of {PART_TOML}", AGAIN)
    return path


_READERS: dict[str, Callable[[Path, Mapping[str, Any]], PartSpec]] = {
    "detector": detector_of,
    "embedder": embedder_of,
    "llm": llm_of,
}
