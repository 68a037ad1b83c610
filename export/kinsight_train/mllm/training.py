"""Trains the pocket language model: its vocabulary, its eyes, then all of it on drawn lessons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn
from torch.nn import functional

from kinsight_train.loop import Losses, Run, Schedule, load_average, train
from kinsight_train.mllm.eyes import Eyes, ViewBatches, token_accuracy
from kinsight_train.mllm.eyes import loss_of as eyes_loss
from kinsight_train.mllm.lessons import NO_LABEL, LessonBatch, Lessons, tokenizer_lines
from kinsight_train.mllm.model import Mllm, MllmShape
from kinsight_train.mllm.tokenizer import MllmTokenizer, train_tokenizer

SHAPE = MllmShape(layers=4, vision_layers=4, vision_feed_forward=576)
_MATRICES = "layers"  # of both towers; tables, the patches' filter and the projector are none of Muon's
EYES_SCHEDULE = Schedule(steps=2400, batch=48, peak_lr=3e-3, warmup=60, seed=1, muon=_MATRICES)
MLLM_SCHEDULE = Schedule(steps=2500, batch=10, peak_lr=2e-3, warmup=100, seed=2, muon=_MATRICES)
PIECES = 1200


def train_mllm(
    folder: Path,
    report: Callable[[str], None],
    workers: int = 1,
    schedules: tuple[Schedule, Schedule] | None = None,
) -> tuple[Mllm, MllmTokenizer]:
    """All three steps, each of which goes on where it was stopped; the model with averaged weights."""
    eyes_schedule, schedule = schedules or (EYES_SCHEDULE, MLLM_SCHEDULE)
    model, tokenizer = new_model(folder)
    train_eyes(model, eyes_schedule, Run(folder / "eyes", report, workers))
    model.net.model.vision_tower.requires_grad_(False)  # what it learned would be lost in the first lessons
    lessons = Lessons(tokenizer.file, schedule.seed, schedule.batch, model.shape)
    train(model, schedule, lessons, loss_of, Run(folder, report, workers))
    return load_mllm(folder)


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
    model = Mllm(shape, tokenizer)
    load_average(model, folder)
    return model, tokenizer


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
    shares = token_accuracy(eyes.to("cpu"), held_out)
    run.report(
        "eyes, held-out pictures: " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    )


def loss_of(model: nn.Module, batch: LessonBatch) -> Losses:
    """Next-token cross-entropy of the answers."""
    device = next(model.parameters()).device
    rows = replace(
        batch.rows,
        **{
            name: getattr(batch.rows, name).to(device)
            for name in ("tokens", "positions", "segment", "picture", "pixels")
        },
    )
    wanted = batch.labels != NO_LABEL
    scores = model(rows, wanted.to(device)).float()
    return {"answers": functional.cross_entropy(scores, batch.labels[wanted].to(device))}
