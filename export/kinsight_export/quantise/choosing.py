"""Makes candidates of a bundle's detector or towers, measures them beside what is there, and chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from kinsight.bundle import Bundle
from kinsight.detect import Detector
from kinsight.embed import Embedder
from kinsight.session import Session
from kinsight_export.gate import Check, Report
from kinsight_export.gate.choice import Candidate, Choice, choose
from kinsight_export.gate.compare import boxes_found_again, lowest_cosine
from kinsight_export.gate.timing import least_ms
from kinsight_export.quantise.candidates import Feeds, make_candidates, name_as_it_is
from kinsight_export.quantise.seeing import Eyes, identities_changed
from kinsight_export.trial import WORKSTATION

CALIBRATION = 48  # pictures of which the ranges of activations are taken
_COMPARED = 24
_LEAST_IOU = 0.5


@dataclass(frozen=True)
class Limits:
    """The loss that is allowed, and how much is measured."""

    changes: int = 1  # photos of which another identity is the nearest, crops that other words fit best
    cosine: float = 0.95  # the lowest between a vector and that of the source
    boxes: float = 0.8  # share that is found again at an IoU of .5
    thorough: bool = False  # whether changes are counted for what is refused already, too


def choose_detector(eyes: Eyes, limits: Limits, scratch: Path) -> Choice:
    """The fastest detector whose regions name the same; judged on the photos, timed on one of them."""
    detector = Detector(eyes.bundle.detector, WORKSTATION)
    pictures = eyes.pixels(CALIBRATION)
    feeds = [detector.feeds(detector.prepared(pixels)) for pixels in pictures]
    found = [detector.detect(pixels).xyxy for pixels in pictures[:_COMPARED]]

    def judged(bundle: Bundle) -> Check:
        other = Detector(bundle.detector, WORKSTATION)
        pairs = [
            boxes_found_again(other.detect(pixels).xyxy, boxes, _LEAST_IOU)
            for pixels, boxes in zip(pictures, found, strict=False)
        ]
        again, total = np.sum(pairs, axis=0)
        compared = f"{len(pairs)} photos of {eyes.photos.name}, against {files[0][0]}"
        share = float(again / max(total, 1))
        return Check("boxes", compared, "share found again, IoU .5", share, limits.boxes, "at least")

    files = _files(eyes.bundle.detector.file, feeds, scratch)
    bundles = [replace(eyes.bundle, detector=replace(eyes.bundle.detector, file=file)) for _, file in files]
    return _chosen("detector", files, bundles, _Judge(eyes, limits, judged).checks, feeds[0])


def choose_embedder(eyes: Eyes, limits: Limits, scratch: Path) -> Choice:
    """The fastest image tower whose vectors name the same; judged on crops and photos, timed on one crop."""
    embedder = Embedder(eyes.bundle.embedder, WORKSTATION)
    pictures = eyes.crops(CALIBRATION)
    feeds = [embedder.feeds([pixels])[0] for pixels in pictures]
    wanted = embedder.images(pictures)

    def judged(bundle: Bundle) -> Check:
        vectors = Embedder(bundle.embedder, WORKSTATION).images(pictures)
        compared = f"{len(pictures)} crops of {eyes.photos.name}, against {files[0][0]}"
        cosine = lowest_cosine(vectors, wanted)
        return Check("picture vectors", compared, "lowest cosine", cosine, limits.cosine, "at least")

    files = _files(eyes.bundle.embedder.image.file, feeds, scratch)
    parts = [
        replace(eyes.bundle.embedder, image=replace(eyes.bundle.embedder.image, file=file))
        for _, file in files
    ]
    bundles = [replace(eyes.bundle, embedder=part) for part in parts]
    return _chosen("embedder", files, bundles, _Judge(eyes, limits, judged).checks, feeds[0])


def choose_text(eyes: Eyes, limits: Limits, scratch: Path) -> Choice:
    """The fastest text tower that says the same; judged on words and which crops they fit, timed on one text.

    ModelError where the embedder has none.
    """
    part = eyes.bundle.embedder
    embedder = Embedder(part, WORKSTATION)
    texts = eyes.texts(CALIBRATION)
    feeds = [embedder.text_feeds([text]) for text in texts]
    wanted, crops = embedder.texts(texts), embedder.images(eyes.crops(CALIBRATION))
    kinds = min(len(texts), len(eyes.bundle.detector.labels))  # so many of the texts name a kind each
    best = (crops @ wanted[:kinds].T).argmax(axis=1)

    def judged(bundle: Bundle, _: bool) -> tuple[Check, ...]:
        vectors = Embedder(bundle.embedder, WORKSTATION).texts(texts)
        compared, measure = f"{len(texts)} texts, against {files[0][0]}", "lowest cosine"
        same = Check("words", compared, measure, lowest_cosine(vectors, wanted), limits.cosine, "at least")
        changed = int(((crops @ vectors[:kinds].T).argmax(axis=1) != best).sum())
        compared = f"{len(crops)} crops of {eyes.photos.name}, {kinds} texts"
        return (same, Check("best words", compared, "crops that others fit best", changed, limits.changes))

    tower = part.text
    assert tower is not None  # else there would be no feeds
    files = _files(tower.file, feeds, scratch)
    parts = [replace(part, text=replace(tower, file=file)) for _, file in files]
    bundles = [replace(eyes.bundle, embedder=each) for each in parts]
    return _chosen("text", files, bundles, judged, feeds[0])


def _files(file: Path, feeds: Sequence[Feeds], scratch: Path) -> list[tuple[str, Path]]:
    return [(name_as_it_is(file), file), *make_candidates(file, feeds, scratch)]


@dataclass(frozen=True, eq=False)
class _Judge:
    """First what is quick to see; whether anybody is taken for another of what is worth it, or of all."""

    eyes: Eyes
    limits: Limits
    quick: Callable[[Bundle], Check]

    def checks(self, bundle: Bundle, worth: bool) -> tuple[Check, ...]:
        """Of a candidate that is `worth` a look at all photos, as it is the faster one."""
        first = self.quick(bundle)
        if not ((worth and first.kept) or self.limits.thorough):
            return (first,)
        changed, queries = identities_changed(self.eyes.shots, self.eyes.again(bundle))
        compared = f"{queries} photos of {self.eyes.photos.name}, each identity taught from one"
        measure = "photos of which another is the nearest"
        return (first, Check("identities", compared, measure, changed, self.limits.changes))


def _chosen(
    part: str,
    files: Sequence[tuple[str, Path]],
    bundles: Sequence[Bundle],
    checks: Callable[[Bundle, bool], tuple[Check, ...]],
    feeds: Feeds,
) -> Choice:
    """All are timed in turn, so that every one meets the same machine; the first is what is there."""
    times = least_ms([partial(Session(file, WORKSTATION).run, feeds) for _, file in files])
    candidates = []
    for (name, file), bundle, milliseconds in zip(files, bundles, times, strict=True):
        report = Report(part, files[0][0], checks(bundle, milliseconds < times[0]))
        size = file.stat().st_size / 1e6
        candidates.append(Candidate(name, (file,), size, milliseconds, report))
    return choose(candidates)
