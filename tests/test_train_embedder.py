"""The pocket embedder: batches hold look-alikes, training learns and resumes, both towers export."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from kinsight.bundle import EmbedderPart, ImageTower, TextTower
from kinsight.config import load_device
from kinsight.drawn import ATTRIBUTES, describe, difference, draw_scene, individual
from kinsight.embed import Embedder
from kinsight.image import prepare_batch
from kinsight.types import Floats, Pixels
from kinsight_train.embedder import training as embedder
from kinsight_train.embedder.data import (
    CONTEXT,
    PAD_ID,
    RULE,
    SIDE,
    UNKNOWN_ID,
    Batches,
    CropBatch,
    Plan,
    draw_families,
    jittered,
    token_ids,
    tokenizer,
)
from kinsight_train.embedder.towers import DIM, Pair
from kinsight_train.loop import Run, Schedule, train

pytestmark = pytest.mark.train

SCHEDULE = Schedule(steps=6, batch=16, peak_lr=2e-3, warmup=2, save_every=3)
TEXTS = ["a photo of a red dog", "A Blue Cat with zigzags", "", "Lala", "word " * 50, "ein Hund, weiß"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def batch() -> CropBatch:
    return Batches(3, Plan(crops=48))(0)


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What the training said."""
    return []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> tuple[Path, Pair]:
    folder = tmp_path_factory.mktemp("embedder")
    return folder, embedder.train_embedder(folder, SCHEDULE, told.append, workers=0)


@pytest.fixture(scope="module")
def pair(trained: tuple[Path, Pair]) -> Pair:
    return trained[1]


@pytest.fixture(scope="module")
def exported(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    folder = tmp_path_factory.mktemp("onnx") / "new"
    return folder, embedder.export_embedder(pair, folder)


@pytest.fixture
def runtime(exported: tuple[Path, float]) -> Embedder:
    folder, _ = exported
    image = ImageTower(folder / embedder.IMAGE_FILE, "", RULE)
    text = TextTower(folder / embedder.TEXT_FILE, "", folder / embedder.TOKENIZER_FILE, CONTEXT)
    return Embedder(EmbedderPart("test-1", DIM, image, text), replace(load_device("laptop-cpu"), threads=1))


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    rng = np.random.default_rng(5)
    return [draw_scene([individual(rng)], rng, size).pixels for size in ((40, 30), (96, 96), (150, 210))]


def test_a_batch_depends_on_the_seed_and_the_step_alone(batch: CropBatch) -> None:
    again, next_one = Batches(3, Plan(crops=48))(0), Batches(3, Plan(crops=48))(1)
    for name in ("pixels", "who", "families", "values", "texts", "fits"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(again, name))
    assert not np.array_equal(batch.pixels, next_one.pixels)


def test_what_a_batch_holds(batch: CropBatch) -> None:
    individuals = len(batch.families)
    assert batch.pixels.shape == (48, 3, SIDE, SIDE) and batch.pixels.dtype == np.uint8
    assert batch.values.shape == (individuals, len(ATTRIBUTES))
    assert batch.texts.shape == (individuals, CONTEXT)
    assert np.bincount(batch.who, minlength=individuals).min() >= 3
    assert batch.fits.diagonal().all()


def test_look_alikes_stand_in_the_batch(batch: CropBatch) -> None:
    apart = [
        int((batch.values[row] != batch.values[other]).sum())
        for row in range(len(batch.families))
        for other in range(row)
        if batch.families[row] == batch.families[other]
    ]
    assert apart.count(1) >= len(batch.families) // 4
    assert 0 not in apart and max(apart) <= 4


def test_families_are_of_different_individuals() -> None:
    individuals, families = draw_families(np.random.default_rng(1), 30, 3)
    assert len(set(individuals)) == len(families) == 30
    for row in range(1, 30):
        same_kind = "kind" not in difference(individuals[row], individuals[row - 1])
        assert same_kind or families[row] != families[row - 1]


def test_a_text_fits_whoever_it_describes(batch: CropBatch) -> None:
    """A text fits nobody of another kind, and never everybody."""
    kinds = batch.values[:, list(ATTRIBUTES).index("kind")]
    assert not (batch.fits & (kinds[:, None] != kinds)).any()


def test_a_box_moves_a_little() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([jittered((100, 100, 200, 180), rng) for _ in range(200)])
    assert np.abs(np.median(boxes, axis=0) - (100, 100, 200, 180)).max() < 4
    assert (boxes[:, 2] > boxes[:, 0] + 50).all() and (boxes[:, 0] >= 69).all()


def test_pixel_values_are_those_of_the_rule(batch: CropBatch) -> None:
    ours = embedder.pixel_values(batch, torch.device("cpu")).numpy()
    pictures = [np.ascontiguousarray(pixels.transpose(1, 2, 0)) for pixels in batch.pixels]
    np.testing.assert_allclose(ours, prepare_batch(pictures, RULE), atol=1e-5)


def test_the_losses_fall_on_one_batch() -> None:
    fresh, batch = embedder.new_pair(1), Batches(3, Plan(crops=24))(0)
    optimizer = torch.optim.AdamW(fresh.parameters(), lr=2e-3)
    course = []
    for _ in range(8):
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.stack(list(embedder.losses_of(fresh, batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.append(loss.item())
    assert course[-1] < 0.75 * course[0]


def test_every_part_learns() -> None:
    fresh, batch = embedder.new_pair(1), Batches(3, Plan(crops=16))(0)
    torch.stack(list(embedder.losses_of(fresh, batch).values())).sum().backward()
    assert [name for name, weight in fresh.named_parameters() if weight.grad is None] == []


class Stopped(Exception):
    """Somebody pulled the plug."""


def test_a_training_that_was_stopped_goes_on_equal_to_the_bit(pair: Pair, tmp_path: Path) -> None:
    batches = Batches(SCHEDULE.seed, Plan(crops=SCHEDULE.batch))

    def until_4(step: int) -> CropBatch:
        if step == 4:  # a step after the checkpoint
            raise Stopped
        return batches(step)

    fresh = embedder.new_pair(SCHEDULE.seed)
    with pytest.raises(Stopped):
        train(fresh, SCHEDULE, until_4, embedder.losses_of, Run(tmp_path, print, workers=0))
    told: list[str] = []
    resumed = embedder.train_embedder(tmp_path, SCHEDULE, told.append, workers=0)
    assert told[0].startswith("goes on after step 3")
    for name, weight in pair.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_it_tells_every_loss(pair: Pair, told: list[str]) -> None:
    assert all(re.search(rf"{name} \d", told[-1]) for name in ("rank", "same", "text", "heads"))


def test_both_towers_agree_with_onnx(exported: tuple[Path, float]) -> None:
    folder, worst = exported
    assert worst <= 1e-3
    assert {file.name for file in folder.iterdir()} == {"image.onnx", "text.onnx", "tokenizer.json"}


def cosines(ours: Floats, theirs: Floats) -> Floats:
    return np.asarray((ours * theirs).sum(axis=1), np.float32)


def test_the_runtime_sees_what_torch_sees(runtime: Embedder, pair: Pair, pictures: list[Pixels]) -> None:
    assert runtime.session.inputs["pixel_values"][1:] == (3, SIDE, SIDE)
    assert cosines(runtime.images(pictures), embedder.embed_pictures(pair, pictures)).min() >= 0.9999
    assert cosines(runtime.views(pictures), embedder.embed_views(pair, pictures)).min() >= 0.9999


def test_the_runtime_reads_what_torch_reads(runtime: Embedder, pair: Pair) -> None:
    assert cosines(runtime.texts(TEXTS), embedder.embed_texts(pair, TEXTS)).min() >= 0.9999


def test_the_tokenizer_of_the_bundle_gives_the_ids_of_the_training(exported: tuple[Path, float]) -> None:
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(exported[0] / embedder.TOKENIZER_FILE))
    loaded.enable_truncation(CONTEXT)
    loaded.enable_padding(length=CONTEXT, pad_id=PAD_ID, pad_token="[PAD]")  # as the runtime does
    np.testing.assert_array_equal(token_ids(loaded, TEXTS), token_ids(tokenizer(), TEXTS))


def test_the_tokenizer_knows_the_drawn_world_and_copes_with_the_rest() -> None:
    rng = np.random.default_rng(9)
    said = [describe(individual(rng), rng) for _ in range(300)]
    ids = token_ids(tokenizer(), [*said, *(value for values in ATTRIBUTES.values() for value in values)])
    assert ids.shape[1] == CONTEXT and UNKNOWN_ID not in ids
    strange = token_ids(tokenizer(), TEXTS)
    assert (strange[2] != PAD_ID).sum() == 1 and strange[3, 1] == UNKNOWN_ID and (strange[4] != PAD_ID).all()


def test_padding_counts_for_nothing(pair: Pair) -> None:
    ids = torch.from_numpy(token_ids(tokenizer(), TEXTS[:1]))
    before = pair.text(ids)
    with torch.no_grad():
        kept = pair.text.words.weight[PAD_ID].clone()
        pair.text.words.weight[PAD_ID] = 3.0
        after = pair.text(ids)
        pair.text.words.weight[PAD_ID] = kept
    torch.testing.assert_close(before, after)


def test_an_evaluation_is_repeatable_and_of_shares(pair: Pair) -> None:
    score = embedder.evaluate(pair, seed=1, concepts=4, worlds=2)
    assert score == embedder.evaluate(pair, seed=1, concepts=4, worlds=2)
    shares = [
        score.recall_at_1,
        score.auroc_look_alikes,
        score.accepted,
        score.rejected,
        score.kind_from_text,
    ]
    assert all(0 <= share <= 1 for share in (*shares, *score.rejected_by_attribute.values()))
    assert set(score.rejected_by_attribute) <= set(ATTRIBUTES) - {"kind"}
    assert "recall_at_1" in score.line()
