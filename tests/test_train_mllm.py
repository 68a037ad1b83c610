"""The pocket language model's training in miniature: rows as the device sends them, losses, resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

from kinsight import prompt
from kinsight.errors import ModelError
from kinsight.evaluate import LINES
from kinsight.llm import Picture
from kinsight_train import card, pocket
from kinsight_train.loop import Run, Schedule, train
from kinsight_train.mllm import sight as looking
from kinsight_train.mllm import training
from kinsight_train.mllm.cells import Readers
from kinsight_train.mllm.eyes import Eyes, ViewBatches, token_accuracy
from kinsight_train.mllm.lessons import NO_LABEL, Lessons, batched, packed
from kinsight_train.mllm.model import Mllm
from kinsight_train.mllm.sorts import Lesson, lesson
from kinsight_train.mllm.tokenizer import MllmTokenizer
from tiny_mllm import SHAPE, make_tokenizer

pytestmark = pytest.mark.train

DEEP = replace(SHAPE, layers=5)
FEW = Schedule(steps=6, batch=2, peak_lr=3e-3, warmup=2, save_every=3, seed=4)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> MllmTokenizer:
    return make_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def drawn(number: int, blocks: int = 3) -> Lesson:
    return lesson(np.random.default_rng((9, number)), blocks)


def test_a_row_is_what_the_device_would_send(tokenizer: MllmTokenizer) -> None:
    """Prefix and block of every talk, put together, are the ids of the whole talk with its answers."""
    for number in range(6):
        each = drawn(number)
        row = packed(each, tokenizer, SHAPE)
        prefix = [token for token, part in zip(row.tokens, row.segment, strict=True) if part == 0]
        for block, talk in enumerate(each.talks, 1):
            ids = [token for token, part in zip(row.tokens, row.segment, strict=True) if part == block]
            asked, answer = talk[-1]
            sent = tokenizer.prompt(prompt.turns(each.opened, list(talk[:-1]), asked))
            assert prefix + ids == sent + tokenizer.answer(answer)
            places = [p for p, part in zip(row.positions, row.segment, strict=True) if part == block]
            assert places == list(range(len(prefix), len(prefix) + len(ids)))


def test_the_answers_and_nothing_else_are_learned(tokenizer: MllmTokenizer) -> None:
    each = drawn(1)
    row = packed(each, tokenizer, SHAPE)
    learned = [label for label in row.labels if label != NO_LABEL]
    assert learned == [
        token for talk in each.talks for _, answer in talk for token in tokenizer.answer(answer)
    ]
    after = [row.tokens[at + 1] for at, label in enumerate(row.labels) if label != NO_LABEL]
    assert after == learned


def test_pictures_stand_where_their_tokens_are(tokenizer: MllmTokenizer) -> None:
    lessons = [drawn(number) for number in range(4)]
    batch = batched([packed(each, tokenizer, SHAPE) for each in lessons], tokenizer)
    counts = [sum(isinstance(part, Picture) for part in each.opened) for each in lessons]
    assert batch.rows.picture.amax(dim=1).tolist() == counts
    assert len(batch.rows.pixels) == sum(counts)
    soft = (batch.rows.picture > 0).sum(dim=1)
    assert soft.tolist() == [SHAPE.picture_tokens * count for count in counts]


def test_losses_fall_and_a_resumed_training_is_equal(tokenizer: MllmTokenizer, tmp_path: Path) -> None:
    lessons = Lessons(tokenizer.file, FEW.seed, FEW.batch, DEEP, blocks=2)
    whole, parted = noted(tokenizer, lessons, FEW, tmp_path / "whole"), []
    with pytest.raises(KeyboardInterrupt):
        noted(tokenizer, lessons, FEW, tmp_path / "parted", parted, stop_after=4)
    again = noted(tokenizer, lessons, FEW, tmp_path / "parted")
    assert again == whole[3:]  # from the checkpoint of step 3
    assert parted[:4] == whole[:4]
    assert whole[-1] < whole[0]


def noted(
    tokenizer: MllmTokenizer,
    lessons: Any,
    schedule: Schedule,
    folder: Path,
    losses: list[float] | None = None,
    stop_after: int = 1000,
) -> list[float]:
    """The loss of every step of a training, which may be cut."""
    kept: list[float] = [] if losses is None else losses

    def loss_of(model: Any, batch: Any) -> Any:
        if len(kept) == stop_after:
            raise KeyboardInterrupt
        parts = training.loss_of(model, batch)
        assert ("looks" in parts) == bool(batch.marks.role.any())
        kept.append(parts["answers"].item())
        return parts

    torch.manual_seed(2)
    pupil = training.Pupil(Mllm(DEEP, tokenizer, seed=1), Readers(DEEP))
    train(pupil, schedule, lessons, loss_of, Run(folder, print, 0))
    return kept


def test_eyes_learn_what_they_see(tokenizer: MllmTokenizer, tmp_path: Path) -> None:
    """The same four pictures over and over: the tower tells them apart in the end, and it is the model's."""
    model = Mllm(SHAPE, tokenizer, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    eyes, views = Eyes(model, Readers(SHAPE)), ViewBatches(1, 4, SHAPE)(0)
    schedule = replace(FEW, steps=150, peak_lr=1e-2, save_every=150)
    train(eyes, schedule, lambda _: views, training.eyes_loss, Run(tmp_path, lambda line: None, 0))
    right = token_accuracy(eyes.eval(), views)
    assert right["kind"] > 0.9
    assert right["colour"] > 0.9
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert any("vision_tower" in name for name in changed)
    assert not any("language_model" in name for name in changed)


def test_a_course_goes_from_eyes_to_lessons_and_is_not_gone_through_twice(
    tokenizer: MllmTokenizer, tmp_path: Path
) -> None:
    """At the real shape, one step each; the same command then trains nothing and gives the same weights."""
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.file.read_bytes())
    one = Schedule(steps=1, batch=2, peak_lr=1e-3, warmup=1, seed=3, muon="layers")
    course, said = training.Course(one, lessons=replace(one, batch=1), finish=replace(one, batch=1)), []
    once, _ = training.train_mllm(tmp_path, said.append, 0, course)
    assert [line.split(":")[0].split("  ")[0] for line in said] == [
        "step 1/1",
        "eyes, held-out pictures",
        "step 1/1",
        "step 1/1",
    ]
    (tmp_path / "eyes" / "checkpoint.pt").unlink()
    again, _ = training.train_mllm(tmp_path, said.append, 0, course)
    assert said[4:] == ["goes on after step 1 of 1"] * 2
    kept, _ = training.load_mllm(tmp_path)
    for other in (again, kept):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in once.state_dict().items())
    assert not once.training and not kept.training


def test_sight_is_blind_without_pictures(tokenizer: MllmTokenizer) -> None:
    """With blanked pictures another photo gives the same choice; with pictures the scores do change."""
    model = Mllm(SHAPE, tokenizer, seed=1).eval()
    rng = np.random.default_rng(3)
    opened = [prompt.opening(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), []) for _ in range(8)]
    choices = [
        looking.Choice("What colour is Lala?", ("red", "blue", "green dog"), 0),
        looking.Choice("Is Lala in the photo?", ("Yes.", "No."), 0, first_only=True),
    ]
    blanked = {tuple(looking.choose(model, tokenizer, each, choices, True)) for each in opened}
    assert len(blanked) == 1
    seen = looking.sight(model, tokenizer, 1, 8)
    assert seen.keys() == looking.CHOOSERS.keys()
    assert all(1 <= len(each.right) <= 8 for each in seen.values())


def test_several_questions_of_one_row_are_answered_as_if_each_were_alone(tokenizer: MllmTokenizer) -> None:
    model = Mllm(SHAPE, tokenizer, seed=1).eval()
    opened = prompt.opening(np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8), [])
    choices = [
        looking.Choice(f"What colour is {name}?", ("red dog", "blue cat and", "a hat"), 0)
        for name in ("Lala", "Rex")
    ]
    alone = [looking.choose(model, tokenizer, opened, [choice], False)[0] for choice in choices]
    assert looking.choose(model, tokenizer, opened, choices, False) == alone


def test_chance_is_the_best_blind_guess() -> None:
    seen = looking.Sight(np.array([0, 1, 2, 2]), np.array([0, 2, 2, 2]))
    assert (seen.share, seen.chance) == (0.75, 0.75)


LOOKING = {"prompts": 100, "same_top": 100, "largest_difference": 0.2, "swapped_difference": 0.5}


@pytest.mark.parametrize(
    ("which", "changed"),
    [
        (0, {"same_top": 98}),
        (0, {"swapped_difference": 0.1}),
        (1, {"swapped_difference": float("nan")}),
        (1, {"largest_difference": 0.6}),
    ],
)
def test_a_bundle_that_is_another_or_does_not_look_is_refused(which: int, changed: dict[str, float]) -> None:
    pocket.refuse_other(LOOKING, LOOKING)
    compared = [LOOKING, LOOKING]
    compared[which] = LOOKING | changed
    with pytest.raises(ModelError):
        pocket.refuse_other(*compared)


def test_a_bundle_that_answers_as_well_with_blank_pictures_is_refused() -> None:
    figures = {
        "pictures_only": dict.fromkeys(pocket.MUST_SEE, 0.4),
        "pictures_blanked": dict.fromkeys(pocket.MUST_SEE, 0.1),
        "pictures_asked": dict.fromkeys(pocket.MUST_SEE, 150),
        "chance": dict.fromkeys(pocket.MUST_SEE, 0.2),
    }
    pocket.refuse_blind(figures)
    for name in pocket.MUST_SEE:
        worse = {**figures["pictures_only"], name: 0.28}  # above blank ones, yet near the best guess
        with pytest.raises(ModelError, match=f"{name} by pictures alone"):
            pocket.refuse_blind({**figures, "pictures_only": worse})


RUN = dict(LINES) | {"seed": 1, "in_plain_words": 0.1}


@pytest.mark.parametrize("changed", [{"absent_naming": 0.06}, {"text_qa": 0.89}])
def test_a_bundle_under_a_line_is_refused(changed: dict[str, float]) -> None:
    card.refuse_worse([RUN], [RUN])
    with pytest.raises(ModelError, match=f"seed 1: {next(iter(changed))}"):
        card.refuse_worse([RUN | changed], [RUN])


def test_a_bundle_that_lost_by_quantisation_is_refused() -> None:
    with pytest.raises(ModelError, match="quantisation"):
        card.refuse_worse([RUN | {"text_qa": 0.95}], [RUN | {"text_qa": 0.97}])
