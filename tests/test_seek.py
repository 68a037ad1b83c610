"""A detector that is told in vectors what to look for: the bundle's labels, and what was taught."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinsight.assistant import Assistant, Lesson
from kinsight.bundle import Bundle, VectorFile, read_bundle
from kinsight.config import DeviceConfig
from kinsight.detect import Detector
from kinsight.embed import Embedder
from kinsight.errors import BundleError, ConfigError, ModelError
from kinsight.home import open_home
from kinsight.image import load
from kinsight.store import Changes
from kinsight.types import ClassVectors
from kinsight_export.parts import read_part, spec_of, write_part
from kinsight_export.trial import try_classes
from tiny import DIM, Blob, BlobPhoto, make_bundle, make_open_bundle

HERE, THERE, ELSEWHERE = (100, 100, 300, 300), (400, 380, 600, 600), (40, 420, 220, 560)
BLOBS = (Blob("red", HERE), Blob("blue", THERE), Blob("green", ELSEWHERE))


@pytest.fixture(scope="module")
def open_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_open_bundle(tmp_path_factory.mktemp("open") / "open")


@pytest.fixture
def told(home: Path, open_bundle: Bundle, device: DeviceConfig) -> Iterator[Assistant]:
    with Assistant(open_home(home), open_bundle, device) as assistant:
        yield assistant


def words_of(bundle: Bundle, device: DeviceConfig, *labels: str) -> ClassVectors:
    return ClassVectors(labels, Embedder(bundle.embedder, device).texts(labels))


def test_it_finds_what_it_is_told_to_look_for(
    open_bundle: Bundle, device: DeviceConfig, blob_photo: BlobPhoto
) -> None:
    pixels = load(blob_photo(BLOBS)).pixels
    detector = Detector(open_bundle.detector, device)
    found = detector.detect(pixels)
    assert set(found.labels) == {"red", "blue"} and len(found) == 2
    three = detector.looking_for(words_of(open_bundle, device, "blue", "green", "red"))
    boxes = {label: three.detect(pixels).box(row) for row, label in enumerate(three.detect(pixels).labels)}
    assert boxes == {"red": HERE, "blue": THERE, "green": ELSEWHERE}
    one = detector.looking_for(words_of(open_bundle, device, "green"))
    assert one.detect(pixels).labels == ("green",)
    assert detector.detect(pixels).labels == found.labels and one.session is detector.session


def test_a_category_that_is_taught_is_looked_for_from_then_on(told: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo(BLOBS)
    assert set(told.look(photo).regions.labels) == {"red", "blue"}
    told.remember(blob_photo([Blob("green", HERE)]), Lesson("Ivy", " Green "), box=HERE)
    assert set(told.look(photo).regions.labels) == {"red", "blue", "green"}
    assert [match.concept for _, match in told.look(photo).accepted()] == ["Ivy"]
    told.store.edit("Ivy", Changes(category="RED"))
    assert set(told.look(photo).regions.labels) == {"red", "blue"}
    told.store.forget("Ivy")
    assert told.detector.part.labels == ("red", "blue")


def test_its_words_are_asked_for_only_where_something_was_taught(
    told: Assistant, blob_photo: BlobPhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    own = Embedder.texts
    monkeypatch.setattr(Embedder, "texts", lambda self, texts: asked.append(tuple(texts)) or own(self, texts))
    told.look(blob_photo(BLOBS))
    assert asked == []
    told.remember(blob_photo([Blob("green", HERE)]), Lesson("Ivy", "green"), box=HERE)
    for _ in range(2):
        told.look(blob_photo(BLOBS))
    assert asked == [("green",)]


def test_a_part_keeps_its_classes(open_bundle: Bundle, tmp_path: Path) -> None:
    spec = spec_of(open_bundle.folder)
    part = read_part(write_part(spec.detector, {}, tmp_path / "part").folder)
    assert part.spec == replace(spec.detector, file=part.folder / "detector.onnx",
        labels=part.folder / "labels.txt", classes=part.folder / "classes.npy")  # fmt: skip
    try_classes(spec.detector, spec.embedder)
    np.save(tmp_path / "others.npy", np.eye(2, DIM, dtype=np.float32))
    others = replace(spec.detector, classes=tmp_path / "others.npy")
    sentence = r"vectors of other words than those of tiny-1: take the embedder that was its --words, or"
    with pytest.raises(ConfigError, match=sentence):
        try_classes(others, spec.embedder)
    with pytest.raises(ConfigError, match=sentence):
        try_classes(spec.detector, replace(spec.embedder, text=None))


def test_what_does_not_fit_is_refused(open_bundle: Bundle, device: DeviceConfig, tmp_path: Path) -> None:
    part = open_bundle.detector
    with pytest.raises(ModelError, match=r"takes its classes as vectors: give their file in \[detector.cl"):
        Detector(replace(part, classes=None), device)
    closed = make_bundle(tmp_path / "closed", calibrated=False).detector
    with pytest.raises(ModelError, match=r"does not take its classes as vectors: leave out their file"):
        Detector(replace(closed, labels=part.labels, classes=part.classes), device)
    for vectors, error, sentence in (
        (np.eye(2, 5), ModelError, "takes classes as vectors of 32 numbers, and 5 are given: make them with"),
        (np.eye(3, DIM), BundleError, "holds 3 vectors for 2 labels"),
        (2 * np.eye(2, DIM), BundleError, "not of unit length"),
    ):
        np.save(tmp_path / "other.npy", vectors.astype(np.float32))
        with pytest.raises(error, match=sentence):
            Detector(replace(part, classes=VectorFile(tmp_path / "other.npy", "")), device)


def test_classes_without_words_mean_nothing(open_bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(open_bundle.folder, tmp_path / "mute"))
    toml = folder / "bundle.toml"
    text = toml.read_text(encoding="utf-8")
    without = re.sub(r"\[embedder\.text\](.|\n)*?(?=\[embedder\.cal)", "", text)
    assert without != text
    toml.write_text(without, encoding="utf-8")
    with pytest.raises(BundleError, match=r"'detector.classes' means nothing without words in .*: add emb"):
        read_bundle(folder)
