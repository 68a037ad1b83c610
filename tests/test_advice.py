"""Teaching aids: what is told of a concept follows from its views, and what is ill is named."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from kinsight.advice import BLURRED, Telling
from kinsight.assistant import Assistant, Lesson
from kinsight.image import sharpness, sketch
from kinsight.types import Box
from terminal import Terminal, fine
from tiny import Blob, BlobPhoto

HERE: Box = (60, 200, 220, 420)
THERE: Box = (380, 160, 600, 400)


def taught(assistant: Assistant, name: str, *photos: Path) -> Telling:
    for number, photo in enumerate(photos):
        concept = assistant.remember(photo, Lesson(name, another_view=number > 0), box=HERE)
    return assistant.telling(concept)


def noise(seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)


def test_one_alone_is_told_apart_and_another_photo_would_help(
    assistant: Assistant, blob_photo: BlobPhoto
) -> None:
    told = taught(assistant, "Lala", blob_photo([Blob("red", HERE)]))
    assert (told.views, told.recognised, told.look_alike) == (1, None, None)
    assert told.lines()[-1] == "One more photo of Lala from the side would help."


def test_the_look_alike_is_named(assistant: Assistant, blob_photo: BlobPhoto) -> None:
    taught(assistant, "Tom", blob_photo([Blob("blue", HERE)]))
    taught(assistant, "Mars", blob_photo([Blob((240, 75, 30), HERE)]))
    told = taught(assistant, "Lala", blob_photo([Blob("red", HERE)]))
    assert told.look_alike is not None
    assert told.look_alike.name == "Mars" and told.look_alike.decision != "unknown" and not told.well
    assert told.lines()[0].startswith("Lala looks much like Mars (0.")
    tom = assistant.telling(assistant.store.concept("Tom"))
    assert tom.look_alike is not None and tom.look_alike.decision == "unknown"


def test_each_view_is_judged_by_the_others(assistant: Assistant, blob_photo: BlobPhoto) -> None:
    red = [blob_photo([Blob("red", HERE), Blob("pink", THERE)]) for _ in range(2)]
    told = taught(assistant, "Lala", *red)
    assert (told.recognised, told.missed) == (2, 0)
    told = taught(assistant, "Tom", blob_photo([Blob("blue", HERE)]), blob_photo([Blob("yellow", HERE)]))
    assert (told.recognised, told.unsure, told.missed) == (0, 0, 2)
    assert any("2 of 2 views show Tom quite otherwise" in line for line in told.lines())


def test_equal_small_and_blurred_views_are_named(assistant: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([Blob("red", HERE)])
    other = taught(assistant, "Tom", blob_photo([Blob("blue", HERE)]))
    told = taught(assistant, "Lala", photo, photo)
    ids = [view.id for view in assistant.store.concept("Lala").views]
    assert ids == [2, 3] and other.same == () and told.same == ((2, 3),)
    assert "Views 2 and 3 are nearly the same picture: one from another side would tell more." in told.lines()
    assistant.remember(photo, Lesson("Tiny"), box=(100, 300, 108, 320))
    told = assistant.telling(assistant.store.concept("Tiny"))
    assert told.small == (4,) and any(line.startswith("View 4 is very small") for line in told.lines())


def test_one_picture_under_two_names_is_remarked(assistant: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([Blob("red", HERE), Blob("red", THERE)])
    taught(assistant, "Lala", photo)
    assistant.remember(photo, Lesson("Twin"), box=THERE)
    twin = assistant.telling(assistant.store.concept("Twin"))
    assert twin.look_alike is not None and not twin.look_alike.same_crop
    told = taught(assistant, "Lola", photo)
    assert told.look_alike is not None
    assert (told.look_alike.name, told.look_alike.same_crop, told.well) == ("Lala", True, False)
    assert told.lines()[0].startswith("Lola was taught from the same picture as Lala: merge them if")


def test_a_blurred_picture_is_less_sharp_and_a_picture_is_like_itself(tmp_path: Path) -> None:
    import cv2

    sharp = cv2.resize(noise(1, 16), (256, 256), interpolation=cv2.INTER_NEAREST)
    assert sharpness(sharp) > BLURRED > sharpness(cv2.GaussianBlur(sharp, (0, 0), 12))
    assert sharpness(np.full((9, 9, 3), 7, np.uint8)) == 1
    assert sketch(noise(1)) @ sketch(noise(1)) == pytest.approx(1, abs=1e-5)
    assert sketch(noise(1)) @ sketch(noise(2)) < 0.5


def test_remember_says_it_and_doctor_says_it_of_all(kinsight: Terminal, blob_photo: BlobPhoto) -> None:
    assert fine(kinsight("doctor", "--concepts")).out == "Nobody was taught yet.\n"
    fine(kinsight("remember", blob_photo([Blob("red", HERE)]), "--name", "Lala"))
    said = fine(
        kinsight("remember", blob_photo([Blob((240, 75, 30), HERE)]), "--name", "Mars", "--json")
    ).json
    assert (said["concept"], said["look_alike"]["concept"], said["album"]) == ("Mars", "Lala", [])
    assert said["advice"][0].startswith("Mars looks much like Lala")
    all_of_them = fine(kinsight("doctor", "--concepts", "--json")).json["concepts"]
    assert [(one["concept"], one["look_alike"]["concept"]) for one in all_of_them] == [
        ("Lala", "Mars"),
        ("Mars", "Lala"),
    ]
    words = fine(kinsight("doctor", "--concepts")).out
    assert "What would help:" in words and "Lala looks much like Mars" in words


def test_photos_of_the_album_that_may_show_it(
    kinsight: Terminal, blob_photo: BlobPhoto, tmp_path: Path
) -> None:
    perhaps = blob_photo([Blob((240, 75, 30), HERE)], name="it's perhaps")
    fine(kinsight("album", "add", perhaps.parent))
    out = fine(kinsight("remember", blob_photo([Blob("red", HERE)]), "--name", "Lala")).out.splitlines()
    assert out[-2] == "This photo of the album may show Lala; if so, teach with"
    assert "perhaps-0.png" in out[-1] and out[-1].endswith("--name Lala --add --region 1")
    told = fine(kinsight(*shlex.split(out[-1])[1:])).out  # the view that was just taught is no suggestion
    assert "2 views now" in told and "of the album may show" not in told


def test_what_is_a_view_already_is_no_suggestion(assistant: Assistant, blob_photo: BlobPhoto) -> None:
    """Also where it is a maybe, as somebody else looks the same; it takes nobody's place in the list."""
    photos = [blob_photo([Blob((240, 75 + more, 30), HERE)], name=f"alike {more}") for more in (0, 1, 2)]
    assistant.album.add(photos)
    assistant.remember(photos[0], Lesson("Lala"), region=1)
    assistant.remember(photos[1], Lesson("Tom"), region=1)
    suggested = {
        name: [Path(one.photo.path) for one, _ in assistant.album.perhaps(name, 1)]
        for name in ("Lala", "Tom")
    }
    everybody = {
        match.concept for match in assistant.look(photos[0]).matches[0] if match.decision == "unsure"
    }
    assert everybody and everybody <= suggested.keys()
    for name, own in (("Lala", photos[0]), ("Tom", photos[1])):
        found = [Path(one.photo.path) for one, _ in assistant.album.perhaps(name, 9)]
        assert own not in found
        assert suggested[name] == found[:1]
    assert any(suggested.values())
