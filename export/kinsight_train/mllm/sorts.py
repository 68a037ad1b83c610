"""Sorts of lessons: about a photo with references, about one picture, about what was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from kinsight import prompt
from kinsight.drawn import KINDS, Drawing, Individual, individual, random_scene
from kinsight.prompt import Asked, Facts, Parts, a_thing
from kinsight.prompt.question import Kind
from kinsight_train.mllm.cast import (
    MOST_REFERENCES,
    VISIBLE,
    Known,
    Rng,
    Situation,
    listed,
    reference_of,
    situation,
    told_situation,
)
from kinsight_train.mllm.tasks import (
    OF_A_PHOTO,
    OF_LOOKS,
    OF_NO_PHOTO,
    Exchange,
    Tasks,
    appearance,
    everything,
    oftener,
    one_of,
    place,
)

_BARE = 0.8  # share of the rows about looks that have no infos
_MORE = 2  # questions in such a row, as they are short


@dataclass(frozen=True)
class Shown:
    """Somebody whose reference picture is in the opening, with the truth about the photo."""

    name: str
    individual: Individual
    row: int | None  # of the thing in the photo; None: not there


@dataclass(frozen=True)
class Lesson:
    """A prompt's opening, and talks that all begin with it: chains of (question parts, answer)."""

    opened: Parts
    talks: tuple[tuple[tuple[Parts, str], ...], ...]
    shown: tuple[Shown, ...] = ()  # by the opening's pictures after the photo, in their order
    drawing: Drawing | None = None  # the photo
    alone: Individual | None = None  # whom the only picture shows, where it is no photo

    def individuals(self) -> list[Individual]:
        """Whom the pictures after the photo show, one each."""
        return [one.individual for one in self.shown] + ([self.alone] if self.alone else [])


def about_a_photo(rng: Rng, blocks: int, tasks: Tasks = OF_A_PHOTO) -> Lesson:
    """A photo with its references and questions about it.

    Half of them list as references just those whom recall accepted, as the runtime does; the others list
    absent ones too. Facts are whole, lack a position, or are not given at all.
    """
    scene = situation(rng)
    noise = rng.random() < 0.5
    opened = list(scene.known) if noise else scene.present()
    references = listed(opened, pictures=True)
    talks = []
    for _ in range(blocks):
        talk = [_turn(scene, opened, rng, noise, tasks)]
        if rng.random() < 0.15:
            talk.append(_turn(scene, opened, rng, noise, tasks))
        talks.append(tuple(talk))
    pixels = scene.drawing.pixels if scene.drawing else None
    return Lesson(prompt.opening(pixels, references), tuple(talks), shown_of(opened), scene.drawing)


def _turn(scene: Situation, opened: list[Known], rng: Rng, noise: bool, tasks: Tasks) -> tuple[Parts, str]:
    """One question with its parts as the runtime makes them, and the answer."""
    with_facts = rng.random() < (0.25 if noise else 0.6)
    unsure = tuple(one.concept.id for one in scene.present() if with_facts and rng.random() < 0.1)
    true = scene.facts(unsure=unsure)
    exchange = _ask(scene, true, tasks, rng)
    words = ""
    if with_facts:  # now and then they are there but do not say where: the picture does
        unplaced = tuple(one.concept.id for one in scene.present() if rng.random() < 0.1)
        asked = Asked(_kind(exchange.task), tuple(one.concept for one in exchange.about))
        words = prompt.facts_words(
            scene.facts(unplaced, unsure), asked, [one.concept.name for one in scene.known]
        )
    extra = [one for one in exchange.about if one not in opened]
    return prompt.asking(exchange.question, listed(extra, False, len(opened) + 1), words), exchange.answer


def about_looks(rng: Rng, blocks: int, tasks: Tasks = OF_LOOKS) -> Lesson:
    """A photo with references and what only pictures tell about them: no facts, mostly no infos."""
    scene = situation(rng, even=True)
    known = scene.known
    if rng.random() < _BARE:
        known = tuple(replace(one, concept=replace(one.concept, info="")) for one in known)
    scene = replace(scene, known=known)
    asked = [_ask(scene, scene.facts(), tasks, rng) for _ in range(blocks + _MORE)]
    talks = tuple(((prompt.asking(one.question, [], ""), one.answer),) for one in asked)
    pixels = scene.drawing.pixels if scene.drawing else None
    opened = prompt.opening(pixels, listed(list(known), pictures=True))
    return Lesson(opened, talks, shown_of(known), scene.drawing)


def shown_of(listed_ones: Sequence[Known]) -> tuple[Shown, ...]:
    """Those of a list that have a picture there."""
    return tuple(Shown(one.concept.name, one.individual, one.row) for one in listed_ones[:MOST_REFERENCES])


def about_one_picture(rng: Rng, blocks: int) -> Lesson:
    """One picture of one thing, as simple as can be: what it is, and how each of its parts looks."""
    one = individual(rng)
    worn = a_thing(f"{one.accessory_colour} {one.accessory}")
    asked = (
        ("What is this?", f"It is {appearance(one)}."),
        ("What colour is it?", f"It is {one.colour} and {one.second}."),
        ("What does it wear?", f"It wears {worn}."),
        ("What kind of thing is it?", f"It is {a_thing(one.kind)}."),
    )[:blocks]
    talks = tuple(((prompt.asking(question, [], ""), answer),) for question, answer in asked)
    return Lesson(prompt.opening(reference_of(one, rng), []), talks, alone=one)


def about_a_scene(rng: Rng, blocks: int) -> Lesson:
    """A photo of strangers and no references: what is where, how it looks, in which place."""
    drawing = random_scene(rng)
    scene = Situation(drawing, ())
    seen = [thing for thing in drawing.things if thing.visible >= VISIBLE]
    asked = [plain(scene, scene.facts(), rng) for plain in (place, everything)]
    kinds = Counter(thing.individual.kind for thing in seen)
    for thing in seen:
        looks, kind = thing.individual, thing.individual.kind
        if kinds[kind] == 1:
            which = one_of((f"the {kind}", f"the {looks.colour} {kind}"), rng)
            here, colours = scene.place(thing), f"{looks.colour} and {looks.second}"
            asked += [
                Exchange("where", f"Where is {which}?", f"The {looks.colour} {kind} is {here}."),
                Exchange("colour", f"What colour is the {kind}?", f"It is {colours}."),
                Exchange("looks", f"Describe the {kind}.", f"It is {appearance(looks)}."),
                Exchange("presence", f"Is there a {kind}?", f"Yes, {here}."),
            ]
    absent = str(rng.choice([kind for kind in KINDS if kind not in kinds]))
    asked.append(Exchange("presence", f"Is there a {absent}?", f"No, I see no {absent}."))
    chosen = [exchange for row in rng.permutation(len(asked)).tolist() if (exchange := asked[row])][:blocks]
    talks = tuple(((prompt.asking(one.question, [], ""), one.answer),) for one in chosen)
    return Lesson(prompt.opening(drawing.pixels, []), talks, drawing=drawing)


def about_what_was_told(rng: Rng, blocks: int) -> Lesson:
    """No photo: questions with the notes about whom they name, or about everybody."""
    talks = []
    for _ in range(blocks):
        scene = told_situation(rng)
        exchange = _ask(scene, scene.facts(), OF_NO_PHOTO, rng)
        noted = list(exchange.about) if rng.random() < 0.7 else list(scene.known)
        talks.append(((prompt.asking(exchange.question, listed(noted, False), ""), exchange.answer),))
    return Lesson((), tuple(talks))


@dataclass(frozen=True)
class Sort:
    """One sort of lessons."""

    make: Callable[[Rng, int], Lesson]
    share: float  # how often it comes
    rows: int  # in place of one of the longest sort


SORTS = (
    Sort(about_looks, 0.45, 2),
    Sort(about_a_photo, 0.33, 1),
    Sort(about_a_scene, 0.08, 3),
    Sort(about_one_picture, 0.03, 3),
    Sort(about_what_was_told, 0.11, 1),
)
"""Most of them are to find in the photo whom the references show, the others to phrase and to copy."""

FINISHING = (
    Sort(partial(about_looks, tasks=oftener(OF_LOOKS, {"caption": 1.5, "doing": 2.0})), 0.3, 2),
    Sort(partial(about_a_photo, tasks=oftener(OF_A_PHOTO, {"caption": 3.0})), 0.45, 1),
    Sort(about_a_scene, 0.08, 3),
    Sort(about_one_picture, 0.03, 3),
    Sort(about_what_was_told, 0.14, 1),
)
"""More to phrase and to copy, and more captions: what is rare in those above."""


def sort_of_lessons(rng: Rng, sorts: Sequence[Sort] = SORTS) -> Sort:
    """One of the sorts, by their shares."""
    return sorts[int(rng.choice(len(sorts), p=[sort.share for sort in sorts]))]


def lesson(rng: Rng, blocks: int = 6) -> Lesson:
    """One row of training, of any sort, with so many questions."""
    return sort_of_lessons(rng).make(rng, blocks)


def _ask(scene: Situation, facts: Facts, tasks: Tasks, rng: Rng) -> Exchange:
    weights = np.array([weight for _, weight in tasks])
    while True:
        task = tasks[int(rng.choice(len(tasks), p=weights / weights.sum()))][0]
        exchange = task(scene, facts, rng)
        if exchange is not None:
            return exchange


def _kind(task: str) -> Kind:
    kinds: dict[str, Kind] = {kind: kind for kind in ("who", "where", "presence", "caption")}
    return (kinds | {"neighbour": "beside"}).get(task, "other")
