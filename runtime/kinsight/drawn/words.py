"""Names from several languages and what is told about somebody; a part is held out for evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True)
class Template:
    """One thing that can be told about somebody, and the question that it answers."""

    told: str  # with {name} and {value}
    questions: tuple[str, ...]  # with {name}
    values: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """One sentence about somebody, with its question."""

    sentence: str
    question: str
    value: str  # what the answer must contain
    values: tuple[str, ...] = ()  # all that could have been told in its place


_VALUES = {
    "foods": "carrots,apples,cheese,pancakes,soup,plums,bread,honey,nuts,melons,rice,peas",
    "people": "Grandma,a neighbour,my sister,a friend,the baker,my uncle,our teacher,a cousin",
    "towns": "Lisbon,Vienna,Oslo,Kyoto,Lima,Cairo,Bergen,Prague,Porto,Riga,Ghent,Turin",
    "times": "spring,summer,autumn,winter,March,June,2019,2020,2021,2022,2023,1998",
    "rooms": "the kitchen,the hall,the attic,the garage,the bathroom,the cellar,the balcony,my bedroom",
    "fears": "thunder,water,spiders,the dark,balloons,horses,noise,heights,wind,ghosts",
    "games": "chess,football,hide and seek,cards,tennis,the piano,dominoes,the drums",
    "numbers": "two,three,four,five,six,seven,eight,nine,ten,twelve",
    "tricks": "juggle,whistle,open doors,ride a scooter,count to ten,play dead,climb ladders,roll over",
    "songs": "Blue Moon,Jingle Bells,Yesterday,Greensleeves,Silent Night,La Paloma,Ode to Joy,Hallelujah",
    "nicknames": "Button,Bubbles,Noodle,Pickle,Sunshine,Thunderbolt,Muffin,Professor,Pepper,Biscuit",
    "days": "Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday",
}


def names(rng: Rng, count: int, held_out: bool) -> list[str]:
    """Different names; `held_out` ones are in no training data."""
    pool = all_names(held_out)
    return [pool[row] for row in rng.choice(len(pool), count, replace=False)]


@cache
def all_names(held_out: bool) -> tuple[str, ...]:
    """Every name of one half."""
    return tuple(name.replace("_", " ") for line in _half("names.txt", held_out) for name in line.split())


def tell(name: str, rng: Rng, count: int, held_out: bool) -> tuple[Told, ...]:
    """What is told about somebody: sentences of different templates, each with a question."""
    pool = templates(held_out)
    return tuple(_fill(pool[int(row)], name, rng) for row in rng.choice(len(pool), count, replace=False))


@cache
def templates(held_out: bool) -> tuple[Template, ...]:
    """Every template of one half."""
    rows = [line.split(" | ") for line in _half("told.txt", held_out)]
    return tuple(Template(told, (first, second), _values(kind)) for told, first, second, kind in rows)


def _fill(template: Template, name: str, rng: Rng) -> Told:
    value = template.values[int(rng.integers(len(template.values)))]
    question = template.questions[int(rng.integers(len(template.questions)))]
    sentence = template.told.format(name=name, value=value)
    return Told(sentence[:1].upper() + sentence[1:], question.format(name=name), value, template.values)


def _values(kinds: str) -> tuple[str, ...]:
    return tuple(value for kind in kinds.split("+") for value in _VALUES[kind].split(","))


def _half(file: str, held_out: bool) -> list[str]:
    """The lines before or after the blank line of a file beside this one."""
    text = (Path(__file__).parent / file).read_text("utf-8")
    seen, held = text.partition("\n")[2].strip().split("\n\n")
    return (held if held_out else seen).splitlines()
