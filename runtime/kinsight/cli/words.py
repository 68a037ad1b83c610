"""A scene in words: who is where, who may be there, what else there is, and why recall decided so."""

from __future__ import annotations

from kinsight.prompt import a_thing, notable, place
from kinsight.recall import Memory, Rules, explain, needed_probability
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


def why_lines(scene: Scene, memory: Memory, rules: Rules) -> list[str]:
    """Of every region and the whole photo, why the best candidate was or was not named."""
    decided = {match.concept_id for _, match in (*scene.accepted(), *scene.unsure())}
    lines = []
    for row, matches in enumerate((*scene.matches, scene.whole_photo)):
        if not matches:
            continue
        whole, best = row == len(scene.regions), matches[0]
        label = "" if whole else scene.regions.labels[row]
        score = 0.0 if whole else float(scene.regions.scores[row])
        where = "whole photo" if whole else f"region {row + 1}, {label} {score:.2f}, {place(scene, row)}"
        category = memory.categories.get(best.concept_id, "")
        needed = needed_probability(category, label, score, rules)
        line = f"{where}: {explain(best, rules.calibration, needed)}"
        if needed > rules.calibration.accept_probability:
            line += f"; more was needed, as the detector sees {a_thing(label)} and not {a_thing(category)}"
        if _gave_way(best, rules) and best.concept_id in decided:
            line += f"; another region is nearer to {best.concept}"
        lines.append(line)
    return lines or ["Nobody was taught to this bundle's embedder yet."]


def _gave_way(match: Match, rules: Rules) -> bool:
    """Whether only another region's better claim can have made it unknown."""
    return match.decision == "unknown" and match.probability >= rules.calibration.unsure_probability


def _line(scene: Scene, row: int | None, match: Match) -> str:
    name = match.concept if match.decision == "accepted" else f"Maybe {match.concept}"
    if row is None:
        return f"{name}: somewhere in the photo (probability {match.probability:.2f})"
    label = scene.regions.labels[row]
    return (
        f"{name}: {place(scene, row)} ({a_thing(label)}, region {row + 1}, "
        f"probability {match.probability:.2f})"
    )
