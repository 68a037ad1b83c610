"""What is drawn on a photo: names of the recognised, maybes, other things, or the numbers to choose from."""

from __future__ import annotations

from collections.abc import Sequence

from kinsight.image import Mark
from kinsight.prompt import notable
from kinsight.types import Scene


def scene_marks(scene: Scene) -> list[Mark]:
    """ "Lala 0.97" where accepted, "Lala?" where unsure, the label of other things worth a word."""
    decided = {row: match for row, match in (*scene.accepted(), *scene.unsure()) if row is not None}
    named = [
        Mark(
            scene.regions.box(row),
            f"{match.concept} {match.probability:.2f}"
            if match.decision == "accepted"
            else f"{match.concept}?",
            match.decision,
        )
        for row, match in decided.items()
    ]
    others = notable(scene.regions, list(decided))
    return named + [Mark(scene.regions.box(row), scene.regions.labels[row], "unknown") for row in others]


def numbered_marks(scene: Scene, rows: Sequence[int]) -> list[Mark]:
    """The regions of these rows with their numbers, the first one in the colour of a good choice."""
    return [
        Mark(
            scene.regions.box(row),
            f"{row + 1}: {scene.regions.labels[row]}",
            "accepted" if row == rows[0] else "unsure",
        )
        for row in rows
    ]
