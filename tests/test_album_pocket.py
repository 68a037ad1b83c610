"""The album on the built-in bundle and drawn scenes, whose truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from kinsight.album import Member
from kinsight.assistant import Assistant, Choices, Lesson
from kinsight.drawn import Individual, Placed
from kinsight.drawn.album import Album, Recipe, draw_album, write_album
from kinsight.metrics import iou
from kinsight.store import Naming
from terminal import ONE_THREAD


@dataclass(frozen=True)
class World:
    """A drawn album, taken in by somebody who was taught nobody."""

    assistant: Assistant
    album: Album
    taught: list[Path]
    things: dict[str, tuple[Placed, ...]]  # by the path of the photo

    def shown(self, member: Member) -> Individual | None:
        """Whom a region shows."""
        things = self.things[member.photo.path]
        overlaps = iou([member.xyxy], [thing.xyxy for thing in things])[0]
        return things[int(overlaps.argmax())].individual if overlaps.max() > 0.5 else None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "device.toml").write_text(ONE_THREAD, encoding="utf-8")
    album = draw_album(2026, Recipe(concepts=4, scenes=14))
    taught, seen = write_album(album, folder / "album")
    things = {str(path): query.drawing.things for path, query in zip(seen, album.queries, strict=True)}
    with Assistant.open(Choices(folder / "home", "pocket", str(folder / "device.toml"))) as assistant:
        assert assistant.album.add(seen).added == len(seen)
        yield World(assistant, album, taught, things)


def test_what_recurs_is_grouped(world: World) -> None:
    """Hardly anybody is in a group of somebody else, and most who recur are in one."""
    groups = world.assistant.album.groups()
    right = total = 0
    for group in groups:
        shown = Counter(world.shown(member) for member in group.members)
        right += max(shown.values())
        total += len(group.members)
    assert right >= 0.9 * total
    there = Counter(thing.individual for things in world.things.values() for thing in things)
    recurring = {one for one, count in there.items() if count > 2}
    grouped = {world.shown(member) for group in groups for member in group.members}
    assert len(recurring & grouped) >= 0.7 * len(recurring)


def test_naming_a_group_names_past_photos(world: World) -> None:
    album, store = world.assistant.album, world.assistant.store
    group = album.groups()[0]
    album.name(group.id, Naming("Momo", ()))
    found = album.find_names(["Momo"], 99)
    members = {member.photo.sha256 for member in group.members}
    assert len({one.photo.sha256 for one in found} & members) >= 0.8 * len(members)
    assert group.id not in {other.id for other in album.groups()}
    assert "Momo" in found[0].concepts
    store.undo()
    assert album.groups()[0] == group


@pytest.mark.stress
def test_taught_names_are_found_in_photos_that_were_taken_in_before(world: World) -> None:
    assistant = world.assistant
    for pupil, path in zip(world.album.pupils, world.taught, strict=True):
        assistant.remember(path, Lesson(pupil.name, pupil.individual.kind))
    due = right = wrong = 0
    for pupil in world.album.pupils:
        there = {
            path
            for path, things in world.things.items()
            if pupil.individual in (t.individual for t in things)
        }
        found = {one.photo.path for one in assistant.album.find_names([pupil.name], 99)}
        looked = {
            path
            for path in world.things
            if pupil.name in [match.concept for _, match in assistant.look(path).accepted()]
        }
        assert found == looked  # recall on what is kept decides as a look does
        due, right, wrong = due + len(there), right + len(there & found), wrong + len(found - there)
    assert right >= 0.7 * due
    assert wrong <= 0.15 * due
    for _ in world.album.pupils:
        assistant.store.undo()


def test_words_find_what_they_say(world: World) -> None:
    """Of each concept's colour and kind: in most cases one of the first three photos holds such a thing."""
    hits = []
    for pupil in world.album.pupils:
        one = pupil.individual
        found = world.assistant.album.find_text(f"a {one.colour} {one.kind}", 3)
        seen = [(t.individual.colour, t.individual.kind) for f in found for t in world.things[f.photo.path]]
        hits.append((one.colour, one.kind) in seen)
    assert np.mean(hits) >= 0.75
