"""What a detector and an embedder see on photos of known identities, to be held against others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinsight.bundle import Bundle
from kinsight.detect import Detector
from kinsight.embed import Embedder
from kinsight.evaluate import Progress, Reader, Shot
from kinsight.evaluate.fitting import reference
from kinsight.image import crop, load
from kinsight.types import Floats, Pixels
from kinsight_export.trial import WORKSTATION

_CROPS = 48
_PHRASES = ("a photo of a {}", "the small {} on the table", "{}", "My friend's old {}, beside two red ones!")


@dataclass(frozen=True, eq=False)
class Eyes:
    """A bundle's vision on a folder with a folder of photos per identity, before anything changes."""

    bundle: Bundle
    photos: Path
    shots: Sequence[Shot]
    progress: Progress

    @staticmethod
    def of(bundle: Bundle, photos: Path, progress: Progress) -> Eyes:
        """Reads the photos. ConfigError where there are fewer than two identities."""
        reader = Reader(
            Detector(bundle.detector, WORKSTATION), Embedder(bundle.embedder, WORKSTATION), progress
        )
        return Eyes(bundle, photos, reader.identities(photos), progress)

    def again(self, bundle: Bundle) -> list[Shot]:
        """The same photos with other models."""
        reader = Reader(
            Detector(bundle.detector, WORKSTATION), Embedder(bundle.embedder, WORKSTATION), self.progress
        )
        return reader.identities(self.photos)

    def pixels(self, count: int) -> list[Pixels]:
        """Photos, spread over all."""
        rows = np.linspace(0, len(self.shots) - 1, min(count, len(self.shots))).round().astype(int)
        return [load(self.shots[row].path).pixels for row in rows]

    def crops(self, count: int = _CROPS) -> list[Pixels]:
        """Best regions and whole photos, spread over all."""
        rows = np.linspace(0, len(self.shots) - 1, min(count, len(self.shots))).round().astype(int)
        pictures = []
        for row in rows:
            shot, pixels = self.shots[row], load(self.shots[row].path).pixels
            pictures.append(crop(pixels, shot.regions.box(0)) if len(shot.regions) else pixels)
        return pictures

    def texts(self, count: int) -> list[str]:
        """Phrases about the detector's labels: each of them once, then again in other words."""
        rows = list(enumerate(self.bundle.detector.labels))
        phrases = len(_PHRASES)
        pairs = [(_PHRASES[(row + turn) % phrases], label) for turn in range(phrases) for row, label in rows]
        return [phrase.format(label) for phrase, label in pairs[:count]]


def identities_changed(before: Sequence[Shot], after: Sequence[Shot]) -> tuple[int, int]:
    """(queries of which another identity is the nearest, queries); each identity is taught from one photo."""
    ours, theirs = nearest(after), nearest(before)
    return sum(a != b for a, b in zip(ours, theirs, strict=True)), len(ours)


def nearest(shots: Sequence[Shot]) -> list[str]:
    """Of every photo that teaches nobody, the identity that is the nearest to one of its regions."""
    names = list(dict.fromkeys(shot.identity for shot in shots))
    taught = [_teacher(name, shots) for name in names]
    references: Floats = np.stack([reference(shot, shots) for shot in taught])
    queries = [shot for shot in shots if all(shot is not one for one in taught)]
    return [names[int((shot.vectors @ references.T).max(axis=0).argmax())] for shot in queries]


def _teacher(name: str, shots: Sequence[Shot]) -> Shot:
    own = [shot for shot in shots if shot.identity == name]
    return next((shot for shot in own if shot.boxed is not None), own[0])
