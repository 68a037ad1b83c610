"""Real weights on real photos: heads, recall, abstention; skipped where the kit is absent."""

from __future__ import annotations

import importlib.util
import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from kinsight.assistant import Assistant, Choices, Lesson
from kinsight.bundle import Bundle, DetectorPart, Preprocess, read_bundle
from kinsight.bundle.parts import Anchor, Colour, Head, Resize
from kinsight.config import load_device
from kinsight.detect import Detector
from kinsight.drawn.album import Recipe, draw_album, write_album
from kinsight.embed import Embedder
from kinsight.evaluate import Reader, fit_on, measure
from kinsight.evaluate.lookalikes import at_threshold, negatives, photo_pairs
from kinsight.image import load
from kinsight.metrics import iou
from kinsight.recall import Rules
from kinsight_export.cli import cli

ROOT = Path(__file__).parents[1]
KIT = Path(os.environ.get("KINSIGHT_KIT") or ROOT.parent / "shared" / "kit")
DOG = KIT / "photos/dreambooth/dog8/02.jpg"

pytestmark = [
    pytest.mark.kit,
    pytest.mark.skipif(not (KIT / "photos").is_dir(), reason="the kit of real weights and photos is absent"),
]


def rule(size: int, colour: Colour, scale: float, resize: Resize, anchor: Anchor = "top-left") -> Preprocess:
    return Preprocess((size, size), colour, scale, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), resize, anchor)


DETECTORS: dict[str, tuple[str, Head, Preprocess]] = {
    "yolox": ("yolox_nano/yolox_nano.onnx", "yolox", rule(416, "bgr", 1.0, "letterbox")),
    "yolov8": ("yolo11n_int8/yolo11n_int8.onnx", "yolov8", rule(320, "rgb", 1 / 255, "letterbox", "centre")),
    "detr-femto": ("deimv2/deimv2_hgnetv2_femto_coco.onnx", "detr", rule(416, "rgb", 1 / 255, "stretch")),
    "detr-atto": ("deimv2/deimv2_hgnetv2_atto_coco.onnx", "detr", rule(320, "rgb", 1 / 255, "stretch")),
}


@pytest.fixture(scope="module", params=["devise", "mobilenet"])
def kit_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    spec = importlib.util.spec_from_file_location("make_kit_bundle", ROOT / "export/make_kit_bundle.py")
    assert spec and spec.loader
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    folder = tmp_path_factory.mktemp("kit")
    tokenizer = folder / "tokenizer.json"
    maker.clip_tokenizer(KIT / "weights/clip_tokenizer").save(str(tokenizer))
    options = Namespace(kit=KIT, out=folder / "bundle", detector="deimv2", embedder=request.param)
    cli(maker.bundle_arguments(options, tokenizer), standalone_mode=False)
    return read_bundle(folder / "bundle")


@pytest.mark.parametrize("name", DETECTORS)
def test_real_detectors_find_the_dog(name: str) -> None:
    file, head, preprocess = DETECTORS[name]
    labels = tuple((KIT / "weights/yolox_nano/coco_classes.txt").read_text(encoding="utf-8").splitlines())
    part = DetectorPart(KIT / "weights" / file, "", head, preprocess, labels, 0.3, 0.5)
    regions = Detector(part, load_device()).detect(load(DOG).pixels)
    assert regions.labels[0] == "dog"
    dog = np.array([[107, 45, 520, 600]], np.float32)  # drawn by hand
    assert iou(regions.xyxy[:1], dog)[0, 0] > 0.8


def test_clip_tokenizer_is_the_real_one(kit_bundle: Bundle) -> None:
    if kit_bundle.embedder.text is None:
        pytest.skip("an image-only embedder has no tokenizer")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(kit_bundle.embedder.text.tokenizer))
    assert tokenizer.encode("A photo of a cat").ids[:7] == [49406, 320, 1125, 539, 320, 2368, 49407]


def test_right_ones_first_and_strangers_unnamed(kit_bundle: Bundle) -> None:
    """From one picture of each, and from three; every subject by a fit on the others."""
    device, photos = load_device(), KIT / "photos"
    reader = Reader(Detector(kit_bundle.detector, device), Embedder(kit_bundle.embedder, device))
    strangers = reader.strangers([photos / "scenes", photos / "break_a_scene", photos / "mcpl_real"])
    identities = reader.identities(photos / "dreambooth")
    vocabulary = frozenset(label.casefold() for label in kit_bundle.detector.labels)
    report, _ = measure(identities, strangers, vocabulary)
    assert (report.identities, report.queries, report.strangers) == (15, 66, 123)
    assert report.recall_at_1 >= 65 / 66
    assert report.misnamed == 0
    assert report.accepted_right >= 0.92
    assert report.wrongly_named <= 0.03
    assert report.auroc >= 0.99
    report, _ = measure(identities, strangers, vocabulary, references=3)
    assert (report.shots, report.queries, report.strangers) == (3, 180, 615)
    assert report.accepted_right >= 0.97
    assert report.wrongly_named <= 0.02


def test_one_not_this_one_suffices_for_the_dogs(kit_bundle: Bundle) -> None:
    """Every ordered pair of the four at threshold 0: all is named but for what the negative keeps from it.

    The cohort is of the other identities.
    """
    device = load_device()
    reader = Reader(Detector(kit_bundle.detector, device), Embedder(kit_bundle.embedder, device))
    dogs = ("dog", "dog3", "dog6", "dog8")
    shots = reader.identities(KIT / "photos/dreambooth")
    fitted = fit_on([shot for shot in shots if shot.identity not in dogs], "other identities")
    rules = at_threshold(Rules(fitted.calibration, frozenset(), fitted.cohort), 0.0)
    found = negatives(photo_pairs(shots, dogs), rules, lambda what, done, total: None)
    assert (found.pairs, found.others, found.named_before) == (12, 270, 270)
    assert found.named_after == 0
    assert found.lost <= 1 and found.trials_lost_more_than_one == 0


def test_drawn_concepts_are_in_no_real_photo(tmp_path: Path) -> None:
    """With twenty drawn concepts in the store the pocket bundle names nobody in any photo of the kit."""
    album = draw_album(11, Recipe(concepts=20, scenes=1))
    taught, _ = write_album(album, tmp_path / "album")
    photos = sorted(path for path in (KIT / "photos").rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))
    assert len(photos) > 100
    with Assistant.open(Choices(tmp_path / "home", "pocket")) as assistant:
        for pupil, path in zip(album.pupils, taught, strict=True):
            assistant.remember(path, Lesson(pupil.name, pupil.individual.kind, pupil.info))
        named = {path.name: [m.concept for _, m in assistant.look(path).accepted()] for path in photos}
    assert {name: concepts for name, concepts in named.items() if concepts} == {}
