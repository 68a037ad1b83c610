"""Teaching: which region is meant, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinsight.bundle import Bundle
from kinsight.config import DeviceConfig
from kinsight.embed import Embedder
from kinsight.errors import RegionError
from kinsight.image import decode
from kinsight.store import Store
from kinsight.teach import candidates, catch_up, choose, describe, meant, new_view
from kinsight.types import Box, Photo, Regions, Scene
from tiny import Blob, draw

WIDTH, HEIGHT = 1000, 800
BIG_DOG, CAT, CUP = (100, 200, 500, 700), (550, 250, 900, 700), (10, 10, 60, 60)


def scene_of(*things: tuple[str, Box, float], size_wh: tuple[int, int] = (WIDTH, HEIGHT)) -> Scene:
    """A scene with these regions: label, box, score."""
    regions = Regions(
        np.array([box for _, box, _ in things], np.float32).reshape(len(things), 4),
        np.array([score for _, _, score in things], np.float32),
        tuple(label for label, _, _ in things),
    )
    photo = Photo(np.zeros((size_wh[1], size_wh[0], 3), np.uint8), "ab" * 32, "photo.png")
    vectors = np.zeros((len(things) + 1, 4), np.float32)
    return Scene(photo, "tiny", regions, vectors, tuple(() for _ in things), (), {})


def rows(*things: tuple[str, Box, float]) -> list[int]:
    scene = scene_of(*things)
    return candidates(scene.photo, scene.regions)


def test_the_one_that_stands_out_is_the_only_candidate() -> None:
    assert rows(("dog", BIG_DOG, 0.9), ("cup", (10, 10, 120, 120), 0.9)) == [0]


def test_rivals_are_all_candidates_the_best_first() -> None:
    assert rows(("dog", BIG_DOG, 0.5), ("cat", CAT, 0.9), ("cup", CUP, 0.9)) == [1, 0]


@pytest.mark.parametrize(
    "other",
    [("cat", BIG_DOG, 0.2), ("cat", (100, 200, 200, 300), 0.9), ("cat", (0, 0, 300, 300), 0.6)],
    ids=["less sure", "smaller", "far from the middle"],
)
def test_what_counts_is_score_size_and_place(other: tuple[str, Box, float]) -> None:
    assert rows(other, ("dog", (300, 200, 700, 600), 0.9)) == [1]


@pytest.mark.parametrize(("side", "expected"), [(95, [0]), (85, [])])
def test_a_candidate_covers_a_hundredth_of_the_photo(side: int, expected: list[int]) -> None:
    assert rows(("cup", (400, 400, 400 + side, 400 + side), 0.9)) == expected


def test_the_only_candidate_is_taken() -> None:
    assert choose(scene_of(("dog", BIG_DOG, 0.9)), "", None, None) == BIG_DOG


def test_without_a_region_the_whole_photo_is_taken() -> None:
    assert choose(scene_of(), "dog", None, None) == (0, 0, WIDTH, HEIGHT)
    assert choose(scene_of(size_wh=(1, 1)), "", None, None) == (0, 0, 1, 1)


def test_several_candidates_are_listed_in_words() -> None:
    scene = scene_of(("cup", CUP, 0.95), ("dog", (0, 0, 400, 600), 0.9), ("cat", (600, 0, 1000, 600), 0.9))
    with pytest.raises(RegionError) as caught:
        choose(scene, "", None, None)
    assert caught.value.problem == (
        "several things could be meant (2: dog, on the left, 30 % of the photo; "
        "3: cat, on the right, 30 % of the photo)"
    )
    assert "--region N" in caught.value.mend
    assert "--box x0,y0,x1,y1" in caught.value.mend


@pytest.mark.parametrize("category", ["cat", "Cat", " cat "])
def test_a_category_narrows_the_candidates_to_its_kind(category: str) -> None:
    assert choose(scene_of(("dog", BIG_DOG, 0.9), ("cat", CAT, 0.9)), category, None, None) == CAT


def test_a_category_that_nothing_has_narrows_nothing() -> None:
    assert choose(scene_of(("dog", BIG_DOG, 0.9)), "axolotl", None, None) == BIG_DOG


def test_a_category_finds_its_kind_beside_something_larger() -> None:
    scene = scene_of(("sofa", (0, 0, 1000, 800), 0.9), ("dog", (400, 350, 540, 450), 0.8))
    assert candidates(scene.photo, scene.regions) == [0]
    assert choose(scene, "dog", None, None) == (400, 350, 540, 450)


def test_a_doubtful_label_takes_nothing_from_what_stands_out() -> None:
    scene = scene_of(("cat", (200, 100, 800, 700), 0.9), ("dog", (0, 0, 120, 120), 0.15))
    assert meant(scene, "dog") == [0]


def test_two_of_the_category_are_both_candidates() -> None:
    scene = scene_of(("dog", BIG_DOG, 0.9), ("dog", CAT, 0.9), ("sofa", (0, 0, 1000, 800), 0.9))
    with pytest.raises(RegionError, match=r"1: dog.*2: dog"):
        choose(scene, "dog", None, None)


def test_a_region_is_chosen_by_its_number() -> None:
    scene = scene_of(("dog", BIG_DOG, 0.9), ("cat", CAT, 0.9), ("cup", CUP, 0.2))
    assert [choose(scene, "", None, number) for number in (1, 2, 3)] == [BIG_DOG, CAT, CUP]


def test_the_number_0_is_the_whole_photo() -> None:
    assert choose(scene_of(("dog", BIG_DOG, 0.9)), "", None, 0) == (0, 0, WIDTH, HEIGHT)


@pytest.mark.parametrize("number", [-1, 3])
def test_a_number_that_no_region_has_is_refused(number: int) -> None:
    with pytest.raises(RegionError, match=f"there is no region {number} in this photo: choose one of 1 to 2"):
        choose(scene_of(("dog", BIG_DOG, 0.9), ("cat", CAT, 0.9)), "", None, number)


def test_without_regions_every_number_is_refused_with_another_way() -> None:
    with pytest.raises(
        RegionError, match="there is no region 1 in this photo: choose 0, the whole photo, or pass --box"
    ):
        choose(scene_of(), "", None, 1)


@pytest.mark.parametrize(
    ("box", "taken"),
    [
        ((10, 20, 300, 400), (10, 20, 300, 400)),
        ((-50, -50, 200, 300), (0, 0, 200, 300)),
        ((900, 700, 5000, 5000), (900, 700, WIDTH, HEIGHT)),
        ((0.5, 0.25, 4.5, 4.25), (0.5, 0.25, 4.5, 4.25)),
    ],
)
def test_a_box_is_taken_as_far_as_it_is_in_the_photo(box: Box, taken: Box) -> None:
    assert choose(scene_of(("dog", BIG_DOG, 0.9), ("cat", CAT, 0.9)), "", box, None) == taken


@pytest.mark.parametrize(
    "box",
    [
        (1000, 0, 1200, 100),
        (-300, 0, -10, 100),
        (300, 400, 10, 20),
        (10, 10, 13, 200),
        (float("nan"), 0, 100, 100),
        (0, 0, float("inf"), 100),
    ],
    ids=["right of it", "left of it", "inverted", "thin", "nan", "infinite"],
)
def test_a_box_that_is_not_in_the_photo_is_refused(box: Box) -> None:
    with pytest.raises(RegionError, match=r"is not in this photo of 1000 x 800: give x0,y0,x1,y1 in pixels"):
        choose(scene_of(), "", box, None)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 400, 600), "1: dog, on the left, 30 % of the photo"),
        ((0, 0, 1000, 800), "1: dog, in the middle, 100 % of the photo"),
        ((900, 700, 950, 750), "1: dog, at the bottom right, under 1 % of the photo"),
    ],
)
def test_a_region_is_described_in_words(box: Box, words: str) -> None:
    assert describe(scene_of(("dog", box, 0.9)), 0) == words


@pytest.fixture
def embedder(bundle: Bundle, device: DeviceConfig) -> Embedder:
    return Embedder(bundle.embedder, device)


def photo_of(blobs: Sequence[Blob]) -> Photo:
    return Photo(draw(blobs, (WIDTH, HEIGHT)), "cd" * 32, "photo.png")


def test_a_view_is_the_crop_of_the_box_with_its_vector(embedder: Embedder) -> None:
    photo = photo_of([Blob("red", BIG_DOG), Blob("blue", CAT)])
    view = new_view(photo, BIG_DOG, embedder)
    assert view.xyxy == BIG_DOG
    assert view.photo_sha256 == photo.sha256
    assert view.embedder_id == "tiny-1"
    kept = decode(view.picture_jpeg).pixels
    assert kept.shape[:2] == (500, 400)
    assert np.abs(kept.reshape(-1, 3).mean(axis=0) - (225, 30, 30)).max() < 4
    np.testing.assert_allclose(view.vector, embedder.views([photo.pixels[200:700, 100:500]])[0], atol=1e-6)


def test_the_picture_of_a_view_is_at_most_512_pixels_long(embedder: Embedder) -> None:
    view = new_view(photo_of([Blob("red", BIG_DOG)]), (0, 0, WIDTH, HEIGHT), embedder)
    assert decode(view.picture_jpeg).pixels.shape[:2] == (410, 512)


def test_a_new_embedder_catches_up_from_the_stored_pictures(
    embedder: Embedder, device: DeviceConfig, tmp_path: Path
) -> None:
    newer = Embedder(replace(embedder.part, id="tiny-2"), device)
    photo = photo_of([Blob("red", BIG_DOG), Blob("blue", CAT)])
    with Store.open(tmp_path / "store.db") as store:
        for number in range(20):
            store.remember(new_view(photo, BIG_DOG if number % 2 else CAT, embedder), f"blob {number}")
        before = store.vectors("tiny-1")
        assert catch_up(store, embedder) == 0
        assert catch_up(store, newer) == 20
        after = store.vectors("tiny-2")
        assert catch_up(store, newer) == 0
    assert after.view_ids.tolist() == before.view_ids.tolist()
    assert ((after.views * before.views).sum(axis=1) > 0.999).all()
