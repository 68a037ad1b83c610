"""Explains what recall decided: in words with the numbers, and as a picture with the nearest views."""

from __future__ import annotations

import numpy as np

from kinsight.evidence import Memory
from kinsight.image import contact_sheet, crop, decode
from kinsight.prompt import a_thing, place
from kinsight.recall import (
    CANDIDATES,
    Rules,
    is_contradicted,
    is_mistakable,
    is_person,
    needed_probability,
)
from kinsight.store import Store
from kinsight.types import Box, Match, Pixels, Scene

_CELL_WH = (260, 240)  # pixels
_ROWS = 12


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
        needed = needed_probability(memory, best.concept_id, label, score, rules)
        line = f"{where}: {explain(best, rules, needed)}"
        if is_contradicted(category, label, score, rules.vocabulary):
            line += f"; more was needed, as the detector sees {a_thing(label)} and not {a_thing(category)}"
        elif is_mistakable(memory, best.concept_id, rules):
            line += f"; more was needed, as something else was mistaken for {best.concept} once"
        if rules.faces is not None and is_person(category) and best.face is None:
            line += f"; a face to compare was not seen, so {best.concept} is a maybe at most"
        if _gave_way(best, rules) and best.concept_id in decided:
            line += f"; another region is nearer to {best.concept}"
        refused = [match for match in matches[1:] if match.refused]
        lines.append("; ".join([line, *(explain(match, rules, needed) for match in refused)]))
    return lines or ["Nobody was taught to this bundle's embedder yet."]


def explain(match: Match, rules: Rules, needed: float) -> str:
    """Why a match was decided as it was, in one line; `needed` is from `needed_probability`."""
    nearest = f"similarity {match.similarity:.2f} to view {match.view_id} of {match.concept}"
    if match.face is not None:
        nearest += f", the faces {match.face:.2f}"
    if match.refused:
        exceeds = (match.similarity if match.face is None else match.face) > match.against
        but = "a part of" if exceeds else f"{match.against:.2f} to"
        return f"{nearest}, but {but} what you said is not {match.concept}: {match.decision}"
    if match.face is None and abs(match.score - match.similarity) >= 0.005:
        nearest += f" ({match.score:.2f} after weighing all that is known of it and who else looks like this)"
    calibration = rules.calibration if match.face is None or rules.faces is None else rules.faces
    return (
        f"{nearest}, so probability {match.probability:.2f} (needed {needed:.2f}, "
        f"maybe from {calibration.unsure_probability:.2f}), "
        f"{match.margin:+.2f} over the next concept (needed {calibration.margin:+.2f}): "
        f"{match.decision}"
    )


def why_picture(scene: Scene, store: Store) -> Pixels:
    """A row for each region, the likeliest first, and the whole photo: its crop, then the nearest views.

    uint8 (h, w, 3) RGB; at most 12 rows. Raises StoreError where a view is gone meanwhile.
    """
    boxes = [scene.regions.box(row) for row in range(len(scene.regions))]
    whole = (0.0, 0.0, float(scene.photo.width), float(scene.photo.height))
    spots = [(f"region {row + 1}", box, scene.matches[row]) for row, box in enumerate(boxes)]
    spots.append(("whole photo", whole, scene.whole_photo))
    spots.sort(key=lambda spot: -max((match.probability for match in spot[2]), default=0.0))
    pictures: list[Pixels] = []
    captions: list[str] = []
    for where, box, matches in spots[:_ROWS]:
        cells = _row(scene, where, box, matches, store)
        pictures += [picture for picture, _ in cells]
        captions += [caption for _, caption in cells]
    return contact_sheet(pictures, captions, CANDIDATES + 1, _CELL_WH)


def _row(
    scene: Scene, where: str, box: Box, matches: tuple[Match, ...], store: Store
) -> list[tuple[Pixels, str]]:
    """CANDIDATES + 1 pictures with their captions."""
    decision = f": {matches[0].decision}" if matches else ""
    cells = [(crop(scene.photo.pixels, box), f"{where}{decision}")]
    for match in matches:
        view = decode(store.view_picture(match.view_id), match.concept).pixels
        cells.append((view, f"{match.concept} {match.similarity:.2f}, P {match.probability:.2f}"))
    blank = np.full((8, 8, 3), 250, np.uint8)
    return cells + [(blank, "")] * (CANDIDATES + 1 - len(cells))


def _gave_way(match: Match, rules: Rules) -> bool:
    """Whether only another region's better claim can have made it unknown."""
    return (
        match.decision == "unknown"
        and not match.refused
        and match.probability >= rules.calibration.unsure_probability
    )
