"""The inbox: things without a name that recur in the album, grouped; naming a group teaches the concept."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kinsight.album.eyes import Eyes
from kinsight.album.finding import recognised, resembling
from kinsight.album.groups import alike_groups, typical_first
from kinsight.calibration import needed_similarity
from kinsight.errors import ConfigError, PhotoError
from kinsight.faces import with_face
from kinsight.image import load
from kinsight.prompt import notable
from kinsight.store import AlbumPhoto, NewView, Shots
from kinsight.teach import new_view
from kinsight.types import Box, Photo

MOST_VIEWS = 5
"""Views that are taken from a group."""
_LEAST_SCORE = 0.2
"""Of the detector: less than for a word in an answer, as being there again and again is evidence itself."""
_ID_LENGTH = 6


@dataclass(frozen=True)
class Member:
    """One region of a group."""

    photo: AlbumPhoto
    xyxy: Box  # pixels of the photo
    label: str  # of the detector
    row: int  # of the region in the shots


@dataclass(frozen=True)
class Group:
    """Regions of several photos that look like one individual without a name."""

    id: str  # follows from the members: another group never has it
    label: str  # what the detector calls most of them
    members: tuple[Member, ...]  # in the order of the album


def unnamed_groups(shots: Shots, eyes: Eyes) -> list[Group]:
    """All groups, largest first, but for those of which a member was hidden.

    A region joins only where it is so like each one of the group that recall would accept it.
    """
    rows = np.array(list(_unnamed(shots, eyes)), np.int64)
    calibration = eyes.rules.calibration
    least = needed_similarity(calibration.accept_probability, calibration)
    groups = alike_groups(shots.vectors[rows], shots.photo_of()[rows], least)
    asked = [rows[group] for group in groups if not shots.hidden[rows[group]].any()]
    return [_group(shots, group.tolist()) for group in asked]


def find_group(groups: Sequence[Group], group_id: str) -> Group:
    """The group with this id; ConfigError where there is none."""
    found = [group for group in groups if group.id == group_id.strip().casefold()]
    if not found:
        raise ConfigError(
            f"there is no group {group_id} in the inbox",
            "list the groups with `kinsight inbox list`; a group that changes gets another id",
        )
    return found[0]


def chosen(group: Group, numbers: Sequence[int]) -> tuple[list[Member], list[Member]]:
    """(the members with these numbers, counted from 1, the others); all of them where no number is given."""
    if wrong := [number for number in numbers if not 1 <= number <= len(group.members)]:
        raise ConfigError(
            f"the group {group.id} has no number {wrong[0]}", f"choose of 1 to {len(group.members)}"
        )
    mine = [member for number, member in enumerate(group.members, 1) if not numbers or number in numbers]
    return mine, [member for member in group.members if member not in mine]


def views_of(shots: Shots, members: Sequence[Member], eyes: Eyes) -> tuple[NewView, ...]:
    """The best few crops of these regions, cut from the photos themselves where they still are.

    Raises PhotoError where none of the photos is where it was.
    """
    views: list[NewView] = []
    for row in typical_first(shots.vectors[[member.row for member in members]], len(members)):
        photo = as_it_was(members[row].photo)
        if photo is not None and len(views) < MOST_VIEWS:
            views.append(new_view(photo, members[row].xyxy, eyes.embedder))
    if not views:
        raise _gone(members[0])
    return tuple(views)


def exact_views(shots: Shots, members: Sequence[Member], eyes: Eyes) -> tuple[NewView, ...]:
    """All of these regions, each with the very vectors that the album has of it and of its face.

    Where a group is split, nothing is nearer to a region than its own view or negative, however alike the
    others are. Raises PhotoError where a photo is not where it was.
    """
    views: list[NewView] = []
    for member in members:
        photo = as_it_was(member.photo)
        if photo is None:
            raise _gone(member)
        view = replace(new_view(photo, member.xyxy, eyes.embedder), vector=shots.vectors[member.row])
        views.append(with_face(view, shots.faces_beside(member.row), eyes.bundle.faces))
    return tuple(views)


def _unnamed(shots: Shots, eyes: Eyes) -> Iterator[int]:
    """Rows of the regions in which nobody is recognised, not even perhaps."""
    familiar = set(resembling(shots, None, eyes))
    for photo in range(len(shots.photos)):
        rows = list(shots.rows(photo))
        matches = recognised(shots, photo, eyes)[0] if photo in familiar else ()
        named = [row for row, found in enumerate(matches) if any(m.decision != "unknown" for m in found)]
        yield from (rows[row] for row in notable(shots.regions.take(rows), named, _LEAST_SCORE))


def _group(shots: Shots, rows: list[int]) -> Group:
    photo_of = shots.photo_of()
    members = [
        Member(shots.photos[photo_of[row]], shots.regions.box(row), shots.regions.labels[row], row)
        for row in rows
    ]
    ((label, _),) = Counter(member.label for member in members).most_common(1)
    spots = sorted(f"{member.photo.sha256} {member.xyxy}" for member in members)
    return Group(hashlib.sha256("\n".join(spots).encode()).hexdigest()[:_ID_LENGTH], label, tuple(members))


def _gone(member: Member) -> PhotoError:
    return PhotoError(
        f"{member.photo.path} is not where it was, or has another content now",
        "run `kinsight album add` with the folder in which it is now",
    )


def as_it_was(photo: AlbumPhoto) -> Photo | None:
    """The photo of the album, decoded; None where its file is gone or has another content now."""
    try:
        found = load(photo.path)
    except PhotoError:
        return None
    return found if found.sha256 == photo.sha256 else None
