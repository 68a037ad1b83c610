"""Who there is in the drawn world: kinds, and individuals set apart by seven attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from kinsight.drawn import creatures, objects
from kinsight.drawn.creatures import Draw, Posture

_PET: tuple[Posture, ...] = ("standing", "sitting", "lying")
_UPRIGHT: tuple[Posture, ...] = ("standing", "sitting")


@dataclass(frozen=True)
class Kind:
    """One row a kind: how it is drawn, which shape details it can have, how it can hold itself."""

    draw: Draw
    details: tuple[str, ...]
    postures: tuple[Posture, ...] = ("",)


KIND_ROWS: Mapping[str, Kind] = {
    "dog": Kind(creatures.dog, ("floppy ears", "pointed ears"), _PET),
    "cat": Kind(creatures.cat, ("long tail", "bushy tail"), _PET),
    "rabbit": Kind(creatures.rabbit, ("upright ears", "hanging ears"), _PET),
    "bird": Kind(creatures.bird, ("crest", "long beak")),
    "fish": Kind(creatures.fish, ("forked tail", "fan tail")),
    "turtle": Kind(creatures.turtle, ("high shell", "flat shell")),
    "person": Kind(creatures.person, ("long hair", "short hair", "a side bun"), _UPRIGHT),
    "teddy": Kind(creatures.teddy, ("big ears", "small ears"), _UPRIGHT),
    "robot": Kind(creatures.robot, ("one antenna", "two antennas", "no antenna"), _UPRIGHT),
    "mug": Kind(objects.mug, ("a round handle", "a square handle")),
    "teapot": Kind(objects.teapot, ("a long spout", "a short spout")),
    "bag": Kind(objects.bag, ("one handle", "two handles")),
    "plant": Kind(objects.plant, ("broad leaves", "thin leaves")),
    "lamp": Kind(objects.lamp, ("a round foot", "a square foot")),
    "clock": Kind(objects.clock, ("two bells", "no bells")),
    "car": Kind(objects.car, ("a round roof", "a flat roof")),
    "bus": Kind(objects.bus, ("one deck", "two decks")),
    "boat": Kind(objects.boat, ("one sail", "two sails")),
    "umbrella": Kind(objects.umbrella, ("a hooked stick", "a straight stick")),
    "boot": Kind(objects.boot, ("a high shaft", "a low shaft")),
}
KINDS: tuple[str, ...] = tuple(KIND_ROWS)
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (205, 40, 45),
    "orange": (243, 140, 30),
    "yellow": (245, 220, 70),
    "green": (55, 150, 70),
    "turquoise": (70, 195, 190),
    "blue": (45, 85, 200),
    "purple": (130, 65, 170),
    "pink": (245, 155, 195),
    "brown": (125, 75, 45),
    "white": (242, 242, 238),
    "black": (45, 45, 52),
}
PATTERNS = ("plain", "striped", "spotted", "checked", "banded")
ACCESSORIES = ("hat", "scarf", "bow", "star", "flag")
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "kind": KINDS,
    "colour": tuple(COLOURS),
    "second": tuple(COLOURS),
    "pattern": PATTERNS,
    "accessory": ACCESSORIES,
    "accessory_colour": tuple(COLOURS),
    "detail": tuple(dict.fromkeys(detail for kind in KIND_ROWS.values() for detail in kind.details)),
}
"""Attribute -> its values."""
_DISTINGUISHING = tuple(name for name in ATTRIBUTES if name != "kind")


@dataclass(frozen=True)
class Individual:
    """One pet, person or thing; two of equal attributes cannot be told apart."""

    kind: str
    colour: str
    second: str  # of the pattern, and of some parts
    pattern: str
    accessory: str
    accessory_colour: str
    detail: str  # of the shape

    def values(self) -> dict[str, str]:
        """Attribute -> value."""
        return {name: getattr(self, name) for name in ATTRIBUTES}

    def postures(self) -> tuple[Posture, ...]:
        """How it can hold itself; ("",) for a thing that just stands there."""
        return KIND_ROWS[self.kind].postures


def individual(rng: np.random.Generator, kind: str | None = None) -> Individual:
    """Anybody, or anybody of one kind; its three colours differ."""
    kind = kind or _one_of(KINDS, rng)
    colour, second, third = (str(name) for name in rng.choice(list(COLOURS), 3, replace=False))
    return Individual(
        kind,
        colour,
        second,
        _one_of(PATTERNS, rng),
        _one_of(ACCESSORIES, rng),
        third,
        _one_of(KIND_ROWS[kind].details, rng),
    )


def look_alike(one: Individual, rng: np.random.Generator) -> Individual:
    """Somebody of the same kind of whom exactly one attribute differs."""
    name = _one_of(_DISTINGUISHING, rng)
    taken = {one.colour, one.second, one.accessory_colour}
    values = KIND_ROWS[one.kind].details if name == "detail" else ATTRIBUTES[name]
    others = [value for value in values if value != getattr(one, name) and value not in taken]
    return replace(one, **{name: _one_of(others, rng)})


def difference(one: Individual, other: Individual) -> list[str]:
    """The attributes in which two differ."""
    mine, theirs = one.values(), other.values()
    return [name for name in ATTRIBUTES if mine[name] != theirs[name]]


def describe(one: Individual, rng: np.random.Generator) -> str:
    """What it looks like, in words: fully or in part, in varying wording."""
    share = float(rng.choice([0.35, 0.7, 1.0]))
    told = {name: bool(rng.random() < share) for name in _DISTINGUISHING}
    lead = _one_of(("", "a photo of ", "a picture of ", "this is ", "here is "), rng)
    colour = f"{one.colour} " if told["colour"] or rng.random() < 0.3 else ""
    text = f"{_article(colour or one.kind)} {colour}{one.kind}"
    extras = []
    if told["pattern"]:
        extras.append(_pattern_words(one, told["second"]))
    elif told["second"]:
        extras.append(f"some {one.second}")
    if told["detail"]:
        extras.append(one.detail)
    if told["accessory"]:
        coloured = f"{one.accessory_colour} " if told["accessory_colour"] else ""
        extras.append(f"{_article(coloured or one.accessory)} {coloured}{one.accessory}")
    order = rng.permutation(len(extras)).tolist()
    words = [extras[i] for i in order]
    return f"{lead}{text}{f' with {_listed(words)}' if words else ''}"


def _pattern_words(one: Individual, coloured: bool) -> str:
    nouns = {"striped": "stripes", "spotted": "spots", "checked": "checks", "banded": "a band"}
    if one.pattern == "plain":
        return f"no pattern and some {one.second}" if coloured else "no pattern"
    noun = nouns[one.pattern]
    if not coloured:
        return noun
    return f"{_article(one.second)} {one.second} band" if noun == "a band" else f"{one.second} {noun}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _article(word: str) -> str:
    return "an" if word[:1] in "aeiou" else "a"


def _one_of(values: tuple[str, ...] | list[str], rng: np.random.Generator) -> str:
    return str(values[int(rng.integers(len(values)))])
