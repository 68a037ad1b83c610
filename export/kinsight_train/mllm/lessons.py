"""Lessons as rows of tokens: a prompt's opening once, then every talk about it as a block of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinsight import prompt
from kinsight.drawn import ATTRIBUTES, PLACES
from kinsight.llm import Picture, Text
from kinsight.prompt import Parts
from kinsight.types import Floats
from kinsight_train.mllm.cells import Cells, Labels, photo_labels, stacked, view_labels
from kinsight_train.mllm.links import MarkBatch, Marks, mark_batch, marks_of
from kinsight_train.mllm.model import PADDING, MllmShape, Rows, picture_numbers
from kinsight_train.mllm.picture import preprocess
from kinsight_train.mllm.sorts import SORTS, Lesson, Sort, lesson, sort_of_lessons
from kinsight_train.mllm.tokenizer import MllmTokenizer

NO_LABEL = -100
_TOKENIZER_LESSONS = 1500


@dataclass(frozen=True)
class Row:
    """One packed row, not yet padded."""

    tokens: list[int]
    positions: list[int]
    segment: list[int]
    labels: list[int]  # of a place: the token after it, where it is to be learned; else NO_LABEL
    pixels: list[Floats]  # float32 (3, side, side) each
    marks: Marks


@dataclass(frozen=True)
class LessonBatch:
    """Rows with what is to be learned."""

    rows: Rows
    labels: Tensor  # int64 (rows, length)
    marks: MarkBatch
    cells: Cells | None = None  # of all pictures, where it is known what they show

    def to(self, device: torch.device) -> LessonBatch:
        """The same on a device."""
        cells = self.cells.to(device) if self.cells else None
        return LessonBatch(self.rows.to(device), self.labels.to(device), self.marks.to(device), cells)


@dataclass(frozen=True)
class Lessons:
    """Step -> batch, from the seed and the step alone."""

    tokenizer: Path
    seed: int
    rows: int  # of lessons about a photo; more of shorter ones
    shape: MllmShape
    sorts: Sequence[Sort] = SORTS
    blocks: int = 6  # questions a row

    def __call__(self, step: int) -> LessonBatch:
        """The batch of a step: lessons of one sort, as rows of one length waste no padding."""
        tokenizer = opened_tokenizer(self.tokenizer, self.shape.picture_tokens)
        sort = sort_of_lessons(np.random.default_rng((self.seed, step, 0, 5)), self.sorts)
        rngs = [np.random.default_rng((self.seed, step, row)) for row in range(self.rows * sort.rows)]
        drawn = [sort.make(rng, self.blocks) for rng in rngs]
        batch = batched([packed(each, tokenizer, self.shape) for each in drawn], tokenizer)
        labels = [label for each in drawn for label in _shows(each, self.shape)]
        return replace(batch, cells=stacked(labels)) if labels else batch


@lru_cache(maxsize=1)
def opened_tokenizer(file: Path, picture_tokens: int) -> MllmTokenizer:
    """The vocabulary of a file, opened once a process."""
    return MllmTokenizer(file, picture_tokens)


def packed(each: Lesson, tokenizer: MllmTokenizer, shape: MllmShape) -> Row:
    """One lesson as a row: what the runtime would send for every talk, the common beginning only once."""
    opening = tokenizer.parts(prompt.turns(each.opened, [], ()))
    prefix = tokenizer.encode_parts(opening)[:-1]  # without the word that begins the answer
    marks = marks_of(opening, each, tokenizer, shape)
    who, role = marks.who[: len(prefix)], marks.role[: len(prefix)]
    tokens, positions, segment, labels = list(prefix), list(range(len(prefix))), [0] * len(prefix), []
    labels += [NO_LABEL] * len(prefix)
    for number, talk in enumerate(each.talks, 1):
        ids, wanted, said = _talk(each, talk, tokenizer, shape)
        if ids[: len(prefix)] != prefix:
            raise ValueError("a talk does not begin with the opening of its lesson")
        block = ids[len(prefix) :]
        tokens += block
        positions += range(len(prefix), len(ids))
        segment += [number] * len(block)
        labels += [*wanted[len(prefix) + 1 :], NO_LABEL]
        for own, of_talk in ((who, said.who), (role, said.role)):
            own += [*of_talk[len(prefix) :], *[0] * (len(ids) - len(of_talk))]
    pictures = [part.pixels for part in each.opened if isinstance(part, Picture)]
    pixels = [preprocess(each, shape.picture_px, shape.picture_tokens) for each in pictures]
    return Row(tokens, positions, segment, labels, pixels, Marks(who, role, marks.clues))


def batched(rows: Sequence[Row], tokenizer: MllmTokenizer) -> LessonBatch:
    """Rows padded to the longest."""
    tokens = _padded([row.tokens for row in rows], tokenizer.pad)
    segment = _padded([row.segment for row in rows], PADDING)
    positions = _padded([row.positions for row in rows], 0)
    pictures = [pixels for row in rows for pixels in row.pixels]
    stacked = np.stack(pictures) if pictures else np.zeros((0, 3, 1, 1), np.float32)
    numbered = picture_numbers(tokens == tokenizer.picture)
    whole = Rows(tokens, positions, segment, numbered, torch.from_numpy(stacked))
    marks = mark_batch([row.marks for row in rows], tokens.shape[1])
    return LessonBatch(whole, _padded([row.labels for row in rows], NO_LABEL), marks)


def tokenizer_lines(seed: int) -> Iterator[str]:
    """Text as the model meets it, for training the vocabulary, but for names: no piece may be one."""
    for number in range(_TOKENIZER_LESSONS):
        each = lesson(np.random.default_rng((seed, number, 7)))
        asked = [exchange for talk in each.talks for exchange in talk]
        lines = [
            *_texts(each.opened),
            *(text for parts, answer in asked for text in (*_texts(parts), answer)),
        ]
        names = {name for before, name in pairwise(lines) if before == "Name: "}
        any_name = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        yield from (part for line in lines for part in (re.split(any_name, line) if any_name else [line]))
    yield prompt.SYSTEM
    yield from (*PLACES, *(value for values in ATTRIBUTES.values() for value in values))


def _talk(
    each: Lesson, talk: Sequence[tuple[Parts, str]], tokenizer: MllmTokenizer, shape: MllmShape
) -> tuple[list[int], list[int], Marks]:
    """Token ids of a whole talk, of every place its own id where an answer is, the last prompt's marks."""
    ids: list[int] = []
    wanted: list[int] = []
    marks = Marks([], [], [])
    for number, (parts, answer) in enumerate(talk):
        sent = tokenizer.parts(prompt.turns(each.opened, list(talk[:number]), parts))
        marks = marks_of(sent, each, tokenizer, shape)
        ids = tokenizer.encode_parts(sent)
        wanted += [NO_LABEL] * (len(ids) - len(wanted))
        said = tokenizer.answer(answer)
        ids, wanted = ids + said, wanted + said
    return ids, wanted, marks


def _shows(each: Lesson, shape: MllmShape) -> list[Labels]:
    """Of every picture of a lesson, in their order, what its cells show."""
    pictures = [part.pixels for part in each.opened if isinstance(part, Picture)]
    photo = [photo_labels(each.drawing, shape)] if each.drawing else []
    sizes = [(pixels.shape[1], pixels.shape[0]) for pixels in pictures[len(photo) :]]
    alone = zip(each.individuals(), sizes, strict=True)
    return photo + [view_labels(one, size, shape) for one, size in alone]


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    out = torch.full((len(rows), max(map(len, rows))), value, dtype=torch.int64)
    for number, row in enumerate(rows):
        out[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return out


def _texts(parts: Parts) -> list[str]:
    return [part.text for part in parts if isinstance(part, Text)]
