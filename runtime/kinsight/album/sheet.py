"""Sheets of what was found in the album, drawn from its thumbnails."""

from __future__ import annotations

from collections.abc import Sequence

from kinsight.album.finding import Found
from kinsight.album.inbox import Group, Member, as_it_was
from kinsight.errors import ConfigError
from kinsight.image import Mark, annotate, contact_sheet, crop, decode
from kinsight.types import Box, Pixels

EACH = 6
"""Members of a group that are shown beside other groups."""
_COLUMNS = 4
_CELL_WH = (320, 280)  # pixels
_SMALL_WH = (200, 200)
_ROOM = 0.15
"""What is shown around a thing, as a share of its size."""


def found_sheet(found: Sequence[Found], thumbnails: Sequence[bytes]) -> Pixels:
    """One cell a photo, with the boxes of what was asked for; ConfigError where nothing was found."""
    if not found:
        raise ConfigError("nothing was found, so there is nothing to draw", "leave out --sheet")
    pictures = [_marked(one, thumbnail) for one, thumbnail in zip(found, thumbnails, strict=True)]
    captions = [f"{one.score:.2f} {', '.join(one.concepts) or one.photo.name}" for one in found]
    return contact_sheet(pictures, captions, min(_COLUMNS, len(found)), _CELL_WH)


def members_sheet(group: Group, thumbnails: Sequence[bytes]) -> Pixels:
    """One cell a member, with its number."""
    pictures = [
        _cut(member, photo.pixels if (photo := as_it_was(member.photo)) else decode(thumbnail).pixels)
        for member, thumbnail in zip(group.members, thumbnails, strict=True)
    ]
    captions = [f"{number}: {member.photo.name}" for number, member in enumerate(group.members, 1)]
    return contact_sheet(pictures, captions, min(_COLUMNS, len(pictures)), _CELL_WH)


def groups_sheet(groups: Sequence[Group], thumbnails: Sequence[Sequence[bytes]]) -> Pixels:
    """A row for each group, of at most EACH members; ConfigError where there is none."""
    if not groups:
        raise ConfigError("the inbox is empty, so there is nothing to draw", "leave out --sheet")
    columns = max(map(len, thumbnails))
    pictures: list[Pixels] = []
    captions: list[str] = []
    for group, pieces in zip(groups, thumbnails, strict=True):
        cut = [_cut(m, decode(piece).pixels) for m, piece in zip(group.members, pieces, strict=False)]
        pictures += cut + [_blank(cut[0])] * (columns - len(cut))
        captions += [f"{group.id}: {len(group.members)} x {group.label}", *[""] * (columns - 1)]
    return contact_sheet(pictures, captions, columns, _SMALL_WH)


def _marked(found: Found, thumbnail: bytes) -> Pixels:
    pixels = decode(thumbnail).pixels
    names = found.asked or ("",) * len(found.boxes)
    marks = [
        Mark(_scaled(box, found.photo.width, pixels), name, "accepted" if name else "unsure")
        for box, name in zip(found.boxes, names, strict=True)
        if box is not None
    ]
    return annotate(pixels, marks)


def _cut(member: Member, pixels: Pixels) -> Pixels:
    """What a region shows, from the photo or a smaller copy of it."""
    return crop(pixels, _scaled(member.xyxy, member.photo.width, pixels), _ROOM)


def _scaled(box: Box, photo_width: int, pixels: Pixels) -> Box:
    """A box of the photo, pixels, in its thumbnail."""
    scale = pixels.shape[1] / photo_width
    x0, y0, x1, y1 = box
    return x0 * scale, y0 * scale, x1 * scale, y1 * scale


def _blank(like: Pixels) -> Pixels:
    """One pixel of the sheet's paper."""
    return like[:1, :1] * 0 + 250
