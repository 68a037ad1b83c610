"""Reads a bundle: bundle.toml against its contract, then the files that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kinsight.bundle.contract import CONTRACT, FORMAT
from kinsight.bundle.files import AGAIN, BUNDLE_TOML, check_gguf, check_onnx, inside, is_bundle
from kinsight.bundle.parts import (
    Bundle,
    Calibration,
    DetectorPart,
    EmbedderPart,
    FacesPart,
    ImageTower,
    LlmPart,
    Preprocess,
    TextTower,
    VectorFile,
)
from kinsight.errors import BundleError
from kinsight.home import expanded
from kinsight.tomlread import StrictToml

_Values = dict[str, Any]


def read_bundle(folder: str | Path) -> Bundle:
    """The bundle in a folder; BundleError names the first thing that is against the contract.

    Whether the files have the hashes that bundle.toml gives is for `verify_bundle` or `check_hashes` to say.
    """
    return bundle_of(*open_bundle_toml(folder))


def bundle_of(folder: Path, toml: StrictToml) -> Bundle:
    """The bundle that this bundle.toml makes of a folder; BundleError as `read_bundle`."""
    return _Reader(folder, toml).bundle()


def open_bundle_toml(folder: str | Path) -> tuple[Path, StrictToml]:
    """(the folder, its parsed bundle.toml of a format that is known here)."""
    folder = expanded(folder).resolve()
    if not is_bundle(folder):
        raise BundleError(
            f"{folder} is not a bundle, it has no {BUNDLE_TOML} that can be read",
            "name a folder that `kinsight-export bundle` wrote",
        )
    toml = StrictToml.open(inside(folder, BUNDLE_TOML, BUNDLE_TOML), BundleError)
    head = toml.raw.get("bundle")
    written = head.get("format") if isinstance(head, dict) else None
    if type(written) is int and written != FORMAT:
        raise toml.refuse(
            "bundle.format", f"is {written}", f"update kinsight, as this version reads format {FORMAT} only"
        )
    return folder, toml


class _Reader:
    """Makes the parts of one bundle out of its checked values and files."""

    def __init__(self, folder: Path, toml: StrictToml) -> None:
        self.folder = folder
        self.toml = toml
        self.values = toml.read(CONTRACT)

    def bundle(self) -> Bundle:
        head, llm = self.values["bundle"], self.values["llm"]
        if self.values["detector"]["classes"] and not self.values["embedder"]["text"]:
            raise self.toml.refuse(
                "detector.classes",
                "means nothing without words",
                "add embedder.text, or export the detector with its classes inside",
            )
        return Bundle(
            folder=self.folder,
            name=head["name"],
            version=head["version"],
            world=head["world"],
            licence=head["licence"],
            detector=self._detector(self.values["detector"]),
            embedder=self._embedder(self.values["embedder"]),
            llm=self._llm(llm) if llm else None,
            faces=self._faces(self.values["faces"]) if self.values["faces"] else None,
            parity=self.values["parity"],
        )

    def _detector(self, values: _Values) -> DetectorPart:
        return DetectorPart(
            file=self._onnx(values, "detector"),
            sha256=values["sha256"],
            head=values["head"],
            preprocess=self._preprocess(values, "detector"),
            labels=read_labels(inside(self.folder, values["labels"], "detector.labels")),
            score_threshold=values["score_threshold"],
            iou_threshold=values["iou_threshold"],
            classes=self._vectors(values["classes"], "detector.classes"),
            licence=values["licence"],
        )

    def _embedder(self, values: _Values) -> EmbedderPart:
        image, text_values, calibration = values["image"], values["text"], values["calibration"]
        return EmbedderPart(
            id=values["id"],
            dim=values["dim"],
            image=ImageTower(
                file=self._onnx(image, "embedder.image"),
                sha256=image["sha256"],
                preprocess=self._preprocess(image, "embedder.image"),
            ),
            text=self._text(text_values) if text_values else None,
            calibration=self._calibration(calibration) if calibration else None,
            cohort=self._vectors(values["cohort"], "embedder.cohort"),
            licence=values["licence"],
        )

    def _text(self, values: _Values) -> TextTower:
        return TextTower(
            file=self._onnx(values, "embedder.text"),
            sha256=values["sha256"],
            tokenizer=inside(self.folder, values["tokenizer"], "embedder.text.tokenizer"),
            context=values["context"],
        )

    def _faces(self, values: _Values) -> FacesPart:
        detector, recogniser = values["detector"], values["recogniser"]
        return FacesPart(
            id=values["id"],
            dim=values["dim"],
            detector=self._onnx(detector, "faces.detector"),
            detector_sha256=detector["sha256"],
            recogniser=self._onnx(recogniser, "faces.recogniser"),
            recogniser_sha256=recogniser["sha256"],
            score_threshold=values["score_threshold"],
            calibration=self._calibration(values["calibration"], "faces"),
            licence=values["licence"],
        )

    def _calibration(self, values: _Values, table: str = "embedder") -> Calibration:
        if values["accept_probability"] < values["unsure_probability"]:
            raise self.toml.refuse(
                f"{table}.calibration.accept_probability",
                "is below unsure_probability",
                "make it at least as high",
            )
        return Calibration(**values)

    def _llm(self, values: _Values) -> LlmPart:
        mmproj = values["mmproj"]
        companions = {f"llm.{key}": values[key] for key in ("mmproj_sha256", "image_max_tokens")}
        self._only_with("llm.mmproj", mmproj is not None, companions)
        if values["sees"] != "nothing" and mmproj is None:
            raise self.toml.refuse(
                "llm.sees", f"is {values['sees']!r} without an mmproj", 'write "nothing", or add llm.mmproj'
            )
        return LlmPart(
            file=self._gguf(values["file"], "llm.file"),
            sha256=values["sha256"],
            mmproj=self._gguf(mmproj, "llm.mmproj") if mmproj else None,
            mmproj_sha256=values["mmproj_sha256"],
            sees=values["sees"],
            context=values["context"],
            max_references=values["max_references"],
            image_max_tokens=values["image_max_tokens"],
            stop=values["stop"],
            smoke=values["smoke"],
            licence=values["licence"],
        )

    def _preprocess(self, values: _Values, table: str) -> Preprocess:
        companions = {f"{table}.{key}": values[key] for key in ("anchor", "pad")}
        self._only_with('resize = "letterbox"', values["resize"] == "letterbox", companions)
        keys = Preprocess.__dataclass_fields__
        return Preprocess(**{key: values[key] for key in keys if values[key] is not None})

    def _only_with(self, what: str, there: bool, companions: _Values) -> None:
        for key, value in companions.items():
            if there and value is None:
                raise self.toml.refuse(key, "is missing", f"add it, as {what} needs it")
            if not there and value is not None:
                raise self.toml.refuse(key, f"means nothing without {what}", "remove it, or add that")

    def _onnx(self, values: _Values, table: str) -> Path:
        path = inside(self.folder, values["file"], f"{table}.file")
        check_onnx(path)
        return path

    def _vectors(self, values: _Values | None, table: str) -> VectorFile | None:
        if not values:
            return None
        return VectorFile(inside(self.folder, values["file"], f"{table}.file"), values["sha256"])

    def _gguf(self, name: str, key: str) -> Path:
        path = inside(self.folder, name, key)
        check_gguf(path)
        return path


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels of a text file, one a line, by class number. Raises BundleError where a line has none."""
    try:
        labels = tuple(path.read_text(encoding="utf-8-sig").rstrip().split("\n"))
    except UnicodeDecodeError:
        raise BundleError(f"{path} is not a UTF-8 text", AGAIN) from None
    labels = tuple(label.strip() for label in labels)
    if not all(labels):
        raise BundleError(
            f"{path} has no label in line {labels.index('') + 1}", "write one label in every line"
        )
    return labels
