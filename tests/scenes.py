"""Scenes made by hand, for tests of what is said about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kinsight.types import Box, Concept, Decision, Match, Photo, Regions, Scene

WIDTH, HEIGHT = 900, 600
HERE, THERE = (100, 100, 300, 300), (400, 380, 600, 600)
"""At the top left and at the bottom right of a photo of 640 x 640 pixels."""


class Thing(NamedTuple):
    """A region of a scene."""

    label: str
    box: Box
    match: Match | None = None
    score: float = 0.9


def match(concept: Concept, decision: Decision = "accepted") -> Match:
    """A match of this concept."""
    return Match(concept.name, concept.id, 100 + concept.id, 0.8, 0.95, 0.3, decision)


def scene_of(things: Sequence[Thing], whole: Sequence[Match] = ()) -> Scene:
    """A scene of 900 x 600 pixels with these regions, and these matches of the whole photo."""
    regions = Regions(
        np.array([thing.box for thing in things], np.float32).reshape(len(things), 4),
        np.array([thing.score for thing in things], np.float32),
        tuple(thing.label for thing in things),
    )
    photo = Photo(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "ab" * 32, "photo.png")
    matches = tuple((thing.match,) if thing.match else () for thing in things)
    return Scene(
        photo, "tiny", regions, np.zeros((len(things) + 1, 4), np.float32), matches, tuple(whole), {}
    )
