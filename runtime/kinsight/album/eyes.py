"""What the album needs of whoever owns it: models, rules, and how somebody is recognised."""

from __future__ import annotations

from typing import Protocol

from kinsight.detect import Detector
from kinsight.embed import Embedder
from kinsight.recall import Rules
from kinsight.store import Vectors
from kinsight.types import Floats, Match, Regions

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

    def views(self) -> Vectors:
        """What the concepts look like to this embedder, every view included."""

    def recognise(self, regions: Regions, vectors: Floats) -> Recognised:
        """Who is who in a photo: n regions, and float32 (n + 1, dim) of these and of the whole photo."""
