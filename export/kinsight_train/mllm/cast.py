"""Situations to ask about: a drawn scene, who of the known is in it, what was told about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinsight.drawn import Drawing, Individual, Placed, draw_scene, individual, look_alike, random_scene
from kinsight.drawn.words import Told, names, tell
from kinsight.image import crop
from kinsight.prompt import Facts, Reference, Seen, a_thing, position
from kinsight.types import Box, Concept, Pixels

Rng = np.random.Generator
REFERENCE_WH = (176, 176)
MOST_REFERENCES = 3
POSITIONS = tuple(
    position((x, y, x + 1, y + 1), 100, 100) for y in (10.0, 50.0, 90.0) for x in (10.0, 50.0, 90.0)
)
"""All that `position` may say."""
VISIBLE = 0.4
"""Share of a thing that shows, from which on it is spoken of."""
_INVENTED = {
    "verb": "build carry collect paint draw sing write read guard hide polish count borrow study "
    "trust miss drive sell plant cook bake mend wash fold throw catch push pull climb chase admire forget",
    "noun": "kites stamps songs boxes maps shells coins pumpkins ladders candles letters towers puzzles "
    "clouds bottles marbles stories roses pebbles windows cushions bells baskets gloves buttons keys",
    "belonging": "voice bed blanket cup coat room garden bicycle nickname hobby dream wish smile house",
    "likeness": "warm loud tiny huge soft famous broken old wooden quiet strange round heavy clean sleepy",
}


_BEGINNINGS = "b bl br c ch d dr f fl g gr h j k kr l m n p pl pr r s sh st t tr v w z"
_VOWELS = "a e i o u a e i o u ä ö ü é á ó ai ee oo ou"
_SCRIPTS = (
    "アイウエオカキクケコサシスセソタチツテトナニノハヒフマミムメモヤユヨラリルレロン",
    "абвгдежзиклмнопрстуфхцчшыэюя",
)
_LISTED = 0.15
"""Share of the names that are real ones; the others are made up, so that a name is copied and not known."""


@dataclass(frozen=True, eq=False)
class Known:
    """Somebody in the store."""

    concept: Concept
    individual: Individual
    told: tuple[Told, ...]
    reference: Pixels  # uint8 (h, w, 3), RGB
    row: int | None  # of the thing in the drawing; None: not there


@dataclass(frozen=True, eq=False)
class Situation:
    """A photo, or none, with those who may be asked about."""

    drawing: Drawing | None
    known: tuple[Known, ...]

    def present(self) -> list[Known]:
        """Those of the known who are in the photo."""
        return [one for one in self.known if one.row is not None]

    def absent(self) -> list[Known]:
        """Those of the known who are not."""
        return [one for one in self.known if one.row is None]

    def facts(self, unplaced: tuple[int, ...] = (), unsure: tuple[int, ...] = ()) -> Facts:
        """What a recall without mistakes would say; concepts by id may have no position or be unsure."""
        if self.drawing is None:
            return Facts((), (), ())
        seen = self.present()
        rows = {one.row for one in self.present()}
        others = [thing for row, thing in enumerate(self.drawing.things) if row not in rows]
        return Facts(
            tuple(self._seen(one, unplaced) for one in seen if one.concept.id not in unsure),
            tuple(self._seen(one, ()) for one in seen if one.concept.id in unsure),
            tuple(f"{a_thing(t.individual.kind)} {self.place(t)}" for t in others if t.visible >= VISIBLE),
        )

    def place(self, thing: Placed) -> str:
        """ "on the left", as the runtime says it."""
        pixels = self.drawing.pixels if self.drawing else np.zeros((1, 1, 3), np.uint8)
        return position(thing.xyxy, pixels.shape[1], pixels.shape[0])

    def thing(self, one: Known) -> Placed:
        """Where one of the present is."""
        if self.drawing is None or one.row is None:
            raise ValueError(f"{one.concept.name} is not in the photo")
        return self.drawing.things[one.row]

    def _seen(self, one: Known, unplaced: tuple[int, ...]) -> Seen:
        placed = one.concept.id not in unplaced
        where = self.place(self.thing(one)) if placed else ""
        return Seen(one.concept, where, one.individual.kind, self._beside(one) if placed else "")

    def _beside(self, one: Known) -> Concept | str:
        """Whom or what is nearest to one who is there."""
        nearest = self.drawing.neighbour(one.row) if self.drawing and one.row is not None else None
        if nearest is None:
            return ""
        known = [other.concept for other in self.present() if self.thing(other) is nearest]
        return known[0] if known else a_thing(nearest.individual.kind)


def situation(rng: Rng, held_out: bool = False, even: bool = False) -> Situation:
    """A scene in which up to three are known, and up to two known ones who are not there (RAP's noise).

    `even`: three are known in all, and one or two of them are there.
    """
    drawing = random_scene(rng)
    visible = [row for row, thing in enumerate(drawing.things) if thing.visible >= VISIBLE]
    faces = [drawing.things[row].individual for row in visible]
    present = [
        int(row)
        for row in rng.permutation(visible)
        if faces.count(drawing.things[row].individual) == 1 and rng.random() < 0.75
    ][: int(rng.integers(1, MOST_REFERENCES)) if even else MOST_REFERENCES]
    absent = int(rng.choice([0, 1, 2], p=[0.35, 0.4, 0.25])) or int(not present)
    if even:
        absent = MOST_REFERENCES - len(present)
    people: list[tuple[Individual, int | None]] = [(drawing.things[row].individual, row) for row in present]
    shown = [thing.individual for thing in drawing.things]
    people += [(_someone_else(shown, rng), None) for _ in range(absent)]
    order = rng.permutation(len(people)).tolist()
    return Situation(drawing, _acquaint([people[row] for row in order], rng, held_out))


def told_situation(rng: Rng, held_out: bool = False) -> Situation:
    """No photo: one to three of whom something was told."""
    people: list[tuple[Individual, int | None]] = [
        (individual(rng), None) for _ in range(int(rng.integers(1, 4)))
    ]
    return Situation(None, _acquaint(people, rng, held_out, pictures=False))


def reference_of(one: Individual, rng: Rng) -> Pixels:
    """One taught crop: another view of an individual, boxed a little loosely."""
    drawing = draw_scene([one], rng, REFERENCE_WH)
    return crop(drawing.pixels, loose(drawing.things[0].xyxy, rng))


def loose(box: Box, rng: Rng, spread: float = 0.04) -> Box:
    """A box as a detector would give it; the crop clips it to the photo."""
    x0, y0, x1, y1 = box
    dx, dy = rng.normal(0, spread, 2) * (x1 - x0), rng.normal(0, spread, 2) * (y1 - y0)
    return x0 + float(dx[0]), y0 + float(dy[0]), x1 + float(dx[1]), y1 + float(dy[1])


def listed(known: list[Known], pictures: bool, first: int = 1) -> list[Reference]:
    """Entries of the prompt's numbered list; at most three have a picture."""
    return [
        Reference(number, one.concept, one.reference if pictures and number <= MOST_REFERENCES else None)
        for number, one in enumerate(known, first)
    ]


def made_up_name(rng: Rng) -> str:
    """A name that nobody has: two to four syllables, now and then two words or another script."""
    if rng.random() < 0.12:
        letters = _SCRIPTS[int(rng.integers(len(_SCRIPTS)))]
        return "".join(rng.choice(list(letters), int(rng.integers(2, 6)))).capitalize()
    count = int(rng.choice([1, 2, 3, 4], p=[0.1, 0.45, 0.35, 0.1]))
    ending = str(rng.choice(["", "", "n", "s", "x", "l", "ra", "k"]))
    syllables = (f"{rng.choice(_BEGINNINGS.split())}{rng.choice(_VOWELS.split())}" for _ in range(count))
    name = ("".join(syllables) + ending).capitalize()
    return f"{name} {made_up_name(rng)}" if rng.random() < 0.08 else name


def _acquaint(
    people: list[tuple[Individual, int | None]], rng: Rng, held_out: bool, pictures: bool = True
) -> tuple[Known, ...]:
    called = names(rng, len(people), held_out)
    if not held_out:
        called = [name if rng.random() < _LISTED else made_up_name(rng) for name in called]
    known = []
    for number, ((one, row), name) in enumerate(zip(people, called, strict=True), 1):
        told = _told(name, rng, held_out)
        info = " ".join(each.sentence for each in told)
        category = one.kind if rng.random() < 0.6 else ""
        concept = Concept(number, name, category=category, info=info)
        picture = reference_of(one, rng) if pictures else np.zeros((1, 1, 3), np.uint8)
        known.append(Known(concept, one, told, picture, row))
    return tuple(known)


def _told(name: str, rng: Rng, held_out: bool) -> tuple[Told, ...]:
    count = int(rng.choice([0, 1, 2, 3], p=[0.15, 0.35, 0.3, 0.2]))
    if held_out:
        return tell(name, rng, max(1, count), held_out)
    invented = int(rng.integers(0, count + 1))
    told = [*tell(name, rng, count - invented, False), *(_invented(name, rng) for _ in range(invented))]
    return tuple(told[row] for row in rng.permutation(len(told)).tolist())


def _invented(name: str, rng: Rng) -> Told:
    """A sentence of random words, so that answers are found in the notes and not known by heart."""
    verb, noun, belonging, likeness = (str(rng.choice(words.split())) for words in _INVENTED.values())
    form = int(rng.integers(4))
    if form == 0:
        return Told(f"{name} likes to {verb} {noun}.", f"What does {name} like to {verb}?", noun)
    if form == 1:
        return Told(
            f"The {belonging} of {name} is {likeness}.", f"What is the {belonging} of {name} like?", likeness
        )
    if form == 2:
        return Told(f"{name} can {verb} {noun} at night.", f"What can {name} {verb} at night?", noun)
    friend = str(rng.choice(["Grandma", "The baker", "My uncle", "A pilot", "Our doctor"]))
    return Told(f"{friend} gave {noun} to {name}.", f"Who gave {noun} to {name}?", friend)


def _someone_else(shown: list[Individual], rng: Rng) -> Individual:
    """Mostly anybody, now and then somebody who looks nearly like one in the photo."""
    draw = rng.random()
    if draw < 0.15:
        return look_alike(shown[int(rng.integers(len(shown)))], rng)
    return individual(rng, shown[0].kind if draw < 0.3 else None)
