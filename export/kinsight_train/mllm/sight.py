"""Whether the language model looks: questions that only pictures answer, with them and with them blanked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from kinsight import prompt
from kinsight.drawn import COLOURS
from kinsight_train.mllm.cast import MOST_REFERENCES, POSITIONS, Known, Situation, listed, situation
from kinsight_train.mllm.cells import POSTURES
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
    first_only: bool = False  # only the first token of each answer counts


Chooser = Callable[[Situation, np.random.Generator], "Choice | None"]


def presence(scene: Situation, rng: np.random.Generator) -> Choice | None:
    """Whether somebody in the list is in the photo; as often yes as no."""
    there = bool(rng.random() < 0.5)
    one = _anyone(scene.present() if there else scene.absent(), rng)
    if one is None:
        return None
    name = one.concept.name
    answers = f"No, I don't see {name} in this photo.", f"Yes, {name} is in the photo."
    return Choice(f"Is {name} in the photo?", answers, int(there), first_only=True)


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


def posture(scene: Situation, rng: np.random.Generator) -> Choice | None:
    """Which of three postures somebody is in who has any."""
    one = _anyone([one for one in scene.present() if scene.thing(one).posture], rng)
    if one is None:
        return None
    answers = tuple(f"{one.concept.name} is {words}." for words in POSTURES[1:])
    return Choice(f"What is {one.concept.name} doing?", answers, POSTURES.index(scene.thing(one).posture) - 1)


def place(scene: Situation, rng: np.random.Generator) -> Choice | None:
    """In which of six places the photo was taken."""
    answers = tuple(f"The photo was taken {words}." for words in PLACE_WORDS.values())
    where = "" if scene.drawing is None else scene.drawing.place
    return Choice("Where was this photo taken?", answers, list(PLACE_WORDS).index(where))


CHOOSERS: dict[str, Chooser] = {
    "presence": presence,
    "position": position,
    "colour": colour,
    "posture": posture,
    "place": place,
}


@dataclass(frozen=True)
class Sight:
    """What was chosen for one question, and what was right; int64 (asked,) each."""

    chosen: NDArray[np.int64]
    right: NDArray[np.int64]

    @property
    def share(self) -> float:
        """Of right choices, 0..1."""
        return float((self.chosen == self.right).mean())

    @property
    def chance(self) -> float:
        """What the best blind guess gives: always the answer that is right most often; 0..1."""
        return float(np.bincount(self.right).max() / len(self.right))


def sight(
    model: Mllm, tokenizer: MllmTokenizer, seed: int, scenes: int, blank: bool = False
) -> dict[str, Sight]:
    """What is chosen, by question, on held-out scenes and names; of the known those with a picture count.

    `blank` puts zeros in place of every picture's embeddings. An answer is chosen by the probability that
    the model gives to all of its words; "Yes" and "No" by their first word alone.
    """
    chosen: dict[str, list[tuple[int, int]]] = {name: [] for name in CHOOSERS}
    for number in range(scenes):
        rng = np.random.default_rng((seed, number, 0, 2))
        whole = situation(rng, held_out=True)
        scene = replace(whole, known=whole.known[:MOST_REFERENCES])
        opened = prompt.opening(
            scene.drawing.pixels if scene.drawing else None, listed(list(scene.known), pictures=True)
        )
        asked = {name: choice for name, ask in CHOOSERS.items() if (choice := ask(scene, rng))}
        answers = choose(model, tokenizer, opened, list(asked.values()), blank)
        for (name, choice), row in zip(asked.items(), answers, strict=True):
            chosen[name].append((row, choice.right))
    return {name: Sight(*np.array(pairs, np.int64).T) for name, pairs in chosen.items() if pairs}


def choose(
    model: Mllm, tokenizer: MllmTokenizer, opened: prompt.Parts, choices: Sequence[Choice], blank: bool
) -> list[int]:
    """Of every choice the row of the likeliest answer; `blank`: with zeros for the pictures' embeddings."""
    talks = tuple(
        ((prompt.asking(choice.question, [], ""), answer),) for choice in choices for answer in choice.answers
    )
    batch = batched([packed(Lesson(opened, talks), tokenizer, model.shape)], tokenizer)
    rows = batch.rows
    wanted = batch.labels != NO_LABEL
    with torch.no_grad():
        embedded = model.embed(rows)
        if blank:
            embedded = embedded.masked_fill((rows.picture > 0)[:, :, None], 0.0)
        hidden = model.read(embedded, rows.positions, rows.mask())[wanted]
        scores = functional.log_softmax(model.logits(hidden).float(), dim=-1)
    each = scores.gather(1, batch.labels[wanted][:, None])[:, 0]
    blocks, begun, best = rows.segment[wanted], 0, []
    for choice in choices:
        own = [each[blocks == begun + number + 1] for number in range(len(choice.answers))]
        best.append(int(np.argmax([_total(one, choice.first_only) for one in own])))
        begun += len(own)
    return best


def _total(scores: torch.Tensor, first_only: bool) -> float:
    """Log probability of an answer; the end of an answer that goes on ("... and") does not count."""
    return float(scores[0] if first_only else scores[:-1].sum())


def _anyone(people: list[Known], rng: np.random.Generator) -> Known | None:
    return people[int(rng.integers(len(people)))] if people else None
