"""The drawn world: scenes from a seed with their whole truth, for the demo, the bench and training."""

from kinsight.drawn.individuals import (
    ATTRIBUTES,
    COLOURS,
    KINDS,
    Individual,
    describe,
    difference,
    individual,
    look_alike,
)
from kinsight.drawn.places import PLACES
from kinsight.drawn.scenes import Drawing, Placed, draw_scene, random_scene

__all__ = [
    "ATTRIBUTES",
    "COLOURS",
    "KINDS",
    "PLACES",
    "Drawing",
    "Individual",
    "Placed",
    "describe",
    "difference",
    "draw_scene",
    "individual",
    "look_alike",
    "random_scene",
]
