"""Where the language model has to look, hop by hop, while it learns: links of a row's places, and readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinsight.drawn import ATTRIBUTES
from kinsight.llm import Control, Part, Picture, Text
from kinsight.metrics import find_names
from kinsight.prompt import position
from kinsight_train.loop import Losses
from kinsight_train.mllm.cast import POSITIONS
from kinsight_train.mllm.cells import NOTHING, POSTURES, filling, letterboxed_box, looks_of
from kinsight_train.mllm.model import Mllm, MllmShape
from kinsight_train.mllm.sorts import Lesson, Shown
from kinsight_train.mllm.tokenizer import MODEL, MllmTokenizer

PHOTO, REFERENCE, NAME, ASKED, ANSWER = 1, 2, 3, 4, 5
"""Roles of places: photo tokens on somebody, tokens of the reference, name in the list, name in the
question, begin of the answer. Each role looks at the one before it, at the places of the same somebody."""
LOOKS = {REFERENCE: (1, 0), NAME: (2, 0), ASKED: (3, 0), ANSWER: (4, 0)}
"""Role -> (layer, head) that looks."""
CLUES = {name: len(values) for name, values in ATTRIBUTES.items()} | {
    "posture": len(POSTURES),
    "position": len(POSITIONS),
    "presence": 2,
}
"""What a place is to know of its somebody after the look -> how many values."""
_WEIGHTS = {"posture": 2.0, "position": 8.0, "presence": 8.0}  # of a clue in the loss; .5 else


@dataclass(frozen=True)
class Marks:
    """Of every place of a row: which of the shown it is about, and as what."""

    who: list[int]  # 0: nobody, k: the k-th of the shown
    role: list[int]  # 0: none
    clues: list[list[int]]  # of each of the shown, in the order of CLUES; -1: not known


@dataclass(frozen=True)
class MarkBatch:
    """Marks of several rows, padded."""

    who: Tensor  # int64 (rows, length)
    role: Tensor  # int64 (rows, length)
    clues: Tensor  # int64 (rows, most shown, clues)

    def to(self, device: torch.device) -> MarkBatch:
        """The same on a device."""
        return MarkBatch(self.who.to(device), self.role.to(device), self.clues.to(device))


def marks_of(parts: Sequence[Part], each: Lesson, tokenizer: MllmTokenizer, shape: MllmShape) -> Marks:
    """Marks of a whole prompt or of its opening, given the parts that its tokens are made of."""
    who: list[int] = []
    role: list[int] = []
    shown = [one.name for one in each.shown]
    pictures, asked, questioning = 0, 0, False
    for part in parts:
        ids = tokenizer.encode_parts([part])
        whose = [0] * len(ids)
        as_what = 0
        if isinstance(part, Picture) and shown:
            as_what = REFERENCE if pictures else PHOTO
            own = [pictures] * shape.picture_tokens if pictures else _photo(each, shape)
            whose = [0, *own, 0]
            pictures += 1
            asked = 0
        elif isinstance(part, Text) and shown:
            named = find_names(part.text, shown)
            if questioning and named:
                asked, as_what = shown.index(named[0][0]) + 1, ASKED
                whose = tokenizer.covering(part.text, named[0][1:], asked)
            elif part.text in shown and not asked:
                as_what = NAME
                whose = [shown.index(part.text) + 1] * len(ids)
            questioning = part.text == "Question: "
        elif isinstance(part, Control) and part.text.endswith(MODEL) and asked:
            whose[-1], as_what, asked = asked, ANSWER, 0
        who += whose
        role += [as_what if one else 0 for one in whose]
    return Marks(who, role, [_clues(one, each) for one in each.shown])


def mark_batch(marks: Sequence[Marks], length: int) -> MarkBatch:
    """Padded with nothing."""
    most = max(1, *(len(each.clues) for each in marks))
    clues = torch.full((len(marks), most, len(CLUES)), NOTHING, dtype=torch.int64)
    who, role = (torch.zeros((len(marks), length), dtype=torch.int64) for _ in range(2))
    for row, each in enumerate(marks):
        who[row, : len(each.who)] = torch.tensor(each.who)
        role[row, : len(each.role)] = torch.tensor(each.role)
        if each.clues:
            clues[row, : len(each.clues)] = torch.tensor(each.clues)
    return MarkBatch(who, role, clues)


class Links(nn.Module):
    """Readers of hidden states, one a hop; thrown away when the model has learned to look."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.readers = nn.ModuleDict({str(role): nn.Linear(hidden, sum(CLUES.values())) for role in LOOKS})

    def losses(
        self, model: Mllm, states: Sequence[Tensor], rows: tuple[Tensor, Tensor], marks: MarkBatch
    ) -> Losses:
        """Of all hops; `states` are as `Mllm.states` gives them, `rows` are positions and mask.

        "looks": minus the log of the attention that a place has on the places of its somebody one role
        before, where that somebody is not in the photo on the row's first token. "clues": cross-entropy of
        what can be read of the somebody there after that layer.
        """
        looks: list[Tensor] = []
        clues: list[Tensor] = []
        for role, at in LOOKS.items():
            here = marks.role == role
            if not here.any():
                continue
            positions, mask = rows
            scores = model.attention(states[at[0]], positions, mask, at)[here]
            looks.append(-_wanted(scores, mask[:, 0][here], marks, here, role))
            clues += self._read(role, states[at[0] + 1][here], marks, here)
        found = {"looks": looks, "clues": clues}
        return {name: torch.stack(each).mean() for name, each in found.items() if each}

    def _read(self, role: int, hidden: Tensor, marks: MarkBatch, here: Tensor) -> Iterator[Tensor]:
        scores = self.readers[str(role)](hidden.float()).float()
        labels = _of_places(marks, here)
        begin = 0
        for column, (name, count) in enumerate(CLUES.items()):
            known = labels[:, column] != NOTHING
            if known.any():
                loss = functional.cross_entropy(scores[known, begin : begin + count], labels[known, column])
                yield _WEIGHTS.get(name, 0.5) * loss
            begin += count


def _wanted(scores: Tensor, seen: Tensor, marks: MarkBatch, here: Tensor, role: int) -> Tensor:
    """Mean log of the attention on what is to be looked at, of (places, length) log attentions."""
    rows = here.nonzero()[:, 0]
    target = (marks.role[rows] == role - 1) & (marks.who[rows] == marks.who[here][:, None]) & seen
    target[:, 0] |= ~target.any(-1)
    return scores.masked_fill(~target, float("-inf")).logsumexp(-1).mean()


def _of_places(marks: MarkBatch, here: Tensor) -> Tensor:
    """int64 (places, clues): of the somebody that each place is about."""
    return marks.clues[here.nonzero()[:, 0], marks.who[here] - 1]


def _photo(each: Lesson, shape: MllmShape) -> list[int]:
    """Of every photo token, who of the shown fills most of it: 1, 2, ... or 0."""
    if each.drawing is None:
        raise ValueError("a lesson that shows somebody needs its drawing")
    height, width = each.drawing.pixels.shape[:2]
    boxes = [letterboxed_box(thing.xyxy, width, height, shape.picture_px) for thing in each.drawing.things]
    cells = int(shape.picture_tokens**0.5)
    fills = filling(boxes, shape.picture_px, cells)
    numbered = {one.row: number for number, one in enumerate(each.shown, 1) if one.row is not None}
    for row in numbered:
        if not (fills == row).any():  # too small for most of any cell
            x0, y0, x1, y1 = boxes[row]
            side = shape.picture_px / cells
            fills[
                min(cells - 1, int((y0 + y1) / 2 / side)) * cells + min(cells - 1, int((x0 + x1) / 2 / side))
            ] = row
    return [numbered.get(int(row), 0) for row in fills]


def _clues(one: Shown, each: Lesson) -> list[int]:
    looks = looks_of(one.individual)
    if one.row is None or each.drawing is None:
        return [*looks, NOTHING, NOTHING, 0]
    thing = each.drawing.things[one.row]
    height, width = each.drawing.pixels.shape[:2]
    where = position(thing.xyxy, width, height)
    return [*looks, POSTURES.index(thing.posture), POSITIONS.index(where), 1]
