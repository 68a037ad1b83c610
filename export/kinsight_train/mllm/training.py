"""Trains the pocket language model: its vocabulary, its eyes, then all of it on drawn lessons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from kinsight_train.loop import CHECKPOINT, Losses, Run, Schedule, device, load_average, train
from kinsight_train.mllm.cells import Readers, told
from kinsight_train.mllm.eyes import Eyes, ViewBatches, token_accuracy
from kinsight_train.mllm.eyes import loss_of as eyes_loss
from kinsight_train.mllm.lessons import NO_LABEL, LessonBatch, Lessons, tokenizer_lines
from kinsight_train.mllm.links import Links
from kinsight_train.mllm.model import Mllm, MllmShape
from kinsight_train.mllm.sorts import FINISHING, SORTS
from kinsight_train.mllm.tokenizer import MllmTokenizer, train_tokenizer

SHAPE = MllmShape()
_MATRICES = "layers"  # of both towers; tables, the patches' filter and the projector are none of Muon's
_SHARES = {"patches": 0.1, "tokens": 0.2}
"""Of losses that are sums over all aspects, beside the answers and the hops of the looks."""
_FINISH = "finish"  # folder of the last part
PIECES = 1200


@dataclass(frozen=True)
class Course:
    """The schedules of all that is trained, in their order."""

    eyes: Schedule  # the picture tower alone
    lessons: Schedule  # all of it
    finish: Schedule  # all of it, slowly, on what came seldom


COURSE = Course(
    eyes=Schedule(steps=450, batch=128, peak_lr=3e-3, warmup=60, seed=1, muon=_MATRICES),
    lessons=Schedule(steps=1000, batch=24, peak_lr=2e-3, warmup=150, seed=2, muon=_MATRICES),
    finish=Schedule(steps=140, batch=8, peak_lr=5e-4, warmup=20, save_every=20, seed=7, muon=_MATRICES),
)


class Pupil(nn.Module):
    """The model with the readers that help it to learn to look."""

    def __init__(self, model: Mllm, readers: Readers) -> None:
        super().__init__()
        self.model = model
        self.readers = readers
        self.links = Links(model.shape.hidden)


def train_mllm(
    folder: Path, report: Callable[[str], None], workers: int = 1, course: Course = COURSE
) -> tuple[Mllm, MllmTokenizer]:
    """All parts, each of which goes on where it was stopped; the model with averaged weights."""
    model, tokenizer = new_model(folder)
    pupil = Pupil(model, Readers(model.shape))
    if not (folder / CHECKPOINT).exists():  # else they were trained
        train_eyes(pupil, course.eyes, Run(folder / "eyes", report, workers))
    for part, sorts, place in (
        (course.lessons, SORTS, folder),
        (course.finish, FINISHING, folder / _FINISH),
    ):
        lessons = Lessons(tokenizer.file, part.seed, part.batch, model.shape, sorts)
        train(pupil, part, lessons, loss_of, Run(place, report, workers))
        load_average(pupil, place)
    return pupil.model.to("cpu"), tokenizer


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
    pupil = Pupil(Mllm(shape, tokenizer), Readers(shape))
    load_average(pupil, folder / _FINISH)
    return pupil.model, tokenizer


def train_eyes(pupil: Pupil, schedule: Schedule, run: Run) -> None:
    """Trains the picture tower alone, in place; the averaged weights go into the model."""
    model = pupil.model
    eyes = Eyes(model, pupil.readers)
    batches = ViewBatches(schedule.seed, schedule.batch, model.shape)
    train(eyes, schedule, batches, eyes_loss, run)
    load_average(eyes, run.folder)
    held_out = ViewBatches(schedule.seed + 1000, 64, model.shape)(0)
    run.report("eyes, held-out pictures: " + told(token_accuracy(eyes.to("cpu"), held_out)))


def loss_of(pupil: nn.Module, batch: LessonBatch) -> Losses:
    """Next-token cross-entropy of the answers, what the looks are to find, what the pictures show."""
    if not isinstance(pupil, Pupil):
        raise TypeError("this is the loss of a Pupil")
    model, batch = pupil.model, batch.to(device())
    rows, mask, wanted = batch.rows, batch.rows.mask(), batch.labels != NO_LABEL
    losses: Losses = {}
    seen: Tensor | None = None
    if batch.cells:
        patches = model.patches(rows.pixels)
        seen = model.project(patches)
        read = pupil.readers.losses(patches, seen, batch.cells)
        losses = {name: _SHARES[name] * loss for name, loss in read.items()}
    states = model.states(model.embed(rows, seen), rows.positions, mask)
    scores = model.logits(model.done(states[-1])[wanted]).float()
    losses |= pupil.links.losses(model, states, (rows.positions, mask), batch.marks)
    return {"answers": functional.cross_entropy(scores, batch.labels[wanted]), **losses}
