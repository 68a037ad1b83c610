"""Whether the language model looks: questions that only pictures answer, with them and with them blanked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from kinsight import prompt
from kinsight.drawn import COLOURS
from kinsight_train.mllm.cast import POSITIONS, Known, Situation, listed, situation
from kinsight_train.mllm.lessons import NO_LABEL, batched, packed
from kinsight_train.mllm.model import Mllm
from kinsight_train.mllm.sorts import Lesson
from kinsight_train.mllm.tasks import PLACE_WORDS
from kinsight_train.mllm.tokenizer import MllmTokenizer


@dataclass(frozen=True)
class Choice:
    """A question with the answers to choose from; only pictures and references are given, no facts."""

    question: str
    answers: tuple[str, ...]
    right: int


Chooser = Callable[[Situation, np.random.Generator], "Choice | None"]


def presence(scene: Situation, rng: np.random.Generator) -> Choice | None:
    """Whether somebody in the list is in the photo; as often yes as no."""
    there = bool(rng.random() < 0.5)
    one = _anyone(scene.present() if there else scene.absent(), rng)
    if one is None:
        return None
    name = one.concept.name
    answers = f"No, I don't see {name} in this photo.", f"Yes, {name} is in the photo."
    return Choice(f"Is {name} in the photo?", answers, int(there))


def position(scene: Situation, rng: np.random.Generator) -> Choice | None:
    """Where somebody is, of nine places."""
    one = _anyone(scene.present(), rng)
    if one is None:
        return None
    answers = tuple(f"{one.concept.name} is in the photo, {words}." for words in POSITIONS)
    return Choice(f"Where is {one.concept.name}?", answers, POSITIONS.index(scene.place(scene.thing(one))))


def colour(scene: Situation, rng: np.random.Generator) -> Choice | None:
    """Which of eleven colours somebody has."""
    one = _anyone(scene.present(), rng)
    if one is None:
        return None
    answers = tuple(f"{one.concept.name} is {name} and" for name in COLOURS)
    return Choice(f"What colour is {one.concept.name}?", answers, list(COLOURS).index(one.individual.colour))


def place(scene: Situation, rng: np.random.Generator) -> Choice | None:
    """In which of six places the photo was taken."""
    answers = tuple(f"The photo was taken {words}." for words in PLACE_WORDS.values())
    where = "" if scene.drawing is None else scene.drawing.place
    return Choice("Where was this photo taken?", answers, list(PLACE_WORDS).index(where))


CHOOSERS: dict[str, tuple[Chooser, float]] = {
    "presence": (presence, 1 / 2),
    "position": (position, 1 / 9),
    "colour": (colour, 1 / 11),
    "place": (place, 1 / 6),
}
"""Name -> (the question, what blind guessing gives)."""


def sight(
    model: Mllm, tokenizer: MllmTokenizer, seed: int, scenes: int, blank: bool = False
) -> dict[str, list[bool]]:
    """Whether each choice was right, by question, on held-out scenes and names.

    `blank` puts zeros in place of every picture's embeddings. An answer is chosen by the probability that
    the model gives to all of its words; "Yes" and "No" by their first word alone.
    """
    asked: dict[str, list[bool]] = {name: [] for name in CHOOSERS}
    for number in range(scenes):
        rng = np.random.default_rng((seed, number, 0, 2))
        scene = situation(rng, held_out=True)
        opened = prompt.opening(
            scene.drawing.pixels if scene.drawing else None, listed(list(scene.known), pictures=True)
        )
        for name, (chooser, _) in CHOOSERS.items():
            choice = chooser(scene, rng)
            if choice is not None:
                first_only = name == "presence"
                asked[name].append(
                    choose(model, tokenizer, opened, choice, (blank, first_only)) == choice.right
                )
    return asked


def choose(
    model: Mllm, tokenizer: MllmTokenizer, opened: prompt.Parts, choice: Choice, modes: tuple[bool, bool]
) -> int:
    """Row of the likeliest answer; `modes`: pictures blanked, only the first token of each answer counts."""
    blank, first_only = modes
    answers = choice.answers
    talks = tuple(((prompt.asking(choice.question, [], ""), answer),) for answer in answers)
    batch = batched([packed(Lesson(opened, talks), tokenizer, model.shape)], tokenizer)
    rows = batch.rows
    wanted = batch.labels != NO_LABEL
    with torch.no_grad():
        embedded = model.embed(rows)
        if blank:
            embedded = embedded.masked_fill((rows.picture > 0)[:, :, None], 0.0)
        hidden = model.read(embedded, rows.positions, rows.mask())[wanted]
        scores = functional.log_softmax(functional.linear(hidden, model.net.lm_head.weight).float(), dim=-1)
    labels = batch.labels[wanted]
    each = scores.gather(1, labels[:, None])[:, 0]
    return int(np.argmax(_totals(each, rows.segment[wanted], len(answers), first_only)))


def _totals(scores: torch.Tensor, blocks: torch.Tensor, count: int, first_only: bool) -> Sequence[float]:
    """Log probability of every answer; the end of an answer that goes on ("... and") does not count."""
    own = [scores[blocks == number] for number in range(1, count + 1)]
    return [float(each[0] if first_only else each[:-1].sum()) for each in own]


def _anyone(people: list[Known], rng: np.random.Generator) -> Known | None:
    return people[int(rng.integers(len(people)))] if people else None
