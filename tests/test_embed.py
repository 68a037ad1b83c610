"""Embedding: unit vectors, a batch equals one by one, and the text tower is fed as it asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from kinsight.bundle import Bundle, EmbedderPart, ImageTower, TextTower
from kinsight.config import DeviceConfig
from kinsight.embed import Embedder, embed_scene
from kinsight.errors import ModelError
from kinsight.image import load
from kinsight.types import Floats, Pixels, Regions
from tiny import (
    COLOURS,
    DIM,
    IMAGE_INPUT,
    TEXT_CONTEXT,
    VIEW_SIDE,
    Blob,
    BlobPhoto,
    draw,
    make_image_tower,
    make_text_tower,
)
from tiny_detector import save_model

RED = draw([Blob("red", (10, 10, 90, 70))], (100, 80))
BLUE = draw([Blob("blue", (0, 0, 40, 40), "ball")], (50, 60))


@pytest.fixture
def embedder(bundle: Bundle, device: DeviceConfig) -> Embedder:
    return Embedder(bundle.embedder, device)


def image_only(file: Path, dim: int = DIM) -> EmbedderPart:
    return EmbedderPart("test-1", dim, ImageTower(file, "", IMAGE_INPUT))


def constant_tower(path: Path, vector: ArrayLike) -> Path:
    """Gives the same vector for every picture."""
    text = f"""g (float[n, 3, {VIEW_SIDE}, {VIEW_SIDE}] x) => (float[n, m] y) {{
        all = Shape (x)
        n = Gather (all, first)
        times = Concat <axis = 0> (n, one)
        y = Tile (row, times)
    }}"""
    return save_model(path, text, {"first": [0], "one": [1], "row": np.array([vector], np.float32)})


def lengths(vectors: Floats) -> list[float]:
    return [float(length) for length in np.linalg.norm(vectors, axis=1)]


def test_vectors_are_of_unit_length(embedder: Embedder) -> None:
    vectors = embedder.images([RED, BLUE, draw([])])
    assert vectors.shape == (3, DIM)
    assert vectors.dtype == np.float32
    assert lengths(vectors) == pytest.approx([1, 1, 1], abs=1e-6)


def test_a_batch_equals_one_by_one(embedder: Embedder) -> None:
    pictures = [RED, BLUE, draw([Blob("cyan", (5, 5, 60, 60), "cone")], (64, 64))]
    together = embedder.images(pictures)
    alone = np.concatenate([embedder.images([picture]) for picture in pictures])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_tower_for_single_pictures_is_run_once_for_each(
    embedder: Embedder, tmp_path: Path, device: DeviceConfig
) -> None:
    single = Embedder(image_only(make_image_tower(tmp_path / "single.onnx", batch=1)), device)
    assert single.session.inputs["pixel_values"][0] == 1
    np.testing.assert_allclose(single.images([RED, BLUE]), embedder.images([RED, BLUE]), atol=1e-6)


def test_no_picture_is_no_vector(embedder: Embedder) -> None:
    assert embedder.images([]).shape == (0, DIM)
    assert embedder.texts([]).shape == (0, DIM)


def test_a_colour_is_near_itself_anywhere_and_far_from_others(embedder: Embedder) -> None:
    elsewhere = draw([Blob("red", (300, 20, 340, 60), "ball")], (400, 300))
    red, again, blue = embedder.images([RED, elsewhere, BLUE])
    assert red @ again > 0.95
    assert red @ blue < 0.3


@pytest.mark.parametrize("size_wh", [(1, 1), (4000, 10), (2, 300)])
def test_odd_pictures_are_plain_success(size_wh: tuple[int, int], embedder: Embedder) -> None:
    assert lengths(embedder.images([draw([], size_wh)])) == pytest.approx([1], abs=1e-6)


def test_a_view_is_the_mean_of_a_crop_and_its_mirror_image(embedder: Embedder) -> None:
    half = draw([Blob("red", (0, 0, 40, 80))], (80, 80))
    mirrored = np.ascontiguousarray(half[:, ::-1])
    mean = embedder.images([half, mirrored]).sum(axis=0)
    assert embedder.images([half])[0] @ embedder.images([mirrored])[0] < 0.999
    np.testing.assert_allclose(embedder.views([half])[0], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(embedder.views([BLUE, half, RED])[1], embedder.views([mirrored])[0], atol=1e-6)


@pytest.mark.parametrize("dim", [DIM - 1, DIM + 1])
def test_another_dimension_than_the_bundle_says_is_refused_at_once(
    dim: int, tmp_path: Path, device: DeviceConfig
) -> None:
    part = image_only(make_image_tower(tmp_path / "image.onnx"), dim)
    with pytest.raises(ModelError, match=rf"image\.onnx gives the shape .*{DIM}.*dim = {dim}"):
        Embedder(part, device)


def test_another_dimension_is_refused_where_it_shows_in_a_run_only(
    tmp_path: Path, device: DeviceConfig
) -> None:
    embedder = Embedder(image_only(constant_tower(tmp_path / "image.onnx", [1.0, 2.0])), device)
    with pytest.raises(ModelError, match=r"gives the shape \(1, 2\), the bundle says dim = 32"):
        embedder.images([RED])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float, tmp_path: Path, device: DeviceConfig) -> None:
    embedder = Embedder(image_only(constant_tower(tmp_path / "image.onnx", [1.0, bad]), 2), device)
    with pytest.raises(ModelError, match="not finite"):
        embedder.images([RED])


def test_a_scene_is_its_regions_then_the_whole_photo(embedder: Embedder, blob_photo: BlobPhoto) -> None:
    photo = load(blob_photo([Blob("red", (0, 0, 200, 200)), Blob("blue", (400, 400, 600, 600))]))
    boxes = np.array([[400, 400, 600, 600], [0, 0, 200, 200]], np.float32)
    vectors = embed_scene(photo, Regions(boxes, np.ones(2, np.float32), ("box", "box")), embedder)
    blue, red = photo.pixels[400:600, 400:600], photo.pixels[:200, :200]
    np.testing.assert_allclose(vectors, embedder.images([blue, red, photo.pixels]), atol=1e-6)


def test_a_scene_without_regions_is_the_whole_photo(embedder: Embedder, blob_photo: BlobPhoto) -> None:
    photo = load(blob_photo([]))
    assert embed_scene(photo, Regions.none(), embedder).shape == (1, DIM)


def test_a_colour_word_is_nearest_to_pictures_of_its_colour(embedder: Embedder) -> None:
    words = embedder.texts([f"a photo of the {colour}" for colour in COLOURS])
    pictures: list[Pixels] = [draw([Blob(colour, (5, 5, 60, 40))], (64, 64)) for colour in COLOURS]
    assert lengths(words) == pytest.approx([1] * len(COLOURS), abs=1e-6)
    assert (words @ embedder.images(pictures).T).argmax(axis=1).tolist() == list(range(len(COLOURS)))


def test_texts_of_different_length_equal_one_by_one(embedder: Embedder) -> None:
    texts = ["red", "a photo of the blue", ""]
    alone = np.concatenate([embedder.texts([text]) for text in texts])
    np.testing.assert_allclose(embedder.texts(texts), alone, atol=1e-6)


def test_a_text_is_cut_at_the_context(embedder: Embedder) -> None:
    fits = " ".join(["the"] * (TEXT_CONTEXT - 1))
    whole, cut = embedder.texts([f"{fits} red", f"{fits} red blue blue blue"])
    np.testing.assert_allclose(whole, cut, atol=1e-6)


@pytest.mark.parametrize("masked", [True, False])
def test_padding_never_changes_a_text(
    masked: bool, tmp_path: Path, embedder: Embedder, device: DeviceConfig
) -> None:
    """The padding of the masked tower is poison, and the tower without a mask would refuse to be fed one."""
    file, tokenizer = make_text_tower(tmp_path, masked)
    for context in (1, TEXT_CONTEXT, 64):
        part = replace(embedder.part, text=TextTower(file, "", tokenizer, context))
        red = Embedder(part, device).texts(["red"])
        assert red @ embedder.images([RED])[0] > 0.95


def test_without_a_text_tower_texts_are_refused(bundle: Bundle, device: DeviceConfig) -> None:
    with pytest.raises(ModelError, match="the embedder tiny-1 has no text tower: use a bundle"):
        Embedder(replace(bundle.embedder, text=None), device).texts(["red"])


def test_a_tokenizer_that_is_none_is_one_sentence(
    bundle: Bundle, tmp_path: Path, device: DeviceConfig
) -> None:
    assert bundle.embedder.text is not None
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text('{"version": "1.0"}', encoding="utf-8")
    part = replace(bundle.embedder, text=replace(bundle.embedder.text, tokenizer=tokenizer))
    with pytest.raises(ModelError, match=r"tokenizer\.json is no tokenizer .*: restore the bundle"):
        Embedder(part, device).texts(["red"])


def test_the_text_tower_must_have_the_dimension_too(
    bundle: Bundle, tmp_path: Path, device: DeviceConfig
) -> None:
    assert bundle.embedder.text is not None
    text = "text (int64[n, m] input_ids) => (float[n, m] y) { y = Cast <to = 1> (input_ids) }"
    file = save_model(tmp_path / "short.onnx", text, {})
    part = replace(bundle.embedder, text=replace(bundle.embedder.text, file=file))
    with pytest.raises(ModelError, match=rf"short\.onnx gives the shape \(1, {TEXT_CONTEXT}\)"):
        Embedder(part, device).texts(["red"])
