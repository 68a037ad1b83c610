"""Ultralytics' detectors from its own configs: exported, judged, run; its licence is accepted by name."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")

import sabotage
from kinsight.bundle.read import read_labels
from kinsight.detect import Detector
from kinsight.errors import ConfigError, ModelError, ParityError
from kinsight.types import ClassVectors, Floats
from kinsight_export.adopted import Thresholds
from kinsight_export.cli import main
from kinsight_export.gate import Report
from kinsight_export.gate.compare import tensor_difference
from kinsight_export.gate.detector import judge_detector
from kinsight_export.gate.pictures import smooth_pictures
from kinsight_export.making import Pictures, make_detector
from kinsight_export.parts import DetectorSpec
from kinsight_export.sources import DetectorSource, Vocabulary
from kinsight_export.sources.ultralytics_yolo import open_yolo
from kinsight_export.trial import WORKSTATION, detector_part

pytestmark = pytest.mark.ultralytics

SIZE = (192, 160)
PICTURES = Pictures(smooth_pictures()[:3], "3 smooth pictures")


def begun(source: str, size: tuple[int, int], words: Vocabulary | None) -> DetectorSource:
    """With the same random weights whatever ran before."""
    torch.manual_seed(1)
    return open_yolo(source, size, words)


def stirred(source: DetectorSource) -> DetectorSource:
    """With layers that matter and scores that say something: as it is begun, little gets through."""
    torch.manual_seed(2)
    network = source.module.model
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the mean of all that it sees
            layer.reset_running_stats()
    network.train()
    with torch.no_grad():
        for pixels in PICTURES.pixels:
            network(torch.from_numpy(source.prepare(pixels))[None].repeat(2, 1, 1, 1))
    network.eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # what hardly varies is not blown up
            layer.running_var.clamp_(min=0.15)
    head = network.model[-1]
    for name in ("cv3", "one2one_cv3"):
        for branch in getattr(head, name, None) or []:
            with torch.no_grad():
                branch[-1].weight.normal_(0, 0.2)
                branch[-1].bias.fill_(-3.0)
    return source


def figures(report: Report) -> dict[str, float]:
    """Of the preprocessing and the raw outputs, both kept; boxes of random weights are a matter of ties."""
    kept = {check.name: check for check in report.checks if check.name != "boxes"}
    assert set(kept) == {"preprocessing", "picture numbers", "raw outputs", "labels"}
    assert all(check.kept for check in kept.values())
    return {name: check.figure for name, check in kept.items()}


def texts(labels: Sequence[str], dim: int = 512) -> Floats:
    """A vector of its own for every text."""
    rows = [np.random.default_rng(zlib.crc32(label.encode())).normal(size=dim) for label in labels]
    vectors = np.array(rows, np.float32)
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


FIVE = Vocabulary(tuple(f"thing {row}" for row in range(5)), texts, "clip-b-32")


@pytest.fixture(scope="module")
def yolo11(tmp_path_factory: pytest.TempPathFactory) -> tuple[DetectorSource, DetectorSpec]:
    source = stirred(begun("yolo11n.yaml", SIZE, None))
    spec, report = make_detector(source, tmp_path_factory.mktemp("yolo11"), Thresholds(), PICTURES)
    figures(report)
    return source, spec


@pytest.mark.parametrize(
    ("config", "head"), [("yolov8n.yaml", "yolov8"), ("yolo11n.yaml", "yolov8"), ("yolo26n.yaml", "end2end")]
)
def test_a_yolo_is_what_it_was(config: str, head: str, tmp_path: Path) -> None:
    source = stirred(begun(config, SIZE, None))
    spec, report = make_detector(source, tmp_path, Thresholds(), PICTURES)
    assert (spec.head, spec.licence, len(source.labels)) == (head, "AGPL-3.0", 80)
    assert figures(report)["raw outputs"] < 1e-3


def test_yolo_world_with_words_baked_in(tmp_path: Path) -> None:
    source = begun("yolov8s-worldv2.yaml", (96, 96), FIVE)
    spec, report = make_detector(source, tmp_path, Thresholds(), PICTURES)
    figures(report)
    assert read_labels(spec.labels) == tuple(f"thing {row}" for row in range(5))
    with pytest.raises(ConfigError, match=r"yolo11n.yaml takes no other classes: use a YOLO-World v2"):
        open_yolo("yolo11n.yaml", SIZE, FIVE)
    few = dataclasses.replace(FIVE, texts=lambda labels: texts(labels, 32))
    with pytest.raises(ConfigError, match=r"vectors of 32 numbers, this model takes 512: use the embedder"):
        open_yolo("yolov8s-worldv2.yaml", (96, 96), few)


@pytest.fixture(scope="module")
def open_world(tmp_path_factory: pytest.TempPathFactory) -> tuple[DetectorSource, DetectorSpec, Report]:
    source = begun("yolov8s-worldv2.yaml", (96, 96), dataclasses.replace(FIVE, as_input=True))
    for head in source.module.model.model[-1].cv4:  # as it is begun, all scores are nothing
        torch.nn.init.constant_(head.bias, -2.0)
        torch.nn.init.constant_(head.logit_scale, 1.0)
    spec, report = make_detector(source, tmp_path_factory.mktemp("world"), Thresholds(), PICTURES)
    return source, spec, report


def test_yolo_world_with_classes_as_an_input(
    open_world: tuple[DetectorSource, DetectorSpec, Report],
) -> None:
    source, spec, report = open_world
    kept = {check.name: check.figure for check in report.checks if check.name != "boxes"}
    print(kept)
    assert kept["raw outputs"] <= 1e-3 and kept["other classes"] > 0.1
    labels = read_labels(spec.labels)
    detector = Detector(detector_part(dataclasses.replace(spec, score_threshold=0.01), labels), WORKSTATION)
    pixels = PICTURES.pixels[0]
    assert set(detector.detect(pixels).labels) <= set(FIVE.labels) and len(detector.detect(pixels))
    others = ClassVectors(("a mug", "a dog", "a kite"), texts(("a mug", "a dog", "a kite")))
    found = detector.looking_for(others)
    assert set(found.detect(pixels).labels) <= set(others.labels) and len(found.detect(pixels))
    chw = detector.prepared(pixels)
    for classes in (others, ClassVectors(("a mug",), texts(("a mug",)))):
        (given,) = detector.session.run(detector.looking_for(classes).feeds(chw)).values()
        with torch.no_grad():
            wanted = source.module(torch.from_numpy(chw)[None], torch.from_numpy(classes.vectors)[None])
        assert given.shape == (1, 4 + len(classes.labels), 189)
        assert tensor_difference(given, wanted.numpy()) <= 1e-3
        assert tensor_difference(given[:, 4:], wanted[:, 4:].numpy()) <= 1e-3


def test_classes_that_are_inside_all_the_same_are_caught(
    open_world: tuple[DetectorSource, DetectorSpec, Report], tmp_path: Path
) -> None:
    source, spec, _ = open_world
    deaf = dataclasses.replace(spec, file=sabotage.deaf(spec.file, tmp_path / "deaf.onnx"))
    broken = {check.name: check for check in judge_detector(source, deaf, PICTURES.pixels, "").broken()}
    assert "the classes are inside the file all the same" in broken["other classes"].cause
    assert "raw outputs" in broken


def test_a_yolo_world_asks_for_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["detector", "yolov8s-worldv2.yaml", "--accept", "AGPL-3.0", "--open-classes", "--out", "x"])
    assert "--open-classes and --words belong together: pass both" in capfd.readouterr().err


def test_yoloe_with_words_baked_in(tmp_path: Path) -> None:
    from ultralytics import YOLOE

    model = YOLOE("yoloe-11s.yaml")
    torch.manual_seed(3)
    model.model.eval()
    model.model.set_classes(["a mug", "a dog"], torch.nn.functional.normalize(torch.randn(1, 2, 512), dim=-1))
    model.save(str(tmp_path / "yoloe-mine.pt"))
    source = begun(str(tmp_path / "yoloe-mine.pt"), (96, 96), None)
    assert source.labels == ("a mug", "a dog")
    figures(make_detector(source, tmp_path, Thresholds(), PICTURES)[1])


@pytest.mark.parametrize(
    ("keys", "cause"),
    [({"colour": "bgr"}, "red and blue are swapped"), ({"pad": 0}, "the border of a letterbox has another")],
)
def test_a_wrong_preprocessing_is_caught(
    yolo11: tuple[DetectorSource, DetectorSpec], keys: dict[str, object], cause: str
) -> None:
    source, spec = yolo11
    wrong = dataclasses.replace(spec, preprocess=dataclasses.replace(spec.preprocess, **keys))
    report = judge_detector(source, wrong, PICTURES.pixels, PICTURES.words)
    assert cause in {check.name: check.cause for check in report.broken()}["preprocessing"]
    with pytest.raises(ParityError, match=cause):
        report.require()


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [(sabotage.zeroed, "a layer is lost"), (sabotage.suppressed_inside, "boxes are suppressed twice")],
)
def test_a_spoiled_file_is_caught(
    yolo11: tuple[DetectorSource, DetectorSpec],
    tmp_path: Path,
    spoil: Callable[[Path, Path], Path],
    cause: str,
) -> None:
    source, spec = yolo11
    spoiled = dataclasses.replace(spec, file=spoil(spec.file, tmp_path / "spoiled.onnx"))
    report = judge_detector(source, spoiled, PICTURES.pixels, PICTURES.words)
    assert cause in {check.name: check.cause for check in report.broken()}["raw outputs"]


def test_the_runtime_finds_its_boxes(yolo11: tuple[DetectorSource, DetectorSpec]) -> None:
    spec = dataclasses.replace(yolo11[1], score_threshold=0.01)
    found = Detector(detector_part(spec, read_labels(spec.labels)), WORKSTATION).detect(PICTURES.pixels[0])
    assert len(found) > 3


def test_the_licence_is_accepted_by_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["detector", "yolov8n.yaml", "--size", "96", "--out", str(tmp_path / "part")]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 1
    assert "is under AGPL-3.0, which asks for more than to be named: read it" in capfd.readouterr().err
    with pytest.raises(SystemExit) as left:
        main([*words, "--accept", "AGPL-3.0"])
    assert left.value.code == 0
    assert 'licence = "AGPL-3.0"' in (tmp_path / "part" / "part.toml").read_text(encoding="utf-8")


def test_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "no.pt").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"Ultralytics cannot load no.pt \(.*\): get the file again"):
        open_yolo(str(tmp_path / "no.pt"), None, None)
    with pytest.raises(ModelError, match=r"there is no file .*gone.pt: download the weights first"):
        open_yolo(str(tmp_path / "gone.pt"), None, None)
    with pytest.raises(ModelError, match=r"is a model for the task classify: use one that detects things"):
        open_yolo("yolo11n-cls.yaml", None, None)
