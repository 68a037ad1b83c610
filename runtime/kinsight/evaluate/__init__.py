"""Measures recall on photos with a folder per identity: who is found first, who is named, who wrongly."""

from kinsight.evaluate.fitting import Fitted, cross_fitted, fit_on
from kinsight.evaluate.pocket import FIGURES, LINES, PocketBench, missed
from kinsight.evaluate.questions import Interview, Interviewer
from kinsight.evaluate.retrieval import Retrieval, Scores, measure
from kinsight.evaluate.shots import Progress, Reader, Shot, photos_in, read_boxes

__all__ = [
    "FIGURES",
    "LINES",
    "Fitted",
    "Interview",
    "Interviewer",
    "PocketBench",
    "Progress",
    "Reader",
    "Retrieval",
    "Scores",
    "Shot",
    "cross_fitted",
    "fit_on",
    "measure",
    "missed",
    "photos_in",
    "read_boxes",
]
