"""The product end to end on the tiny bundle: taught once, recognised elsewhere, silent before strangers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinsight.assistant import Assistant, Choices, Lesson
from kinsight.bundle import Bundle, read_bundle
from kinsight.config import DeviceConfig, load_device
from kinsight.errors import (
    BundleError,
    DuplicateName,
    ModelError,
    PhotoError,
    RegionError,
    UnknownConcept,
)
from kinsight.home import open_home
from kinsight.image import load, save
from kinsight.store import Changes
from kinsight.types import Box, Scene, scene_json
from tiny import Blob, BlobPhoto, draw, make_bundle

HERE, THERE, ELSEWHERE = (100, 100, 300, 300), (400, 380, 600, 600), (40, 420, 220, 560)


def named(scene: Scene) -> list[tuple[str, Box]]:
    """(name, box) of every accepted region."""
    return [(match.concept, scene.regions.box(row)) for row, match in scene.accepted() if row is not None]


@pytest.fixture(scope="module")
def lala_store(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lala")
    save(draw([Blob("red", HERE)]), folder / "lala.png")
    home = open_home(folder / "home")
    with Assistant(home, read_bundle(tiny_bundle), load_device("laptop-cpu")) as teacher:
        teacher.remember(folder / "lala.png", Lesson("Lala", "box", "Lala is five."))
    return home.store


@pytest.fixture
def lala(home: Path, lala_store: Path, bundle: Bundle, device: DeviceConfig) -> Iterator[Assistant]:
    """An assistant that knows Lala, who is red."""
    folder = open_home(home)
    shutil.copy(lala_store, folder.store)
    with Assistant(folder, bundle, device) as opened:
        yield opened


def test_one_who_was_taught_once_is_recognised_elsewhere(lala: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([Blob("red", THERE, "ball"), Blob("blue", HERE), Blob("green", ELSEWHERE, "cone")])
    scene = lala.look(photo)
    assert named(scene) == [("Lala", THERE)]
    assert scene.unsure() == []
    assert scene.bundle == "tiny"
    assert len(scene.regions) == len(scene.matches) == 3
    assert scene.vectors.shape == (4, 32)


@pytest.mark.parametrize("colour", ["orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown"])
def test_a_stranger_stays_unnamed(colour: str, lala: Assistant, blob_photo: BlobPhoto) -> None:
    scene = lala.look(blob_photo([Blob(colour, HERE)]))
    assert scene.accepted() == scene.unsure() == []
    assert scene.matches[0][0].decision == "unknown"


def test_somebody_much_alike_is_a_maybe(lala: Assistant, blob_photo: BlobPhoto) -> None:
    scene = lala.look(blob_photo([Blob((240, 75, 30), HERE)]))
    assert [(row, match.concept) for row, match in scene.unsure()] == [(0, "Lala")]
    assert scene.accepted() == []


def test_of_two_alike_in_one_photo_one_is_named(lala: Assistant, blob_photo: BlobPhoto) -> None:
    scene = lala.look(blob_photo([Blob("red", HERE), Blob("red", THERE)]))
    assert len(named(scene)) == 1


def test_several_are_told_apart(lala: Assistant, blob_photo: BlobPhoto) -> None:
    lala.remember(blob_photo([Blob("blue", HERE)]), Lesson("Tom"))
    lala.remember(blob_photo([Blob("green", HERE)]), Lesson("Ann"))
    scene = lala.look(blob_photo([Blob("green", HERE), Blob("red", THERE), Blob("blue", ELSEWHERE)]))
    assert sorted(named(scene)) == [("Ann", HERE), ("Lala", THERE), ("Tom", ELSEWHERE)]


def test_a_pale_one_that_no_box_shows_is_known_by_the_whole_photo(
    assistant: Assistant, blob_photo: BlobPhoto
) -> None:
    pale = (150, 100, 100)
    assistant.remember(blob_photo([Blob(pale, (0, 0, 640, 640))]), Lesson("Mars"))
    scene = assistant.look(blob_photo([Blob(pale, (0, 40, 640, 640))]))
    assert len(scene.regions) == 0
    assert [(row, match.concept) for row, match in scene.accepted()] == [(None, "Mars")]


def test_an_empty_store_names_nobody(assistant: Assistant, blob_photo: BlobPhoto) -> None:
    scene = assistant.look(blob_photo([Blob("red", HERE)]))
    assert scene.matches == ((),)
    assert scene.whole_photo == ()


@pytest.mark.parametrize("size_wh", [(1, 1), (4000, 10), (3, 500)])
def test_odd_photos_can_be_looked_at_and_taught(
    size_wh: tuple[int, int], assistant: Assistant, blob_photo: BlobPhoto
) -> None:
    photo = blob_photo([Blob("red", (0, 0, *size_wh))], size_wh)
    assistant.remember(photo, Lesson("Lala"))
    assert [match.concept for _, match in assistant.look(photo).accepted()] == ["Lala"]


# Teaching


def test_what_is_taught_is_kept(lala: Assistant) -> None:
    concept = lala.store.concept("lala")
    assert (concept.name, concept.category, concept.info) == ("Lala", "box", "Lala is five.")
    assert [view.xyxy for view in concept.views] == [HERE]
    picture = lala.reference_picture(concept)
    assert picture is not None
    assert picture.shape == (200, 200, 3)
    assert lala.reference_picture(replace(concept, views=())) is None


def test_several_candidates_are_for_the_user_to_choose_from(
    assistant: Assistant, blob_photo: BlobPhoto
) -> None:
    photo = blob_photo([Blob("red", HERE), Blob("blue", THERE, "ball")])
    with pytest.raises(RegionError, match=r"1: box, at the top left, 10 % of the photo; 2: ball, at"):
        assistant.remember(photo, Lesson("Tom"))
    assert assistant.store.concepts() == []
    tom = assistant.remember(photo, Lesson("Tom"), region=2)
    lala = assistant.remember(photo, Lesson("Lala"), box=(90, 95, 310, 305))
    kim = assistant.remember(photo, Lesson("Kim", "ball"))
    assert [view.xyxy for concept in (tom, lala, kim) for view in concept.views] == [
        THERE,
        (90, 95, 310, 305),
        THERE,
    ]


def test_another_view_makes_a_second_look_known(lala: Assistant, blob_photo: BlobPhoto) -> None:
    in_blue = blob_photo([Blob("blue", HERE)])
    assert named(lala.look(in_blue)) == []
    concept = lala.remember(in_blue, Lesson("LALA", another_view=True))
    assert len(concept.views) == 2
    assert named(lala.look(blob_photo([Blob("blue", THERE)]))) == [("Lala", THERE)]
    assert named(lala.look(blob_photo([Blob("red", THERE)]))) == [("Lala", THERE)]


def test_a_name_is_taken_once_and_a_view_needs_somebody(lala: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([Blob("blue", HERE)])
    with pytest.raises(DuplicateName):
        lala.remember(photo, Lesson("lala"))
    with pytest.raises(UnknownConcept):
        lala.remember(photo, Lesson("Tom", another_view=True))
    assert [concept.name for concept in lala.store.concepts()] == ["Lala"]


# What the store says now is what counts


def test_a_new_name_counts_at_the_next_look(lala: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([Blob("red", THERE)])
    lala.look(photo)
    lala.store.edit("Lala", Changes(name="Lola"))
    assert named(lala.look(photo)) == [("Lola", THERE)]


def test_one_who_is_forgotten_is_a_stranger(lala: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([Blob("red", THERE)])
    lala.look(photo)
    lala.store.forget("Lala")
    assert lala.look(photo).matches == ((),)


def test_what_is_undone_is_unknown_again(lala: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([Blob("red", THERE)])
    assert lala.store.undo() == 'remembered "Lala"'
    assert named(lala.look(photo)) == []


def test_a_category_that_the_detector_contradicts_needs_more(lala: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([Blob((210, 55, 30), THERE)])
    assert named(lala.look(photo)) == [("Lala", THERE)]
    lala.store.edit("Lala", Changes(category="ball"))
    assert [match.decision for _, match in lala.look(photo).unsure()] == ["unsure"]


def test_what_another_process_changes_is_seen(
    lala: Assistant, home: Path, bundle: Bundle, device: DeviceConfig, blob_photo: BlobPhoto
) -> None:
    photo = blob_photo([Blob("red", HERE), Blob("blue", THERE)])
    assert named(lala.look(photo)) == [("Lala", HERE)]
    with Assistant(open_home(home), bundle, device) as other:
        assert named(other.look(photo)) == [("Lala", HERE)]
        other.remember(blob_photo([Blob("blue", HERE)]), Lesson("Tom"))
        other.store.edit("Lala", Changes(name="Lola"))
    assert sorted(named(lala.look(photo))) == [("Lola", HERE), ("Tom", THERE)]


def test_a_photo_is_detected_once(lala: Assistant, blob_photo: BlobPhoto) -> None:
    path = blob_photo([Blob("red", THERE)])
    first, again = lala.look(path), lala.look(shutil.copy(path, path.with_name("copy.png")))
    assert again.vectors is first.vectors
    assert again.regions is first.regions
    assert [again.timings_ms[stage] for stage in ("detect", "embed")] == [
        first.timings_ms[stage] for stage in ("detect", "embed")
    ]
    assert list(first.timings_ms) == ["decode", "detect", "embed", "recall"]
    assert min(first.timings_ms.values()) > 0


def test_only_the_last_photos_are_kept(lala: Assistant, blob_photo: BlobPhoto) -> None:
    path = blob_photo([Blob("red", THERE)])
    first = lala.look(path)
    for shift in range(8):
        lala.look(blob_photo([Blob("red", (shift, 0, 100 + shift, 100))]))
    assert lala.look(path).vectors is not first.vectors


def test_a_photo_that_is_decoded_already_is_taken(lala: Assistant, blob_photo: BlobPhoto) -> None:
    photo = load(blob_photo([Blob("red", THERE)]))
    assert lala.look(photo).photo is photo


def test_a_scene_is_json(lala: Assistant, blob_photo: BlobPhoto) -> None:
    shape = scene_json(lala.look(blob_photo([Blob("red", THERE)])))
    assert shape["photo"]["width"] == shape["photo"]["height"] == 640
    (region,) = shape["regions"]
    assert (region["id"], region["xyxy"], region["label"]) == (1, list(map(float, THERE)), "box")
    (found,) = region["matches"]
    assert (found["concept"], found["decision"]) == ("Lala", "accepted")
    assert shape["whole_photo"] == []


# Bundles


@pytest.fixture(scope="module")
def plain_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Neither calibrated nor with a language model."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "plain", calibrated=False)


@pytest.fixture
def uncalibrated(home: Path, plain_bundle: Bundle, device: DeviceConfig) -> Iterator[Assistant]:
    with Assistant(open_home(home), plain_bundle, device) as opened:
        yield opened


def test_another_embedder_keeps_all_names(
    lala: Assistant, home: Path, bundle: Bundle, device: DeviceConfig, blob_photo: BlobPhoto
) -> None:
    newer = replace(bundle, embedder=replace(bundle.embedder, id="tiny-2"))
    photo = blob_photo([Blob("red", THERE), Blob("blue", HERE)])
    with Assistant(open_home(home), newer, device) as other:
        assert named(other.look(photo)) == [("Lala", THERE)]
        other.remember(blob_photo([Blob("blue", HERE)]), Lesson("Tom"))
    assert sorted(named(lala.look(photo))) == [("Lala", THERE), ("Tom", HERE)]


def test_without_a_calibration_nobody_is_recognised_and_the_mend_is_said(
    uncalibrated: Assistant, blob_photo: BlobPhoto
) -> None:
    with pytest.raises(BundleError, match=r"has no calibration.*kinsight-export calibrate"):
        uncalibrated.look(blob_photo([Blob("red", HERE)]))


def test_without_a_language_model_questions_are_refused_with_the_mend(uncalibrated: Assistant) -> None:
    with pytest.raises(ModelError, match="the bundle tiny has no language model: use another bundle"):
        uncalibrated.ask("What is the capital of France?")


def test_opening_says_what_was_chosen_and_why(tiny_bundle: Path, home: Path) -> None:
    with Assistant.open(Choices(home, str(tiny_bundle), "laptop-cpu")) as assistant:
        assert assistant.reasons == (
            "bundle tiny: asked for with --bundle",
            "device laptop-cpu: asked for with --device",
        )
        assert assistant.home.store.is_file()


def test_opening_refuses_a_bundle_with_a_flipped_byte(tiny_bundle: Path, home: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "damaged"))
    data = bytearray((folder / "image.onnx").read_bytes())
    data[-40] ^= 1
    (folder / "image.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"image\.onnx is damaged"):
        Assistant.open(Choices(home, str(folder)))


def test_a_photo_that_is_not_there_is_one_sentence(lala: Assistant, tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="there is no file"):
        lala.look(tmp_path / "gone.jpg")


def test_what_is_taught_outlives_the_assistant(
    lala: Assistant, home: Path, bundle: Bundle, device: DeviceConfig, blob_photo: BlobPhoto
) -> None:
    lala.close()
    with Assistant(open_home(home), bundle, device) as later:
        assert named(later.look(blob_photo([Blob("red", THERE)]))) == [("Lala", THERE)]
        assert np.linalg.norm(later.store.vectors("tiny-1").views) == pytest.approx(1)
