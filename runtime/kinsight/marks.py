"""What is drawn on a photo: names of the recognised, maybes, other things, or the numbers to choose from."""

from __future__ import annotations

from collections.abc import Sequence

from kinsight.image import Mark, can_draw
from kinsight.prompt import notable
from kinsight.types import Scene


def scene_marks(scene: Scene) -> list[Mark]:
    """ "Lala 0.97" where accepted, "Lala?" where unsure, the label of other things worth a word.

    A name in a script that the fonts lack has the region's number before it, which the words have as well.
    """
    decided = {row: match for row, match in (*scene.accepted(), *scene.unsure()) if row is not None}
    named = [
        Mark(
            scene.regions.box(row),
            _drawn_name(match.concept, row)
            + (f" {match.probability:.2f}" if match.decision == "accepted" else "?"),
            match.decision,
        )
        for row, match in decided.items()
    ]
    others = notable(scene.regions, list(decided))
    return named + [Mark(scene.regions.box(row), scene.regions.labels[row], "unknown") for row in others]


def _drawn_name(name: str, row: int) -> str:
    return name if can_draw(name) else f"region {row + 1}: {name}"


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
