"""The pocket language model in torch: rows that share a prefix, its vocabulary, its pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

from kinsight.errors import ModelError
from kinsight.llm import Control, Picture, Text, Turn
from kinsight_train.mllm.model import PADDING, Mllm, MllmShape, Rows
from kinsight_train.mllm.picture import letterboxed, preprocess
from kinsight_train.mllm.tokenizer import MllmTokenizer, train_tokenizer
from tiny_mllm import LINES, SHAPE, make_tokenizer

pytestmark = pytest.mark.train

SOFT = 4  # embeddings a picture


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> MllmTokenizer:
    return make_tokenizer(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def model(tokenizer: MllmTokenizer) -> Mllm:
    return Mllm(SHAPE, tokenizer, seed=1).eval()


def row(segment: list[int], picture: list[int], seed: int = 0) -> Rows:
    """One row with drawn tokens and pixels; positions of a block go on after the prefix."""
    rng = torch.Generator().manual_seed(seed)
    places = torch.tensor([segment])
    prefix = segment.count(0)
    positions = [sum(1 for other in segment[:at] if other in {0, part}) for at, part in enumerate(segment)]
    assert positions[:prefix] == list(range(prefix))
    return Rows(
        tokens=torch.randint(12, 300, places.shape, generator=rng),
        positions=torch.tensor([positions]),
        segment=places,
        picture=torch.tensor([picture]),
        pixels=torch.randn(max(picture), 3, SHAPE.picture_px, SHAPE.picture_px, generator=rng),
    )


def logits(model: Mllm, rows: Rows) -> torch.Tensor:
    with torch.no_grad():
        return model(rows, torch.ones_like(rows.tokens, dtype=torch.bool))


def only(rows: Rows, kept: torch.Tensor, pictures: int) -> Rows:
    """The kept places of a row; `pictures` of its first pictures are in them."""
    places = [getattr(rows, name)[:, kept] for name in ("tokens", "positions", "segment", "picture")]
    return Rows(*places, rows.pixels[:pictures])


def test_a_block_in_a_packed_row_is_as_if_alone_with_the_prefix(model: Mllm) -> None:
    prefix, picture = [0] * 14, [0, 0, *[1] * SOFT, 0, *[2] * SOFT, 0, 0, 0]
    blocks, in_blocks = [*[1] * 6, *[2] * 9, *[3] * 5, PADDING, PADDING], [*[0] * 7, *[3] * SOFT, *[0] * 11]
    rows = row(prefix + blocks, picture + in_blocks)
    packed = logits(model, rows)
    for block in (1, 2, 3):
        kept = (rows.segment[0] == 0) | (rows.segment[0] == block)
        alone = logits(model, only(rows, kept, 3 if block == 2 else 2))
        torch.testing.assert_close(packed[kept], alone, rtol=0, atol=1e-4)
    assert torch.isfinite(packed).all()


def test_a_whole_row_is_as_transformers_alone_reads_it(model: Mllm) -> None:
    picture = [0, 0, *[1] * SOFT, 0, 0, *[2] * SOFT, 0, 0, 0]
    rows = row([0] * len(picture), picture)
    soft = rows.picture > 0
    tokens = torch.where(soft, model.net.config.image_token_id, rows.tokens)
    with torch.no_grad():
        theirs = model.net(input_ids=tokens, pixel_values=rows.pixels, token_type_ids=soft.long()).logits[0]
    torch.testing.assert_close(logits(model, rows), theirs, rtol=0, atol=1e-4)


def test_a_picture_sees_itself_whole_and_nothing_later(model: Mllm) -> None:
    picture = [0, 0, *[1] * SOFT, 0, 0]
    mask = row([0] * 8, picture).mask()[0, 0]
    assert mask[2].tolist() == [True] * 6 + [False] * 2
    assert mask[1].tolist() == [True] * 2 + [False] * 6


def test_every_weight_that_is_read_learns(model: Mllm) -> None:
    rows = row([0] * 8, [0, 0, *[1] * SOFT, 0, 0])
    wanted = torch.zeros_like(rows.tokens, dtype=torch.bool)
    wanted[0, -2:] = True
    model(rows, wanted).logsumexp(-1).sum().backward()
    learns = {
        name: weight.grad is not None and weight.grad.any() for name, weight in model.named_parameters()
    }
    model.zero_grad()
    assert [name for name, moved in learns.items() if not moved and not name.endswith("k_proj.bias")] == []


def test_a_row_may_have_no_picture(model: Mllm) -> None:
    rows = dataclasses.replace(row([0] * 5, [0, 0, 0, 0, 0]), pixels=torch.zeros(0, 3, 32, 32))
    assert logits(model, rows).shape == (5, len(model.net.lm_head.weight))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="pool"):
        MllmShape(picture_px=100)
    with pytest.raises(ValueError, match="heads"):
        MllmShape(heads=3)


@pytest.mark.parametrize("text", ["Lala", " two  spaces ", "a\n\nb", "日本語", "😀", "e\u0301", "\t\r\u00a0"])
def test_any_text_survives_the_vocabulary(tokenizer: MllmTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.text(text)) == text
    assert tokenizer.unknown not in tokenizer.text(text)


def test_control_tokens_count_in_the_template_only(tokenizer: MllmTokenizer) -> None:
    assert tokenizer.encode_parts([Control("<bos>"), Text("a"), Control("<end_of_turn>")])[::2] == [
        tokenizer.bos,
        tokenizer.end,
    ]
    assert tokenizer.end not in tokenizer.text("<end_of_turn>")
    assert tokenizer.answer("Lala.")[-1] == tokenizer.end


def test_a_picture_is_its_soft_tokens_and_two_more(tokenizer: MllmTokenizer) -> None:
    pixels = np.zeros((5, 5, 3), np.uint8)
    ids = tokenizer.prompt([Turn("system", (Text("s"),)), Turn("user", (Picture(pixels),))])
    assert ids.count(tokenizer.picture) == SOFT
    assert len(ids) == len(tokenizer.prompt([Turn("system", (Text("s"),)), Turn("user", ())])) + SOFT + 2


def test_a_vocabulary_needs_room_and_lines(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="too few"):
        train_tokenizer(LINES, tmp_path / "small.model", 100)
    with pytest.raises(ModelError, match="can be made"):
        train_tokenizer(["a b"], tmp_path / "poor.model", 5000)


def test_a_picture_is_letterboxed_in_black() -> None:
    pixels = np.full((20, 40, 3), 200, np.uint8)
    square = letterboxed(pixels, 32)
    assert square[8:24].min() == square.max() == 200
    assert square[:8].max() == square[24:].max() == 0
    assert letterboxed(square, 32) is square
    ready = preprocess(pixels, 32)
    assert ready.shape == (3, 32, 32) and ready.dtype == np.float32
    assert ready.min() == -1
