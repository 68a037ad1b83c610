"""Trains the pocket language model: vocabulary, eyes, first lessons, then to look from hop to hop."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from kinsight_train.loop import Losses, Run, Schedule, device, load_average, train
from kinsight_train.mllm.eyes import Eyes, ViewBatches, token_accuracy, told
from kinsight_train.mllm.eyes import loss_of as eyes_loss
from kinsight_train.mllm.gaze import train_gaze
from kinsight_train.mllm.lessons import NO_LABEL, LessonBatch, Lessons, tokenizer_lines
from kinsight_train.mllm.links import Links
from kinsight_train.mllm.model import Mllm, MllmShape, deepened, strengthen_positions
from kinsight_train.mllm.restore import restore_tokenizer, restore_weights
from kinsight_train.mllm.sorts import FIRST_SORTS, SORTS
from kinsight_train.mllm.tokenizer import MllmTokenizer, train_tokenizer

FIRST_SHAPE = MllmShape(layers=4, vision_layers=4, vision_feed_forward=576)
ADDED = 1, 3
"""Numbers of the text layers that are put between those of the first lessons."""
SHAPE = replace(FIRST_SHAPE, layers=6)
_MATRICES = "layers"  # of both towers; tables, the patches' filter and the projector are none of Muon's
_LINKS_SHARE = 1.0  # of the loss that the hops have, beside the answers
PIECES = 1200


@dataclass(frozen=True)
class Course:
    """The schedules of all that is trained, in their order."""

    eyes: Schedule  # the picture tower alone
    first: Schedule  # all but the tower, FIRST_SHAPE
    gaze: Schedule  # the tower again, and the first layer that looks
    lessons: Schedule  # all but the tower, SHAPE


COURSE = Course(
    eyes=Schedule(steps=2400, batch=48, peak_lr=3e-3, warmup=60, seed=1, muon=_MATRICES),
    first=Schedule(steps=2500, batch=10, peak_lr=2e-3, warmup=100, seed=2, muon=_MATRICES),
    gaze=Schedule(steps=300, batch=12, peak_lr=2e-3, warmup=20, save_every=50, seed=7, muon=_MATRICES),
    lessons=Schedule(steps=540, batch=6, peak_lr=1.5e-3, warmup=20, save_every=25, seed=8, muon=_MATRICES),
)


class Pupil(nn.Module):
    """The model with the readers that help it to learn to look."""

    def __init__(self, model: Mllm, links: Links) -> None:
        super().__init__()
        self.model = model
        self.links = links


def train_mllm(
    folder: Path, report: Callable[[str], None], workers: int = 1, course: Course = COURSE
) -> tuple[Mllm, MllmTokenizer]:
    """All steps, each of which goes on where it was stopped; the model with averaged weights.

    Where `begin_with` put a language model that is there already, it takes the place of the first two.
    """
    first, tokenizer = new_model(folder, FIRST_SHAPE)
    begun = folder / _BEGUN
    if begun.is_dir():
        report("begins with the language model of an earlier bundle")
        restore_weights(first, begun / _LLM, begun / _MMPROJ)
    else:
        train_eyes(first, course.eyes, Run(folder / "eyes", report, workers))
        first.net.model.vision_tower.requires_grad_(False)  # its learning would be lost in the first lessons
        lessons = Lessons(tokenizer.file, course.first.seed, course.first.batch, FIRST_SHAPE, FIRST_SORTS)
        train(first, course.first, lessons, first_loss, Run(folder / "first", report, workers))
        load_average(first, folder / "first")
    model = deepened(first, Mllm(SHAPE, tokenizer, course.gaze.seed), ADDED)
    strengthen_positions(model)
    links = Links(SHAPE.hidden)
    train_gaze((model, links), tokenizer.file, course.gaze, Run(folder / "gaze", report, workers))
    model.requires_grad_(True).net.model.vision_tower.requires_grad_(False)
    lessons = Lessons(tokenizer.file, course.lessons.seed, course.lessons.batch, SHAPE, SORTS)
    train(Pupil(model, links), course.lessons, lessons, loss_of, Run(folder, report, workers))
    return load_mllm(folder)


_BEGUN, _LLM, _MMPROJ = "begun", "llm.gguf", "mmproj.gguf"


def begin_with(folder: Path, llm: Path, mmproj: Path) -> None:
    """Puts a language model of FIRST_SHAPE into the folder of a training, which then begins with it."""
    begun = folder / _BEGUN
    begun.mkdir(parents=True, exist_ok=True)
    for source, name in ((llm, _LLM), (mmproj, _MMPROJ)):
        shutil.copyfile(source, begun / name)
    restore_tokenizer(begun / _LLM, folder / "tokenizer.model")


def new_model(folder: Path, shape: MllmShape = SHAPE) -> tuple[Mllm, MllmTokenizer]:
    """An untrained model with the vocabulary of the folder, which is made where it is missing."""
    file = folder / "tokenizer.model"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = train_tokenizer(tokenizer_lines(0), file.with_suffix(".part"), PIECES)
        part.replace(file)
    tokenizer = MllmTokenizer(file, shape.picture_tokens)
    return Mllm(shape, tokenizer), tokenizer


def load_mllm(folder: Path, shape: MllmShape = SHAPE) -> tuple[Mllm, MllmTokenizer]:
    """The trained model, with averaged weights. Raises ModelError where it was not trained yet."""
    tokenizer = MllmTokenizer(folder / "tokenizer.model", shape.picture_tokens)
    pupil = Pupil(Mllm(shape, tokenizer), Links(shape.hidden))
    load_average(pupil, folder)
    return pupil.model, tokenizer


def train_eyes(model: Mllm, schedule: Schedule, run: Run) -> None:
    """Trains the picture tower alone, in place; the averaged weights go into the model."""
    eyes = Eyes(model)
    train(
        eyes,
        schedule,
        ViewBatches(schedule.seed, schedule.batch, model.shape),
        eyes_loss,
        run,
    )
    load_average(eyes, run.folder)
    held_out = ViewBatches(schedule.seed + 1000, 64, model.shape)(0)
    run.report("eyes, held-out pictures: " + told(token_accuracy(eyes.to("cpu"), held_out)))


def first_loss(model: nn.Module, batch: LessonBatch) -> Losses:
    """Next-token cross-entropy of the answers."""
    batch = batch.to(device())
    wanted = batch.labels != NO_LABEL
    return {"answers": functional.cross_entropy(model(batch.rows, wanted).float(), batch.labels[wanted])}


def loss_of(pupil: nn.Module, batch: LessonBatch) -> Losses:
    """Next-token cross-entropy of the answers, and what the hops of the looks are to do."""
    if not isinstance(pupil, Pupil):
        raise TypeError("this is the loss of a Pupil")
    model, batch = pupil.model, batch.to(device())
    rows, mask, wanted = batch.rows, batch.rows.mask(), batch.labels != NO_LABEL
    states = model.states(model.embed(rows), rows.positions, mask)
    scores = model.logits(model.done(states[-1])[wanted]).float()
    hops: dict[str, Tensor] = pupil.links.losses(model, states, (rows.positions, mask), batch.marks)
    return {
        "answers": functional.cross_entropy(scores, batch.labels[wanted]),
        **{name: _LINKS_SHARE * loss for name, loss in hops.items()},
    }
