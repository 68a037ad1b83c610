"""Writes a bundle from its parts: copied, hashed, read back, and put in place whole or not at all."""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np

from kinsight.bundle import (
    Bundle,
    Calibration,
    Head,
    Preprocess,
    Sees,
    World,
    check_hashes,
    read_bundle,
    read_cohort,
)
from kinsight.bundle.contract import FORMAT
from kinsight.bundle.files import BUNDLE_TOML, is_bundle
from kinsight.bundle.read import bundle_of, open_bundle_toml
from kinsight.bundle.verify import sha256_of
from kinsight.errors import BundleError
from kinsight.home import expanded, write_private
from kinsight.tomlread import StrictToml
from kinsight.types import Floats
from kinsight_export.tomlwrite import toml_bytes


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
class BundleSpec:
    """Everything of which a bundle is made; paths are those of the sources."""

    name: str
    version: str
    world: World
    licence: str
    detector: DetectorSpec
    embedder: EmbedderSpec
    llm: LlmSpec | None = None
    parity: Mapping[str, Any] = field(default_factory=dict)


def write_bundle(spec: BundleSpec, out: Path, replace: bool = False) -> Bundle:
    """Make the bundle in a folder beside `out`, read it back with its hashes, then rename it to `out`.

    A bundle that is there already is refused without `replace`, and kept until the new one is whole.
    BundleError where a source is missing, the parts are against the contract or the disk refuses.
    """
    out = expanded(out).resolve()
    with _staging(out) as staging:
        _refuse_taken(out, replace)
        hashes = _copy(_sources(spec), staging)
        (staging / BUNDLE_TOML).write_bytes(_bundle_toml(_tables(spec, hashes)))
        try:
            check_hashes(read_bundle(staging))
        except BundleError as error:
            raise BundleError(error.problem.replace(str(staging), str(out)), error.mend) from None
        _put_in_place(staging, out)
    return read_bundle(out)


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
        embedder = {**toml.raw["embedder"], "calibration": asdict(calibration), "cohort": written}
        data = _bundle_toml({**toml.raw, "embedder": embedder})
        bundle = bundle_of(folder, StrictToml.parse(toml.path, data, BundleError))
        read_cohort(bundle.embedder)
        write_private(toml.path, data, mode=mode)
        kept = bundle.embedder.cohort
    except OSError as cause:
        raise BundleError(f"{toml.path} cannot be written ({cause.strerror})", _DISK) from None
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


_DISK = "make the folder writable and its disk roomy enough"


def _sources(spec: BundleSpec) -> dict[str, Path]:
    """Name in the bundle -> source."""
    text, llm = spec.embedder.text, spec.llm
    sources = {
        "detector.onnx": spec.detector.file,
        "labels.txt": spec.detector.labels,
        "image.onnx": spec.embedder.image,
        "text.onnx": text and text.file,
        "tokenizer.json": text and text.tokenizer,
        "llm.gguf": llm and llm.file,
        "mmproj.gguf": llm and llm.mmproj,
    }
    return {name: expanded(source) for name, source in sources.items() if source}


def _copy(sources: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """Name in the bundle -> sha256 of the source."""
    for source in sources.values():
        if not source.is_file():
            raise BundleError(f"there is no file {source}", "check the path")
    for name, source in sources.items():
        shutil.copyfile(source, folder / name)
    return {name: sha256_of(source) for name, source in sources.items()}


def _bundle_toml(tables: Mapping[str, Any]) -> bytes:
    try:
        return toml_bytes(tables)
    except UnicodeEncodeError as cause:
        raise BundleError(
            f"a text for {BUNDLE_TOML} is not Unicode ({cause.reason})", "write it in UTF-8"
        ) from None


def _tables(spec: BundleSpec, hashes: Mapping[str, str]) -> dict[str, Any]:
    """bundle.toml as nested tables, in the order of the contract."""
    detector, llm = spec.detector, spec.llm
    return {
        "bundle": {
            "format": FORMAT,
            "name": spec.name,
            "version": spec.version,
            "world": spec.world,
            "licence": spec.licence,
        },
        "detector": {
            **_hashed("detector.onnx", hashes),
            "head": detector.head,
            **_preprocess(detector.preprocess),
            "labels": "labels.txt",
            "score_threshold": detector.score_threshold,
            "iou_threshold": detector.iou_threshold,
            "licence": detector.licence,
        },
        "embedder": _embedder(spec.embedder, hashes),
        "llm": _llm(llm, hashes) if llm else None,
        "parity": spec.parity,
    }


def _embedder(embedder: EmbedderSpec, hashes: Mapping[str, str]) -> dict[str, Any]:
    text, calibration = embedder.text, embedder.calibration
    return {
        "id": embedder.id,
        "dim": embedder.dim,
        "licence": embedder.licence,
        "image": {**_hashed("image.onnx", hashes), **_preprocess(embedder.preprocess)},
        "text": {**_hashed("text.onnx", hashes), "tokenizer": "tokenizer.json", "context": text.context}
        if text
        else None,
        "calibration": asdict(calibration) if calibration else None,
    }


def _llm(llm: LlmSpec, hashes: Mapping[str, str]) -> dict[str, Any]:
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


def _hashed(name: str, hashes: Mapping[str, str]) -> dict[str, str]:
    return {"file": name, "sha256": hashes[name]}


def _preprocess(preprocess: Preprocess) -> dict[str, Any]:
    values = asdict(preprocess)
    if preprocess.resize != "letterbox":
        del values["anchor"], values["pad"]
    return values


def _refuse_taken(out: Path, replace: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise BundleError(f"{out} is not a folder", "choose another one")
    if any(out.iterdir()) and not (replace and is_bundle(out)):
        mend = "choose another folder, or pass --replace" if is_bundle(out) else "choose another folder"
        raise BundleError(f"{out} is there already and not empty", mend)


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A new folder beside `out`, which is gone afterwards unless it was renamed; BundleError for OSError."""
    staging = out.parent / f".{out.name}.{token_hex(4)}"
    try:
        staging.mkdir(parents=True)
        yield staging
    except OSError as cause:
        raise BundleError(f"{out} cannot be written ({cause})", _DISK) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(staging: Path, out: Path) -> None:
    old = staging.with_name(f"{staging.name}.old")
    if out.exists():
        out.rename(old)
    try:
        staging.rename(out)
    except OSError:
        with suppress(FileNotFoundError):
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
