"""Shows the main job on drawn or real pictures: teach some, look, ask, and know no strangers."""

from kinsight.demo.programme import FRIENDS, SEED, Friend, Look, Programme, drawn_programme, photo_programme
from kinsight.demo.show import Demo, throw_away

__all__ = [
    "FRIENDS",
    "SEED",
    "Demo",
    "Friend",
    "Look",
    "Programme",
    "drawn_programme",
    "photo_programme",
    "throw_away",
]
