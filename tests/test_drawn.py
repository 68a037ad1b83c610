"""The drawn world: the same from the same seed, its truth true, its attributes seen; albums drawn in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kinsight.drawn import (
    ATTRIBUTES,
    KINDS,
    Drawing,
    Individual,
    Placed,
    difference,
    draw_scene,
    individual,
    look_alike,
    random_scene,
)
from kinsight.drawn.album import SHOWN, Album, Query, Recipe, Role, draw_album, write_album
from kinsight.drawn.individuals import ACCESSORIES, KIND_ROWS, PATTERNS
from kinsight.drawn.paint import Pose, paint
from kinsight.drawn.words import all_names, tell, templates
from kinsight.image import load
from kinsight.metrics.names import name_key
from kinsight.types import Box, Pixels

BLURRED = 8
"""Pixels by which a blur may carry a colour over the edge of a box."""
LEAST_CHANGE = 0.02
"""Of a thing's silhouette, so that the change of one attribute can be seen."""


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def changed(one: Pixels, other: Pixels) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.asarray(np.abs(one.astype(int) - other.astype(int)).max(axis=2) > 30)


def around(mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def test_a_seed_gives_the_same_scene() -> None:
    one, same, other = random_scene(rng(4)), random_scene(rng(4)), random_scene(rng(5))
    assert np.array_equal(one.pixels, same.pixels) and one.things == same.things
    assert one.things != other.things
    height, width = one.pixels.shape[:2]
    assert one.pixels.dtype == np.uint8 and max(height, width) == 320


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_thing_is_outside_of_its_box(kind: str) -> None:
    """Painted in other colours it changes the picture inside its box alone."""
    one = Individual(kind, "red", "white", "plain", "scarf", "yellow", KIND_ROWS[kind].details[0])
    dressed = replace(one, colour="blue", second="black", accessory_colour="purple")
    drawings = [draw_scene([who], rng(1, KINDS.index(kind))) for who in (one, dressed)]
    (thing,) = drawings[0].things
    assert thing.xyxy == drawings[1].things[0].xyxy
    x0, y0, x1, y1 = around(changed(drawings[0].pixels, drawings[1].pixels))
    left, top, right, bottom = thing.xyxy
    assert x0 >= left - BLURRED and y0 >= top - BLURRED
    assert x1 <= right + BLURRED and y1 <= bottom + BLURRED
    assert (x1 - x0) * (y1 - y0) > 0.35 * (right - left) * (bottom - top)


def test_the_box_of_a_thing_without_a_dark_part_is_tight() -> None:
    one = Individual("bag", "red", "white", "plain", "bow", "yellow", "two handles")
    dressed = replace(one, colour="blue", second="black", accessory_colour="purple")
    drawings = [draw_scene([who], rng(1), (640, 480)) for who in (one, dressed)]
    box = around(changed(drawings[0].pixels, drawings[1].pixels))
    assert np.abs(np.subtract(box, drawings[0].things[0].xyxy)).max() <= BLURRED


def test_a_look_alike_differs_in_one_attribute() -> None:
    differing: Counter[str] = Counter()
    for seed in range(300):
        one = individual(rng(seed))
        (name,) = difference(one, look_alike(one, rng(seed, 1)))
        differing[name] += 1
        assert len({one.colour, one.second, one.accessory_colour}) == 3
    assert set(differing) == set(ATTRIBUTES) - {"kind"}


@pytest.mark.stress
@pytest.mark.parametrize("kind", KINDS)
def test_every_attribute_can_be_seen(kind: str) -> None:
    """Whatever a thing wears, whatever its pattern is, and however it holds itself."""
    hidden = []
    for posture in KIND_ROWS[kind].postures:
        for accessory in ACCESSORIES:
            one = Individual(kind, "red", "blue", "plain", accessory, "yellow", KIND_ROWS[kind].details[0])
            bases = [replace(one, pattern=pattern) for pattern in PATTERNS]
            pairs = [(base, other) for row, base in enumerate(bases) for other in bases[:row]]
            pairs += [(one, replace(one, **{name: "green"})) for name in ("colour", "accessory_colour")]
            pairs += [(bases[1], replace(bases[1], second="green"))]
            pairs += [(one, replace(one, accessory=other)) for other in ACCESSORIES if other != accessory]
            pairs += [(one, replace(one, detail=detail)) for detail in KIND_ROWS[kind].details[1:]]
            hidden += [pair for pair in pairs if _seen_change(*pair, posture) < LEAST_CHANGE]
    assert hidden == []


def _seen_change(one: Individual, other: Individual, posture: str) -> float:
    (pixels, mask), (others, _) = _painted(one, posture), _painted(other, posture)
    return float(changed(pixels, others).sum() / (mask > 127).sum())


@cache
def _painted(one: Individual, posture: str) -> tuple[Pixels, np.ndarray[tuple[int, int], np.dtype[np.uint8]]]:
    (held,) = [known for known in one.postures() if known == posture]
    canvas = np.full((200, 160, 3), 114, np.uint8)
    return canvas, paint(canvas, one, Pose((80, 120), 64, 0.0, 1.0, False, held, 0.0, 0.3))


def test_who_is_covered_shows_less() -> None:
    """In a crowd of thirty somebody is hidden; who is alone is not, but for a stone."""
    alone = [draw_scene([individual(rng(seed))], rng(seed)).things[0].visible for seed in range(40)]
    crowds = [draw_scene([individual(rng(seed, i)) for i in range(30)], rng(seed)) for seed in range(5)]
    least = [min(thing.visible for thing in crowd.things) for crowd in crowds]
    assert min(alone) > 0.7 and np.median(alone) == 1
    assert np.mean(least) < 0.8
    assert all(0 <= thing.visible <= 1 for crowd in crowds for thing in crowd.things)


def test_the_nearest_is_the_neighbour() -> None:
    drawing = _drawing((0, 0, 20, 20), (30, 0, 50, 20), (200, 200, 240, 240))
    assert drawing.neighbour(0) is drawing.things[1]
    assert drawing.neighbour(2) is drawing.things[1]
    assert _drawing((0, 0, 20, 20)).neighbour(0) is None


def _drawing(*boxes: Box) -> Drawing:
    one = individual(rng(0))
    things = tuple(Placed(one, box, 1.0, "", False) for box in boxes)
    return Drawing(np.zeros((240, 320, 3), np.uint8), things, "garden")


def test_what_is_held_out_is_in_no_training_data() -> None:
    keys = [{name_key(name) for name in all_names(held_out)} for held_out in (False, True)]
    assert not keys[0] & keys[1]
    assert [len(keys[row]) for row in (0, 1)] == [len(all_names(held_out)) for held_out in (False, True)]
    assert len(keys[1]) >= 80
    lines = [{(t.told, *t.questions) for t in templates(held_out)} for held_out in (False, True)]
    spread = [{text for line in half for text in line} for half in lines]
    assert spread[0] and spread[1] and not spread[0] & spread[1]


def test_what_is_told_answers_its_question() -> None:
    for held_out in (False, True):
        for told in tell("Lala", rng(2), 6, held_out):
            assert "Lala" in told.sentence and "Lala" in told.question
            assert told.value.casefold() in told.sentence.casefold()
            assert told.value not in told.question


@pytest.fixture(scope="module")
def album() -> Album:
    """Of the bench's size."""
    return draw_album(3)


def test_a_seed_gives_the_same_album(album: Album) -> None:
    again = draw_album(3)
    assert again.names == album.names
    assert [pupil.info for pupil in again.pupils] == [pupil.info for pupil in album.pupils]
    assert all(
        np.array_equal(one.drawing.pixels, other.drawing.pixels)
        for one, other in zip(again.queries, album.queries, strict=True)
    )
    assert draw_album(4, Recipe(scenes=1)).names != album.names


def test_the_concepts_of_an_album(album: Album) -> None:
    individuals = [pupil.individual for pupil in album.pupils]
    assert len(set(individuals)) == len(individuals) == 20
    assert len({one.kind for one in individuals}) == 14  # some are of one kind
    assert set(album.names) <= set(all_names(held_out=True)) and len(set(album.names)) == 20
    for pupil in album.pupils:
        assert [thing.individual for thing in pupil.drawing.things] == [pupil.individual]
        assert pupil.info == " ".join(told.sentence for told in pupil.told)


def test_the_queries_of_an_album(album: Album) -> None:
    of_name = {pupil.name: pupil.individual for pupil in album.pupils}
    for number, query in enumerate(album.queries, 1):
        individuals = [thing.individual for thing in query.drawing.things]
        assert 1 <= len(set(individuals)) == len(individuals) <= 4
        assert bool(query.present) == bool(number % 6)
        assert {name: thing.individual for name, thing in query.present.items()} == {
            name: of_name[name] for name in query.present
        }
        assert not {thing.individual for thing in query.strangers} & set(of_name.values())
        assert len(query.present) + len(query.strangers) == len(individuals)
        assert all(thing.visible >= SHOWN for thing in query.drawing.things)
        for role, one in zip(query.roles, individuals, strict=True):
            assert not role.like or len(difference(one, of_name[role.like])) == 1


def test_what_is_told_in_an_album_is_held_out(album: Album) -> None:
    questions = [q.format(name=p.name) for t in templates(True) for q in t.questions for p in album.pupils]
    assert {told.question for pupil in album.pupils for told in pupil.told} <= set(questions)


def test_nobody_in_an_album_is_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the lot keeps giving the same ones."""

    def few(lot: np.random.Generator, kind: str | None = None) -> Individual:
        return individual(rng(int(lot.integers(3))), kind)

    def no_other(one: Individual, lot: np.random.Generator) -> Individual:
        return one if lot.random() < 0.5 else look_alike(one, lot)

    monkeypatch.setattr("kinsight.drawn.album.individual", few)
    monkeypatch.setattr("kinsight.drawn.album.look_alike", no_other)
    album = draw_album(0, Recipe(scenes=24))
    known = {pupil.individual for pupil in album.pupils}
    assert len(known) == 20
    assert not {thing.individual for query in album.queries for thing in query.strangers} & known
    for query in album.queries:
        individuals = [thing.individual for thing in query.drawing.things]
        assert len(set(individuals)) == len(individuals)


def test_an_album_is_balanced(album: Album) -> None:
    shown = Counter(name for query in album.queries for name in query.present)
    assert set(shown) == set(album.names)
    assert max(shown.values()) - min(shown.values()) <= 2
    assert 120 <= sum(shown.values()) <= 180
    assert sum(len(query.doubles) for query in album.queries) >= 40
    assert len({query.drawing.place for query in album.queries}) == 6


def test_the_truth_of_a_query() -> None:
    drawing = _drawing((10, 100, 60, 150), (250, 10, 300, 60), (130, 190, 180, 235), (200, 100, 240, 140))
    query = Query(drawing, (Role("Lala"), Role("Nino"), Role(like="Lala"), Role(like="Pia")))
    assert list(query.present) == ["Lala", "Nino"]
    assert [query.where(name) for name in query.present] == ["on the left", "at the top right"]
    assert query.strangers == [drawing.things[2], drawing.things[3]]
    assert query.doubles == ["Pia"]  # Lala is there herself


def test_a_recipe_may_set_names_kinds_and_size() -> None:
    recipe = Recipe(3, 2, 1, (200, 100), ("Lala",), ("dog", "mug"))
    album = draw_album(0, recipe)
    assert album.names[0] == "Lala" and set(album.names[1:]) <= set(all_names(held_out=True))
    assert [pupil.individual.kind for pupil in album.pupils][:2] == ["dog", "mug"]
    assert {query.drawing.pixels.shape for query in album.queries} == {(100, 200, 3)}
    assert [len(pupil.told) for pupil in album.pupils] == [1, 1, 1]


def test_an_album_is_written(tmp_path: Path) -> None:
    album = draw_album(0, Recipe(2, 3, names=("Señor Gato",)))
    taught, seen = write_album(album, tmp_path / "deep" / "album")
    assert [path.name for path in seen] == ["photo-1.png", "photo-2.png", "photo-3.png"]
    assert taught[0].name == "señor-gato.png"
    for path, query in zip(seen, album.queries, strict=True):
        assert np.array_equal(load(path).pixels, query.drawing.pixels)
    assert np.array_equal(load(taught[1]).pixels, album.pupils[1].drawing.pixels)
