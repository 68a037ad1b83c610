"""Reads folders of photos, a folder per identity, as recall sees them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from kinsight.detect import Detector
from kinsight.embed import Embedder, embed_scene
from kinsight.errors import ConfigError
from kinsight.image import PHOTO_SUFFIXES, crop, load
from kinsight.types import Box, Floats, Regions

BOXES = "reference_boxes.json"
_NOT_PHOTOS = {"masks", "masked"}

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Shot:
    """One photo as recall sees it."""

    identity: str  # the folder's name; "" for a stranger
    path: Path
    regions: Regions
    vectors: Floats  # float32 (n + 1, dim), unit length: the regions, then the whole photo
    views: Floats  # float32 (n + 1, dim), unit length: the same, as they would be taught
    boxed: Floats | None  # float32 (dim,), unit length: its hand-drawn box as taught, where it has one
    timings_ms: Mapping[str, float] = field(default_factory=dict)  # decode, detect, embed as in a look


class Reader:
    """Reads photos with a bundle's vision models."""

    def __init__(self, detector: Detector, embedder: Embedder, progress: Progress | None = None) -> None:
        self._detector, self._embedder = detector, embedder
        self._progress = progress or (lambda what, done, total: None)

    def identities(self, folder: Path) -> list[Shot]:
        """The photos of every identity that has two or more, with their hand-drawn boxes (see `read_boxes`).

        Raises ConfigError where there are fewer than two such identities.
        """
        paths = [path for photos in identities_in(folder).values() for path in photos]
        boxes = read_boxes(folder)
        if lost := set(boxes) - {path.relative_to(folder).as_posix() for path in paths}:
            raise ConfigError(
                f"{folder / BOXES} has a box for {min(lost)}, which is no photo here", "correct the path"
            )
        return [
            self._shot(path, path.parent.name, boxes.get(path.relative_to(folder).as_posix()))
            for path in counted(self._progress, "identities", paths)
        ]

    def strangers(self, folders: Sequence[Path]) -> list[Shot]:
        """All photos of these folders, as photos of nobody. Raises ConfigError as `strangers_in`."""
        paths = counted(self._progress, "strangers", strangers_in(folders))
        return [self._shot(path, "", None) for path in paths]

    def _shot(self, path: Path, identity: str, box: Box | None) -> Shot:
        photo = load(path)
        started = time.perf_counter()
        regions = self._detector.detect(photo.pixels)
        detected = time.perf_counter()
        vectors = embed_scene(photo, regions, self._embedder)
        times = {"detect": 1e3 * (detected - started), "embed": 1e3 * (time.perf_counter() - detected)}
        times = {"decode": photo.decode_ms, **times}
        if not identity:
            return Shot(identity, path, regions, vectors, vectors, None, times)
        boxes = [regions.box(row) for row in range(len(regions))]
        boxes.append((0.0, 0.0, float(photo.width), float(photo.height)))
        if box is not None:
            x0, y0, x1, y1 = box
            boxes.append((x0 * photo.width, y0 * photo.height, x1 * photo.width, y1 * photo.height))
        views = self._embedder.views([crop(photo.pixels, box) for box in boxes])
        boxed = views[-1] if box is not None else None
        return Shot(identity, path, regions, vectors, views[: len(regions) + 1], boxed, times)


def counted(progress: Progress, what: str, items: Sequence[Item]) -> Iterator[Item]:
    """The items, with a word on the progress before each one and after the last."""
    for done, item in enumerate(items):
        progress(what, done, len(items))
        yield item
    progress(what, len(items), len(items))


def read_boxes(folder: Path) -> dict[str, Box]:
    """Photo ("identity/00.jpg") -> hand-drawn box, shares of width and height 0..1; empty without the file.

    The file is reference_boxes.json: {identity: {"photo": ..., "box_norm_xyxy": [x0, y0, x1, y1]}}.
    Raises ConfigError where it says something else.
    """
    path = folder / BOXES
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8")).values()
        return {entry["photo"]: _box(entry["box_norm_xyxy"]) for entry in entries}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{path} cannot be read as hand-drawn boxes ({error!r})",
            'write {"lala": {"photo": "lala/00.jpg", "box_norm_xyxy": [0.1, 0.2, 0.8, 0.9]}}',
        ) from None


def photos_in(folder: Path) -> list[Path]:
    """The photos in a folder, sorted."""
    return _photos(folder.iterdir())


def identities_in(folder: Path) -> dict[str, list[Path]]:
    """Name of a folder in this one -> its photos, sorted, of all that hold two or more.

    Raises ConfigError where there are fewer than two such folders.
    """
    people = {sub.name: photos_in(sub) for sub in folders_in(folder) if sub.name not in _NOT_PHOTOS}
    people = {name: photos for name, photos in people.items() if len(photos) > 1}
    if len(people) < 2:
        raise ConfigError(
            f"{folder} holds {len(people)} folders with two photos or more",
            "give a folder that holds one folder of photos per identity",
        )
    return people


def strangers_in(folders: Sequence[Path]) -> list[Path]:
    """The photos in and below these folders, but for masks. Raises ConfigError where a folder has none."""
    found: list[Path] = []
    for folder in folders:
        below = _photos(folder.rglob("*"))
        photos = [path for path in below if not _NOT_PHOTOS & {*path.relative_to(folder).parts}]
        if not photos:
            raise ConfigError(
                f"there is no photo in {folder}", "give a folder with photos of nobody you taught"
            )
        found += photos
    return found


def _photos(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file())


def _box(values: Sequence[float]) -> Box:
    x0, y0, x1, y1 = (float(np.clip(value, 0.0, 1.0)) for value in values)
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"the box {list(values)} is empty")
    return x0, y0, x1, y1


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, one per identity. Raises ConfigError where there is no such folder."""
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}", "give a folder that holds one folder per identity")
    return sorted(sub for sub in folder.iterdir() if sub.is_dir())
