"""What the demo shows: who is taught from which picture, what is looked at, and what is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kinsight.assistant import Lesson
from kinsight.drawn.album import Album, Recipe, draw_album, write_album
from kinsight.errors import ConfigError
from kinsight.evaluate import photos_in, read_boxes
from kinsight.types import Box, Scene

SEED = 21
_RECIPE = Recipe(
    concepts=5,
    scenes=7,
    size_wh=(640, 480),
    names=("Lala", "Greta", "Otto", "Minka", "Pixel"),
    kinds=("dog", "person", "mug", "cat", "robot"),
)
WHO = "Who is in this photo?"
WHICH_PLACE = "Where was this photo taken?"
NOT_TOLD = "How tall is {name}?"
_STRANGERS = 4
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_NEED_PHOTOS = "pass --photos with a folder that holds one folder of two photos or more per identity"


@dataclass(frozen=True)
class Friend:
    """Somebody who is taught from one picture."""

    lesson: Lesson
    question: str  # that the info answers
    picture: Path
    box: Box = _WHOLE  # shares of width and height, 0..1

    @property
    def name(self) -> str:
        """As it is taught."""
        return self.lesson.name


@dataclass(frozen=True)
class Look:
    """A picture to look at, with the truth about it."""

    picture: Path
    present: tuple[str, ...]  # names of the friends in it
    strangers: int
    doubles: tuple[str, ...] = ()  # friends who are not in it, while one who looks almost like them is

    @property
    def truth(self) -> str:
        """ "Lala, a stranger (almost like Otto)": who is in it."""
        unknown = {0: [], 1: ["a stranger"]}.get(self.strangers, [f"{self.strangers} strangers"])
        like = f" (almost like {' and '.join(self.doubles)})" if self.doubles else ""
        return f"{', '.join([*self.present, *unknown])}{like}"


@dataclass(frozen=True)
class Programme:
    """All of it, in its order."""

    friends: tuple[Friend, ...]
    looks: tuple[Look, ...]

    def questions(self, scenes: Sequence[Scene], sees: bool) -> dict[int, list[str]]:
        """Row of a look -> what is asked about it: about one friend's picture, and one of strangers alone.

        `sees`: whether the language model sees pictures, so that the place can be asked for.
        """
        row, friend = self._star(scenes)
        others = [other.name for other in self.friends if other.name not in self.looks[row].present]
        missing = [*self.looks[row].doubles, *others][:1]
        asked = {row: [WHO, f"Where is {friend.name}?"]}
        if sees:
            asked[row].append(WHICH_PLACE)
        asked[row] += [friend.question, *(f"Is {name} in the photo?" for name in missing)]
        for other, look in enumerate(self.looks):
            if not look.present and len(asked) == 1:
                asked[other] = [WHO, *(f"Is {name} in the photo?" for name in look.doubles[:1])]
        return asked

    def without_photo(self) -> list[str]:
        """What is asked without a photo: something that was told, and something that was not."""
        return [self.friends[1].question, NOT_TOLD.format(name=self.friends[0].name)]

    def _star(self, scenes: Sequence[Scene]) -> tuple[int, Friend]:
        """(row of a look, friend in it who was recognised); any friend's where nobody was."""
        by_name = {friend.name: friend for friend in self.friends}
        there = [(row, name) for row, look in enumerate(self.looks) for name in look.present]
        seen = [(row, name) for row, name in there if name in named_in(scenes[row])]
        order = [friend.name for friend in self.friends]
        row, name = min(
            seen or there, key=lambda at: (order.index(at[1]), -len(self.looks[at[0]].present), at[0])
        )
        return row, by_name[name]


def named_in(scene: Scene) -> list[str]:
    """The concepts that were recognised in a scene."""
    return [match.concept for _, match in scene.accepted()]


def drawn_programme(seed: int, folder: Path) -> Programme:
    """An album drawn from a seed, its pictures in `folder`; the first friend is Lala the dog."""
    album = draw_album(seed, _RECIPE)
    taught, seen = write_album(album, folder)
    return Programme(tuple(_drawn_friends(album, taught)), tuple(_drawn_looks(album, seen)))


def _drawn_friends(album: Album, pictures: Sequence[Path]) -> Iterator[Friend]:
    for pupil, picture in zip(album.pupils, pictures, strict=True):
        lesson = Lesson(pupil.name, pupil.individual.kind, pupil.info)
        height, width = pupil.drawing.pixels.shape[:2]
        x0, y0, x1, y1 = pupil.drawing.things[0].xyxy
        box = x0 / width, y0 / height, x1 / width, y1 / height
        yield Friend(lesson, pupil.told[0].question, picture, box)


def _drawn_looks(album: Album, pictures: Sequence[Path]) -> Iterator[Look]:
    for query, picture in zip(album.queries, pictures, strict=True):
        yield Look(picture, tuple(query.present), len(query.strangers), tuple(query.doubles))


FRIENDS = (
    (
        Lesson("Lala", info="Lala came to us in the spring of 2021. Lala was named by Grandma."),
        "When did Lala come to us?",
    ),
    (Lesson("Milo", info="Milo was a birthday present from Aunt Rosa."), "Whose present was Milo?"),
    (Lesson("Nino", info="Nino comes from the flea market in Lisbon."), "Where does Nino come from?"),
    (
        Lesson("Otto", info="Otto has been with us since the house was built."),
        "Since when has Otto been with us?",
    ),
    (Lesson("Pia", info="Pia belongs to our neighbour Hanna."), "Who does Pia belong to?"),
    (Lesson("Zaza", info="Zaza is the favourite of the children."), "Whose favourite is Zaza?"),
)
"""What is told about the identities of photos, each with a question that it answers."""


def photo_programme(photos: Path | None) -> Programme:
    """Every other identity of a folder is taught, up to six; of the others four stay strangers.

    Each is taught from its boxed photo, else from its first one, and looked for in another. Raises
    ConfigError where there are no such photos.
    """
    if photos is None or not photos.is_dir():
        where = f"there is no folder {photos}" if photos else "the demo has no photos"
        raise ConfigError(where, _NEED_PHOTOS)
    folders = {sub.name: photos_in(sub) for sub in sorted(photos.iterdir()) if sub.is_dir()}
    names = [name for name, files in folders.items() if len(files) > 1]
    if len(names) < 2:
        raise ConfigError(f"{photos} holds {len(names)} folders with two photos or more", _NEED_PHOTOS)
    taught = names[::2][: len(FRIENDS)]
    strangers = [name for name in names if name not in taught][:_STRANGERS]
    boxes = read_boxes(photos)
    references = {name: _reference(folders[name], boxes) for name in (*taught, *strangers)}
    queries = {name: next(p for p in folders[name] if p != picture) for name, picture in references.items()}
    friends = tuple(
        Friend(lesson, question, references[name], boxes.get(_key(references[name]), _WHOLE))
        for name, (lesson, question) in zip(taught, FRIENDS, strict=False)
    )
    known = [Look(queries[name], (friend.name,), 0) for name, friend in zip(taught, friends, strict=True)]
    return Programme(friends, (*known, *(Look(queries[name], (), 1) for name in strangers)))


def _reference(files: Sequence[Path], boxes: Mapping[str, Box]) -> Path:
    return next((file for file in files if _key(file) in boxes), files[0])


def _key(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
