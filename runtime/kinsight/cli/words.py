"""A scene in words: who is where, who may be there, and what else there is."""

from __future__ import annotations

from kinsight.prompt import a_thing, notable, place
from kinsight.types import Match, Scene


def scene_lines(scene: Scene) -> list[str]:
    """One line for everybody accepted, for every maybe, and one for the other things."""
    named = [*scene.accepted(), *scene.unsure()]
    lines = [_line(scene, row, match) for row, match in named] or ["I don't know anyone in this photo."]
    others = notable(scene.regions, [row for row, _ in named if row is not None])
    things = [
        f"{a_thing(scene.regions.labels[row])} {place(scene, row)} (region {row + 1})" for row in others
    ]
    return [*lines, f"Not known: {', '.join(things)}"] if things else lines


def _line(scene: Scene, row: int | None, match: Match) -> str:
    name = match.concept if match.decision == "accepted" else f"Maybe {match.concept}"
    if row is None:
        return f"{name}: somewhere in the photo (probability {match.probability:.2f})"
    label = scene.regions.labels[row]
    return (
        f"{name}: {place(scene, row)} ({a_thing(label)}, region {row + 1}, "
        f"probability {match.probability:.2f})"
    )
