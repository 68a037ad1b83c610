"""Models that see, with two real picture encoders."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from kinsight.errors import ModelError
from kinsight.llm import Control, Generation, Llm, Part, Picture, Text, Turn, load_llm
from kinsight.llm.blobs import Blobs
from kinsight.llm.model import Model
from kinsight.llm.native import library
from kinsight.llm.pictures import padded
from kinsight.llm.spans import PictureSpan, Prompt, TextSpan
from kinsight.llm.vision import VisionEncoder
from kinsight.types import Floats, Pixels
from talkers import IMAGE_MAX_TOKENS, NEEDS_LLAMA_CPP, device, part, picture, talker
from tiny_gguf import IMAGE_TOKENS, make_vision_pair

pytestmark = NEEDS_LLAMA_CPP


@pytest.fixture(scope="module")
def sentence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llm]:
    """Says "Lala is a dog." to everything."""
    with talker(tmp_path_factory.mktemp("sentence")) as llm:
        yield llm


Eyes = tuple[Model, VisionEncoder]
NOTHING_KEPT = Blobs(None, 0, 0)


def read(model: Model, encoder: VisionEncoder, prompt: Prompt) -> Floats:
    """The logits after a prompt, float32 (vocabulary,)."""
    model.clear()
    position = 0
    for span in prompt.spans:
        if isinstance(span, TextSpan):
            model.decode(span.tokens, position)
            position += len(span)
        else:
            encoder.read(span, encoder.encode(span), position)
            position += span.positions
    return np.array(model.logits())


@pytest.fixture(scope="module", params=["gemma3", "qwen2vl_merger"])
def eyes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eyes]:
    described = part(*make_vision_pair(tmp_path_factory.mktemp("eyes"), request.param))
    model = Model(described, device())
    encoder = VisionEncoder(described, model, device(), NOTHING_KEPT, "")
    yield model, encoder
    encoder.close()
    model.close()


def test_another_picture_gives_other_logits(eyes: Eyes) -> None:
    def logits(*seeds: int) -> Floats:
        pictures = map(picture, seeds)
        parts: list[Part] = [Control("<s><|user|>"), *pictures, Text("Hello"), Control("<|assistant|>")]
        return read(*eyes, eyes[1].prompt(parts))

    np.testing.assert_array_equal(logits(1), logits(1))
    assert np.abs(logits(1) - logits(2)).max() > 0.01
    assert np.abs(logits(1, 2) - logits(2, 1)).max() > 0.01


def test_pictures_are_read_as_llama_cpp_reads_them(eyes: Eyes) -> None:
    model, encoder = eyes
    parts: list[Part] = [
        Control("<s>"),
        Text("a"),
        picture(1, (20, 44)),
        Text("b"),
        picture(2, (20, 44)),
        Control("<|assistant|>"),
    ]
    ours = read(model, encoder, encoder.prompt(parts))
    mtmd, llama = library().mtmd, library().llama
    chunks, after = mtmd.mtmd_input_chunks_init(), llama.llama_pos(0)
    data = b"<s>a<__media__>b<__media__><|assistant|>"
    text = mtmd.mtmd_input_text(data, len(data), False, True)
    raw = [
        piece.pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        for piece in parts
        if isinstance(piece, Picture)
    ]
    bitmaps = (ctypes.c_void_p * 2)(*(mtmd.mtmd_bitmap_init(44, 20, pixels) for pixels in raw))
    assert mtmd.mtmd_tokenize(encoder.handle, chunks, ctypes.byref(text), bitmaps, 2) == 0
    model.clear()
    evaluated = mtmd.mtmd_helper_eval_chunks(
        encoder.handle, model.context, chunks, 0, 0, 64, True, ctypes.byref(after)
    )
    assert evaluated == 0
    np.testing.assert_array_equal(ours, model.logits())
    mtmd.mtmd_input_chunks_free(chunks)
    for bitmap in bitmaps:
        mtmd.mtmd_bitmap_free(bitmap)


class Blank(NamedTuple):
    """A picture without pixels."""

    address: int

    def chunk(self, row: int) -> int:
        return self.address


SHAPES = [(32, 32), (1, 1), (10, 4000), (4000, 10), (480, 640)]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_picture_costs_more_than_the_bundle_allows(eyes: Eyes, shape: tuple[int, int]) -> None:
    spans = eyes[1].prompt([picture(1, shape), Text("a")]).spans
    (cost,) = [len(span) for span in spans if isinstance(span, PictureSpan)]
    assert 0 < cost <= IMAGE_MAX_TOKENS


def test_only_a_strip_is_padded() -> None:
    pixels = np.zeros((2, 9, 3), np.uint8)
    assert padded(pixels, 5) is pixels
    assert padded(pixels, 3).shape == (3, 9, 3) and padded(pixels.transpose(1, 0, 2), 3).shape == (9, 3, 3)
    assert padded(pixels, 3)[:2].max() == 0 and padded(pixels, 3)[2:].min() == 128


def test_a_picture_must_fit_one_batch_where_its_tokens_see_each_other(pair: tuple[Path, Path]) -> None:
    small = dataclasses.replace(part(*pair), context=IMAGE_TOKENS - 1, image_max_tokens=IMAGE_TOKENS)
    model = Model(small, device())
    with pytest.raises(
        ModelError, match=f"takes {IMAGE_TOKENS} tokens at once, but {IMAGE_TOKENS - 1} is the most"
    ):
        VisionEncoder(small, model, device(), NOTHING_KEPT, "").prompt([picture(1)])


def test_a_failure_gives_its_own_reason(eyes: Eyes, tmp_path: Path) -> None:
    prompt = eyes[1].prompt([picture(1)])
    (tmp_path / "llm.gguf").write_text("no model")
    with pytest.raises(ModelError, match="invalid magic"):
        Model(part(tmp_path / "llm.gguf"), device())
    (span,) = [span for span in prompt.spans if isinstance(span, PictureSpan)]
    with pytest.raises(ModelError, match=r"a picture cannot be encoded \(.*placeholder"):
        eyes[1].encode(dataclasses.replace(span, source=Blank(span.chunk)))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_picture_of_any_shape_costs_what_the_encoder_gives(seeing: Llm, shape: tuple[int, int]) -> None:
    bare = [Turn("user", (Text("Hello"), Text("a")))]
    turns = [Turn("user", (Text("Hello"), picture(1, shape), Text("a"), picture(2, shape)))]
    around = 2  # <start_of_image>, <end_of_image>
    assert seeing.count(turns) == seeing.count(bare) + 2 * (IMAGE_TOKENS + around)
    stream = seeing.generate(turns, Generation(max_tokens=4))
    "".join(stream)
    assert stream.usage.tokens["prompt"] == seeing.count(turns)
    assert stream.usage.timings_ms["encode"] > 0


def test_a_model_without_eyes_refuses_a_picture(sentence: Llm, pair: tuple[Path, Path]) -> None:
    turns = [Turn("user", (picture(1),))]
    with pytest.raises(ModelError, match="sees no pictures: use a bundle"):
        sentence.generate(turns)
    with (
        load_llm(part(*pair, sees="nothing"), device()) as blind,
        pytest.raises(ModelError, match="sees no pictures"),
    ):
        blind.count(turns)


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3)), np.zeros((0, 2, 3), np.uint8)]
)
def test_a_picture_is_checked_at_birth(pixels: Pixels) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(height, width, 3\)"):
        Picture(pixels)


@pytest.mark.parametrize(
    ("of_the_device", "allowed"), [(None, IMAGE_MAX_TOKENS), (5, 5), (9999, IMAGE_MAX_TOKENS)]
)
def test_a_picture_costs_what_both_bundle_and_device_allow(
    pair: tuple[Path, Path], of_the_device: int | None, allowed: int
) -> None:
    here = dataclasses.replace(device(), image_max_tokens=of_the_device)
    with load_llm(part(*pair, sees="photo"), here) as llm:
        assert llm.part.image_max_tokens == allowed
