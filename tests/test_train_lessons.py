"""The lessons of the pocket language model: true to the picture, and passed by the device's own check."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from kinsight import prompt
from kinsight.drawn.words import all_names
from kinsight.llm import Picture, Text
from kinsight.prompt import Asked, Parts
from kinsight.prompt.say import NOTHING_TOLD
from kinsight_train.mllm.cast import Situation, listed, situation, told_situation
from kinsight_train.mllm.sorts import lesson
from kinsight_train.mllm.tasks import OF_A_PHOTO, OF_NO_PHOTO, Exchange, Task

NAMED = [(task.__name__, task) for task, _ in OF_A_PHOTO]
SCENES = 36


@cache
def drawn(number: int) -> Situation:
    return situation(np.random.default_rng((3, number)))


def exchanges(task: Task, count: int = SCENES) -> Iterator[tuple[Situation, Exchange]]:
    for number in range(count):
        rng, scene = np.random.default_rng((3, number, 1)), drawn(number)
        exchange = task(scene, scene.facts(), rng)
        if exchange is not None:
            yield scene, exchange


@pytest.mark.parametrize(("name", "task"), NAMED, ids=[name for name, _ in NAMED])
def test_the_device_would_let_every_answer_pass(name: str, task: Task) -> None:
    """What the model is to learn is what `kinsight ask` may give out, when recall makes no mistake."""
    seen = 0
    for scene, exchange in exchanges(task):
        concepts = [one.concept for one in scene.known]
        facts = scene.facts()
        asked = prompt.read(exchange.question, concepts)
        if name == "caption":
            asked = Asked("caption", ())
        assert asked.concepts == tuple(one.concept for one in exchange.about)
        forbidden = prompt.forbidden_names(concepts, facts, asked)
        assert prompt.fault(exchange.answer, facts, asked, forbidden) == "", (exchange, facts)
        seen += 1
    assert seen > SCENES / 6


def test_answers_are_the_truth_of_the_drawing() -> None:
    tasks = {task.__name__: task for task, _ in OF_A_PHOTO}
    for name, said in (("colour", "colour"), ("wears", "accessory_colour"), ("kind", "kind")):
        for _, exchange in exchanges(tasks[name]):
            assert getattr(exchange.about[0].individual, said) in exchange.answer
    for scene, exchange in exchanges(tasks["doing"]):
        assert exchange.answer.endswith(f"{scene.thing(exchange.about[0]).posture}.")
    answers = [(e.about[0].row is not None, e.answer) for _, e in exchanges(tasks["whether"])]
    assert all(answer.startswith("Yes, ") == there for there, answer in answers)
    assert {there for there, _ in answers} == {True, False}


def test_what_was_told_is_answered_in_its_own_words_and_nothing_else_is() -> None:
    for number in range(80):
        rng = np.random.default_rng((4, number))
        scene = told_situation(rng)
        for task, _ in OF_NO_PHOTO:
            exchange = task(scene, scene.facts(), rng)
            if exchange is None:
                continue
            told = [each.sentence for one in exchange.about for each in one.told]
            known = {each.question for one in exchange.about for each in one.told}
            assert (
                (exchange.answer in told) if exchange.question in known else (exchange.answer == NOTHING_TOLD)
            )


def test_noise_does_not_change_the_answers() -> None:
    """RAP's noise concepts stand in half of the openings; those who are there stand in all."""
    extra = 0
    for number in range(SCENES):
        rng = np.random.default_rng((5, number))
        scene = situation(rng)
        answers = [task(scene, scene.facts(), np.random.default_rng(1)) for task, _ in OF_A_PHOTO]
        absent = {one.concept.name for one in scene.absent()}
        about_all = [e for e in answers if e is not None and e.task in ("who", "caption")]
        assert not any(name in exchange.answer for exchange in about_all for name in absent)
        extra += bool(absent)
    assert extra > 20


def test_a_lesson_is_of_its_seed_and_of_trained_names() -> None:
    once, again = (lesson(np.random.default_rng((6, 1))) for _ in range(2))
    assert [words(one.opened) for one in (once, again)] == [words(once.opened)] * 2
    assert [a for talk in once.talks for _, a in talk] == [a for talk in again.talks for _, a in talk]
    held_out = set(all_names(True)) - set(all_names(False))
    for number in range(30):
        each = lesson(np.random.default_rng((7, number)))
        text = words(each.opened) + "".join(words(parts) + a for talk in each.talks for parts, a in talk)
        assert not [name for name in held_out if f" {name} " in text]
        assert sum(isinstance(part, Picture) for part in each.opened) <= 4


def test_at_most_three_references_have_a_picture() -> None:
    known = list(situation(np.random.default_rng(8)).known) * 3
    pictured = [reference.picture is not None for reference in listed(known[:5], pictures=True)]
    assert pictured == [True] * 3 + [False] * (len(pictured) - 3)


def words(parts: Parts) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))
