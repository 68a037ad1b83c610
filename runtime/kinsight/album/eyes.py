"""What the album needs of whoever owns it: models, rules, and how somebody is recognised."""

from __future__ import annotations

from typing import Protocol

from kinsight.bundle import Bundle
from kinsight.detect import Detector
from kinsight.embed import Embedder
from kinsight.recall import Rules
from kinsight.store import Vectors
from kinsight.types import Floats, Match, Photo, Regions

Recognised = tuple[tuple[tuple[Match, ...], ...], tuple[Match, ...]]
"""Matches of every region, best first, and of the whole photo."""


class Eyes(Protocol):
    """The assistant, as the album sees it; the models are loaded when they are asked for."""

    @property
    def detector(self) -> Detector:
        """The bundle's detector."""

    @property
    def embedder(self) -> Embedder:
        """The bundle's embedder."""

    @property
    def rules(self) -> Rules:
        """When to name; BundleError where the bundle was never calibrated."""

    @property
    def bundle(self) -> Bundle:
        """What the models are of."""

    def views(self) -> Vectors:
        """What the concepts look like to this embedder, every view included."""

    def faces_in(self, photo: Photo, regions: Regions) -> Floats | None:
        """float32 (n + 1, face dim), zeros where none is seen; None where the bundle sees no faces."""

    def recognise(self, regions: Regions, vectors: Floats, faces: Floats | None = None) -> Recognised:
        """Who is who in a photo: n regions, float32 (n + 1, dim) of these and the whole; faces as above."""


def recogniser_id(eyes: Eyes) -> str:
    """Of the faces that they see; "" where they see none."""
    return eyes.bundle.faces.id if eyes.bundle.faces else ""
