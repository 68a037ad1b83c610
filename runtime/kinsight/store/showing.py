"""Which negatives show somebody: crops of the same photo as a view, with much the same box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlite_utils import Database

from kinsight.metrics import iou
from kinsight.types import Box, Concept, View

_SAME_CROP = 0.5


def crops_shown(crops: Sequence[View], photo_sha256: str, box: Box) -> list[int]:
    """Ids of the views or negatives that are much the same crop as this box, in pixels, of a photo."""
    own = [crop for crop in crops if crop.photo_sha256 == photo_sha256]
    boxes = np.array([crop.xyxy for crop in own], np.float32).reshape(-1, 4)
    overlaps = iou([box], boxes)[0]
    return [crop.id for crop, overlap in zip(own, overlaps, strict=True) if overlap >= _SAME_CROP]


def negatives_that_show(db: Database, concept: Concept) -> set[int]:
    """Ids of the negatives of others that show this concept."""
    found: set[int] = set()
    for view in concept.views:
        negatives = db.execute(
            "select id, x0, y0, x1, y1 from negative where photo_sha256 = ? and concept_id <> ?",
            (view.photo_sha256, concept.id),
        ).fetchall()
        boxes = np.array([row[1:] for row in negatives], np.float32).reshape(-1, 4)
        overlaps = iou([view.xyxy], boxes)[0]
        found |= {row[0] for row, overlap in zip(negatives, overlaps, strict=True) if overlap >= _SAME_CROP}
    return found
