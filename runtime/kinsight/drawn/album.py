"""An album from a seed: concepts with a picture each to teach them from, and pictures to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinsight.drawn.individuals import KINDS, Individual, individual, look_alike
from kinsight.drawn.scenes import Drawing, Placed, any_size, draw_scene
from kinsight.drawn.words import Told, names, tell
from kinsight.image import save
from kinsight.prompt import position

Rng = np.random.Generator
SHOWN, TAUGHT = 0.5, 0.9
"""At least this share of everybody in a picture can be seen, and of whom it is to teach."""
_DIFFERENT_KINDS = 0.7
_STRANGERS_EACH = 6


@dataclass(frozen=True)
class Recipe:
    """What an album is to hold."""

    concepts: int = 20
    scenes: int = 96
    told: int = 2  # sentences about each concept
    size_wh: tuple[int, int] | None = None  # pixels; None: now wide, now high, 320 at most
    names: tuple[str, ...] = ()  # of the first concepts; all others are in no training data
    kinds: tuple[str, ...] = ()  # of the first concepts; all others are drawn by lot


@dataclass(frozen=True, eq=False)
class Pupil:
    """A concept with the only picture that it is taught from."""

    name: str
    individual: Individual
    told: tuple[Told, ...]
    untold: Told  # what nobody says of it, to ask for
    drawing: Drawing  # of nobody else

    @property
    def info(self) -> str:
        """All that is told about it."""
        return " ".join(told.sentence for told in self.told)


@dataclass(frozen=True)
class Role:
    """Whom one thing of a query shows."""

    name: str = ""  # of the concept, "" for a stranger
    like: str = ""  # of the concept whose look-alike a stranger is, "" for any other


@dataclass(frozen=True, eq=False)
class Query:
    """A picture to look at; at least half of everybody in it can be seen."""

    drawing: Drawing
    roles: tuple[Role, ...]  # of drawing.things

    @property
    def present(self) -> dict[str, Placed]:
        """The concepts that are in the picture."""
        things = zip(self.roles, self.drawing.things, strict=True)
        return {role.name: thing for role, thing in things if role.name}

    @property
    def strangers(self) -> list[Placed]:
        """Everybody else."""
        return [thing for role, thing in zip(self.roles, self.drawing.things, strict=True) if not role.name]

    @property
    def doubles(self) -> list[str]:
        """The concepts that are not in the picture while a look-alike of theirs is."""
        return list(dict.fromkeys(role.like for role in self.roles if role.like not in ("", *self.present)))

    def where(self, name: str) -> str:
        """ "on the left": where a concept is, from the box of what shows of it."""
        height, width = self.drawing.pixels.shape[:2]
        return position(self.present[name].xyxy, width, height)


@dataclass(frozen=True, eq=False)
class Album:
    """All of it."""

    seed: int
    pupils: tuple[Pupil, ...]
    queries: tuple[Query, ...]

    @property
    def names(self) -> list[str]:
        """Of all concepts."""
        return [pupil.name for pupil in self.pupils]


def draw_album(seed: int, recipe: Recipe = Recipe()) -> Album:
    """The album of a seed: the same one whenever, wherever.

    Some concepts are of one kind. In every sixth picture there are only strangers; in the others a concept,
    with up to three more: concepts, strangers who differ from one in a single attribute, any other strangers.
    """
    rng = np.random.default_rng((seed, 1))
    cast = list(_cast(recipe, rng))
    others = [name for name in names(rng, recipe.concepts + 1, held_out=True) if name not in recipe.names]
    called = [*recipe.names, *others][: recipe.concepts]
    pupils = tuple(_pupil(name, one, recipe, rng) for name, one in zip(called, cast, strict=True))
    turns, doubles = _in_turn(pupils, rng), _in_turn(pupils, rng)
    return Album(
        seed,
        pupils,
        tuple(_query(row, (turns, doubles), pupils, recipe, rng) for row in range(recipe.scenes)),
    )


def fingerprint() -> str:
    """sha256 of what an album holds: another one means another drawn world, whose figures are others."""
    album = draw_album(0, Recipe(concepts=8, scenes=8))
    drawings = [*(pupil.drawing for pupil in album.pupils), *(query.drawing for query in album.queries)]
    things = [
        (str(thing.individual), thing.posture, [round(edge) for edge in thing.xyxy])
        for drawing in drawings
        for thing in drawing.things
    ]
    said = [(pupil.name, pupil.told, pupil.untold) for pupil in album.pupils]
    return hashlib.sha256(repr((things, said)).encode()).hexdigest()


def write_album(album: Album, folder: Path) -> tuple[list[Path], list[Path]]:
    """Saves the pictures: paths of those to teach from, and of those to look at; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    taught = [folder / f"{_file_name(pupil.name)}.png" for pupil in album.pupils]
    seen = [folder / f"photo-{number}.png" for number in range(1, len(album.queries) + 1)]
    drawings = [*(pupil.drawing for pupil in album.pupils), *(query.drawing for query in album.queries)]
    for path, drawing in zip((*taught, *seen), drawings, strict=True):
        save(drawing.pixels, path)
    return taught, seen


def _cast(recipe: Recipe, rng: Rng) -> Iterator[Individual]:
    """The concepts, no two of them alike."""
    order = [str(kind) for kind in rng.permutation([kind for kind in KINDS if kind not in recipe.kinds])]
    distinct = max(len(recipe.kinds), round(_DIFFERENT_KINDS * recipe.concepts))
    kinds = [*recipe.kinds, *order][:distinct]
    taken: set[Individual] = set()
    for row in range(recipe.concepts):
        one = individual(rng, kinds[row % len(kinds)])
        while one in taken:
            one = individual(rng, one.kind)
        taken.add(one)
        yield one


def _pupil(name: str, one: Individual, recipe: Recipe, rng: Rng) -> Pupil:
    *told, untold = tell(name, rng, recipe.told + 1, held_out=True)
    return Pupil(name, one, tuple(told), untold, _drawing([one], recipe, rng, TAUGHT))


def _query(
    row: int,
    turns: tuple[Iterator[Pupil], Iterator[Pupil]],
    pupils: Sequence[Pupil],
    recipe: Recipe,
    rng: Rng,
) -> Query:
    """`turns` give whose turn it is to be in a picture, and whose to have a look-alike in one."""
    known = {pupil.individual for pupil in pupils}
    only_strangers = row % _STRANGERS_EACH == _STRANGERS_EACH - 1
    things: dict[Individual, Role] = {}
    wanted = 1 + int(rng.choice(4, p=[0.2, 0.3, 0.3, 0.2]))
    while len(things) < wanted:
        lot = rng.random()
        if not only_strangers and (not things or lot < 0.5):
            pupil = next(turns[0])
            things[pupil.individual] = Role(pupil.name)
        elif (only_strangers and not things) or lot < 0.75:
            pupil = next(turns[1])
            _add(look_alike(pupil.individual, rng), Role(like=pupil.name), known, things)
        else:
            _add(individual(rng), Role(), known, things)
    return Query(_drawing(list(things), recipe, rng), tuple(things.values()))


def _add(stranger: Individual, role: Role, known: set[Individual], things: dict[Individual, Role]) -> None:
    """Unless it is a concept after all, or in the picture already."""
    if stranger not in known:
        things.setdefault(stranger, role)


def _drawing(cast: list[Individual], recipe: Recipe, rng: Rng, shown: float = SHOWN) -> Drawing:
    """Drawn anew until enough of everybody shows."""
    size_wh = recipe.size_wh or any_size(rng)
    while True:
        drawing = draw_scene(cast, rng, size_wh)
        if all(thing.visible >= shown for thing in drawing.things):
            return drawing


def _in_turn(pupils: Sequence[Pupil], rng: Rng) -> Iterator[Pupil]:
    """Everybody once before anybody comes twice; the first round in their order."""
    order = list(range(len(pupils)))
    while True:
        yield from (pupils[row] for row in order)
        rng.shuffle(order)


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.casefold())
