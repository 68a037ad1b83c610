"""Explains what recall decided: in words with the numbers, and as a picture with the nearest views."""

from __future__ import annotations

from collections.abc import Sequence

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
    """Of every region and the whole photo, why somebody was or was not named, in the order of the picture."""
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
        line = explain(best, rules, needed)
        if is_contradicted(category, label, score, rules.vocabulary):
            line += f"; more was needed, as the detector sees {a_thing(label)} and not {a_thing(category)}"
        elif is_mistakable(memory, best.concept_id, rules):
            line += f"; more was needed, as something else was mistaken for {best.concept} once"
        if rules.faces is not None and is_person(category) and best.face is None:
            line += f"; a face to compare was not seen, so {best.concept} is a maybe at most"
        if _gave_way(best, rules) and best.concept_id in decided:
            line += f"; another region is nearer to {best.concept}"
        told = [match for match in nearest_first(matches) if match is best or match.refused]
        parts = [line if match is best else explain(match, rules, needed) for match in told]
        lines.append(f"{where}: {'; '.join(parts)}")
    return lines or ["Nobody was taught to this bundle's embedder yet."]


def nearest_first(matches: Sequence[Match]) -> list[Match]:
    """The matches of one region as they would come but for the negatives: first who nearly was named."""
    return sorted(matches, key=lambda match: -match.claim)


def explain(match: Match, rules: Rules, needed: float) -> str:
    """Why a match was decided as it was, in one line; `needed` is from `needed_probability`."""
    nearest = f"similarity {match.similarity:.2f} to view {match.view_id} of {match.concept}"
    if match.face is not None:
        nearest += f", the faces {match.face:.2f}"
    if match.refused:
        return f"{nearest}, but {_objection(match)}: {match.decision}"
    if match.face is None and abs(match.score - match.similarity) >= 0.005:
        nearest += f" ({match.score:.2f} after weighing all that is known of it and who else looks like this)"
    calibration = rules.calibration if match.face is None or rules.faces is None else rules.faces
    return (
        f"{nearest}, so probability {match.probability:.2f} (needed {needed:.2f}, "
        f"maybe from {calibration.unsure_probability:.2f}), "
        f"{match.margin:+.2f} over the next concept (needed {calibration.margin:+.2f}): "
        f"{match.decision}"
    )


def _objection(match: Match) -> str:
    """What speaks against a match that was refused."""
    near, against = match.similarity if match.face is None else match.face, match.against
    if against is None or near > against.exceed:
        return f"a part of what you said is not {match.concept}"
    return (
        f"{against.similarity:.2f} to negative {against.negative_id}, which you said is not {match.concept}, "
        f"so more than {against.exceed:.2f} was needed"
    )


def why_picture(scene: Scene, store: Store) -> Pixels:
    """A row for each region, the likeliest first, and the whole photo: its crop, then the nearest views.

    Beside a view that was refused is the negative for which it was. uint8 (h, w, 3) RGB; at most 12 rows.
    Raises StoreError where a view or negative is gone meanwhile.
    """
    boxes = [scene.regions.box(row) for row in range(len(scene.regions))]
    whole = (0.0, 0.0, float(scene.photo.width), float(scene.photo.height))
    spots = [(f"region {row + 1}", box, scene.matches[row]) for row, box in enumerate(boxes)]
    spots.append(("whole photo", whole, scene.whole_photo))
    spots.sort(key=lambda spot: -max((match.claim for match in spot[2]), default=0.0))
    rows = [_row(scene, where, box, matches, store) for where, box, matches in spots[:_ROWS]]
    columns = max(CANDIDATES + 1, *(len(cells) for cells in rows))
    blank = np.full((8, 8, 3), 250, np.uint8)
    filled = [cell for cells in rows for cell in (*cells, *[(blank, "")] * (columns - len(cells)))]
    return contact_sheet(
        [picture for picture, _ in filled], [caption for _, caption in filled], columns, _CELL_WH
    )


def _row(
    scene: Scene, where: str, box: Box, matches: tuple[Match, ...], store: Store
) -> list[tuple[Pixels, str]]:
    """Pictures of one spot with their captions: the crop, the views, and what refused them."""
    decision = f": {matches[0].decision}" if matches else ""
    cells = [(crop(scene.photo.pixels, box), f"{where}{decision}")]
    for match in nearest_first(matches):
        view = decode(store.view_picture(match.view_id), match.concept).pixels
        said = "refused" if match.refused else f"P {match.probability:.2f}"
        near = match.similarity if match.face is None else match.face
        cells.append((view, f"{match.concept} {near:.2f}, {said}"))
        if match.refused and match.against is not None and near <= match.against.exceed:
            negative = decode(store.picture("negative", match.against.negative_id), match.concept).pixels
            cells.append((negative, f"not {match.concept} {match.against.similarity:.2f}"))
    return cells


def _gave_way(match: Match, rules: Rules) -> bool:
    """Whether only another region's better claim can have made it unknown."""
    calibration = rules.calibration if match.face is None or rules.faces is None else rules.faces
    return (
        match.decision == "unknown"
        and not match.refused
        and match.probability >= calibration.unsure_probability
    )
