"""A pocket language model in miniature, with a vocabulary of its own, and taught in a few seconds."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from kinsight.llm import Picture, Text, Turn
from kinsight_train.mllm.model import Mllm, MllmShape, Rows
from kinsight_train.mllm.parity import one_row
from kinsight_train.mllm.tokenizer import MllmTokenizer, train_tokenizer

SHAPE = MllmShape(
    hidden=64,
    layers=2,
    heads=2,
    key_heads=1,
    feed_forward=96,
    context=512,
    picture_px=32,
    patch_px=8,
    picture_tokens=4,
    vision_hidden=64,
    vision_layers=2,
    vision_heads=2,
    vision_feed_forward=96,
)
LINES = [
    f"{name} is a {colour} {kind} with a {other} hat. Where is {name}? I do not know this {kind}."
    for name, colour, kind, other in itertools.product(
        ("Lala", "Rex", "Mia"), ("red", "blue", "green"), ("dog", "cat", "cup"), ("white", "black")
    )
]


def make_tokenizer(folder: Path) -> MllmTokenizer:
    """A vocabulary of 320 pieces."""
    return MllmTokenizer(train_tokenizer(LINES, folder / "tokenizer.model", 320), SHAPE.picture_tokens)


ANSWERS = {(220, 30, 30): "Lala is a red dog.", (30, 30, 220): "Rex is a blue cat."}
"""Colour of a photo -> what the taught model says to it."""


def asked(colour: tuple[int, int, int]) -> list[Turn]:
    """A question about a photo of one colour."""
    photo = Picture(np.full((40, 60, 3), colour, np.uint8))
    return [Turn("system", (Text("Answer."),)), Turn("user", (photo, Text("Who is this?")))]


def taught(tokenizer: MllmTokenizer, steps: int = 80) -> Mllm:
    """A model that tells two photos apart by their colour."""
    model = Mllm(SHAPE, tokenizer, seed=1)
    lessons = [_lesson(tokenizer, colour, answer) for colour, answer in ANSWERS.items()]
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        for rows, wanted in lessons:
            loss = functional.cross_entropy(model(rows, wanted), rows.tokens.roll(-1, 1)[wanted])
            loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model.eval()


def _lesson(tokenizer: MllmTokenizer, colour: tuple[int, int, int], answer: str) -> tuple[Rows, torch.Tensor]:
    """A row with its answer, and the places whose next token is to be learnt."""
    question = one_row(tokenizer, tokenizer.parts(asked(colour)), SHAPE)
    answered = torch.tensor([tokenizer.answer(answer)])
    tokens = torch.cat((question.tokens, answered), dim=1)
    nothing = torch.zeros_like(answered)
    rows = Rows(
        tokens=tokens,
        positions=torch.arange(tokens.shape[1])[None],
        segment=torch.zeros_like(tokens),
        picture=torch.cat((question.picture, nothing), dim=1),
        pixels=question.pixels,
    )
    wanted = torch.zeros_like(tokens, dtype=torch.bool)
    wanted[:, question.tokens.shape[1] - 1 : -1] = True
    return rows, wanted
