"""The measures of the field as pure functions: names in captions, retrieval, open set, calibration, boxes.

Shares are floats from 0 to 1 and never nan: what has nothing to be measured on (no caption, no stranger,
...) raises ValueError, as does every argument of a wrong shape or type. What the published systems
measure in a way of their own has two functions: as published, and corrected.
"""

from .captions import NameScore, absent_naming_rate, caption_name_scores, caption_name_scores_published
from .names import (
    Begun,
    NameFinder,
    find_names,
    names_begun,
    names_mentioned,
    names_misspelt,
    names_published,
)
from .scores import (
    Curve,
    accept_curve,
    accepted_right_at,
    auroc,
    expected_calibration_error,
    iou,
    open_set_f1,
    operating_row,
    preference_accuracy,
    recall_at,
    recognition_weighted,
    shares_inside,
    two_option_accuracy,
)

__all__ = [
    "Begun",
    "Curve",
    "NameFinder",
    "NameScore",
    "absent_naming_rate",
    "accept_curve",
    "accepted_right_at",
    "auroc",
    "caption_name_scores",
    "caption_name_scores_published",
    "expected_calibration_error",
    "find_names",
    "iou",
    "names_begun",
    "names_mentioned",
    "names_misspelt",
    "names_published",
    "open_set_f1",
    "operating_row",
    "preference_accuracy",
    "recall_at",
    "recognition_weighted",
    "shares_inside",
    "two_option_accuracy",
]
