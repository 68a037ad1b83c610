"""Second lessons for the language model's eyes: to find in the photo whoever a reference shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kinsight.drawn import PLACES
from kinsight.prompt import position
from kinsight_train.loop import Losses, Run, Schedule, device, load_average, train
from kinsight_train.mllm.cast import POSITIONS
from kinsight_train.mllm.eyes import (
    ASPECTS,
    NOTHING,
    POSTURES,
    filling,
    letterboxed_box,
    looks_of,
    read_loss,
    read_rightly,
    told,
)
from kinsight_train.mllm.lessons import LessonBatch, batched, opened_tokenizer, packed
from kinsight_train.mllm.links import LOOKS, REFERENCE, Links, clue_accuracy
from kinsight_train.mllm.model import Mllm, MllmShape
from kinsight_train.mllm.sorts import Lesson, looks_only

_DEPTH = LOOKS[REFERENCE][0] + 1
_SHARES = {"patches": 0.1, "tokens": 0.2}
"""Of losses that are sums over all aspects."""


@dataclass(frozen=True)
class Gaze:
    """Rows without questions, with what every cell of every picture shows."""

    lessons: LessonBatch
    patches: Tensor  # int64 (pictures, patches, aspects); -1 where no thing is, or an aspect is not known
    tokens: Tensor  # int64 (pictures, picture tokens, aspects)

    def to(self, device: torch.device) -> Gaze:
        """The same on a device."""
        return Gaze(self.lessons.to(device), self.patches.to(device), self.tokens.to(device))


@dataclass(frozen=True)
class Gazes:
    """Step -> batch, from the seed and the step alone."""

    tokenizer: Path
    seed: int
    rows: int
    shape: MllmShape

    def __call__(self, step: int) -> Gaze:
        """The batch of a step."""
        tokenizer = opened_tokenizer(self.tokenizer, self.shape.picture_tokens)
        drawn = [looks_only(np.random.default_rng((self.seed, step, row))) for row in range(self.rows)]
        batch = batched([packed(each, tokenizer, self.shape) for each in drawn], tokenizer)
        side = self.shape.picture_px
        cells = side // self.shape.patch_px, int(self.shape.picture_tokens**0.5)
        patches, tokens = (
            torch.from_numpy(np.concatenate([_labels(each, side, count) for each in drawn]))
            for count in cells
        )
        return Gaze(batch, patches, tokens)


class Gazing(nn.Module):
    """The model's eyes and its first layers, with readers that are thrown away later."""

    def __init__(self, model: Mllm, links: Links) -> None:
        super().__init__()
        text = model.net.model.language_model
        self.net = model.net.model.vision_tower
        self.projector = model.net.model.multi_modal_projector
        self.layers = nn.ModuleList([text.layers[_DEPTH - 1]])  # the others keep what they know of text
        self._model = [model]  # not a child: the rest is not trained
        self.links = links
        width = sum(ASPECTS.values()) + 1
        self.read_patch = nn.Linear(model.shape.vision_hidden, width)
        self.read_token = nn.Linear(model.shape.hidden, width)

    @property
    def model(self) -> Mllm:
        """All of it."""
        return self._model[0]

    def forward(self, batch: Gaze) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Scores of all aspects of patches and tokens; the states of the first layers."""
        model, rows = self.model, batch.lessons.rows
        patches = model.patches(rows.pixels)
        seen = model.project(patches)
        states = model.states(model.embed(rows, seen), rows.positions, rows.mask(), _DEPTH)
        return self.read_patch(patches), self.read_token(seen), states


def train_gaze(pupil: tuple[Mllm, Links], tokenizer: Path, schedule: Schedule, run: Run) -> None:
    """Trains eyes and first look, in place; the averaged weights go into the model."""
    gazing = Gazing(*pupil)
    shape = pupil[0].shape
    train(gazing, schedule, Gazes(tokenizer, schedule.seed, schedule.batch, shape), loss_of, run)
    load_average(gazing, run.folder)
    run.report("gaze, held-out photos: " + told(gaze_accuracy(gazing, tokenizer, schedule.seed + 1000)))


def gaze_accuracy(gazing: Gazing, tokenizer: Path, seed: int, rows: int = 60) -> dict[str, float]:
    """Share of what is read rightly, of picture tokens by aspect and of references by clue; 0..1."""
    batch = Gazes(tokenizer, seed, rows, gazing.model.shape)(0)
    with torch.no_grad():
        _, tokens, states = gazing(batch)
    return {
        **read_rightly(tokens, batch.tokens),
        **clue_accuracy(gazing.links, states, batch.lessons.marks),
    }


def loss_of(gazing: nn.Module, batch: Gaze) -> Losses:
    """What cells show, and whom references find."""
    if not isinstance(gazing, Gazing):
        raise TypeError("this is the loss of Gazing")
    batch = batch.to(device())
    rows, marks = batch.lessons.rows, batch.lessons.marks
    patches, tokens, states = gazing(batch)
    found = gazing.links.losses(gazing.model, states, (rows.positions, rows.mask()), marks)
    return {
        "patches": _SHARES["patches"] * read_loss(patches, batch.patches),
        "tokens": _SHARES["tokens"] * read_loss(tokens, batch.tokens),
        **found,
    }


def _labels(each: Lesson, side: int, cells: int) -> np.ndarray:
    """int64 (pictures, cells * cells, aspects): of the photo all, of references how they look."""
    drawing = each.drawing
    if drawing is None:
        raise ValueError("there is no photo")
    height, width = drawing.pixels.shape[:2]
    boxes = [letterboxed_box(thing.xyxy, width, height, side) for thing in drawing.things]
    rows = [
        [*looks_of(t.individual), POSTURES.index(t.posture), POSITIONS.index(position(t.xyxy, width, height)),
         list(PLACES).index(drawing.place)]
        for t in drawing.things
    ]  # fmt: skip
    fills = filling(boxes, side, cells)
    photo = np.where(fills[:, None] >= 0, np.array(rows, np.int64)[fills], NOTHING)
    shown = [[*looks_of(one.individual), NOTHING, NOTHING, NOTHING] for one in each.shown]
    references = np.array(shown, np.int64)[:, None].repeat(cells * cells, axis=1)
    return np.concatenate([photo[None], references])
