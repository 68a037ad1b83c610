"""Finds faces and turns each into a vector, with OpenCV's YuNet and SFace or models of the same shapes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kinsight.errors import ModelError
from kinsight.image.stderr import holding_stderr
from kinsight.types import Box, Floats, Pixels

_LONGEST = 640
"""Pixels of the longer side in which faces are looked for; more costs time and finds smaller faces."""
_IOU_THRESHOLD = 0.3
_MOST = 50
_MEND = "restore the bundle's [faces], or take them out of bundle.toml"


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photo."""

    xyxy: Box  # pixels of the photo
    score: float  # 0..1
    vector: Floats  # float32 (dim,), unit length


class FaceModels:
    """Detector and recogniser, loaded; OpenCV's models keep a state, so one thread at a time."""

    def __init__(self, detector: Path, recogniser: Path, score_threshold: float) -> None:
        """Raises ModelError where OpenCV cannot load one of the files."""
        self._lock = threading.Lock()
        try:
            (self._detector, self._recogniser), _ = holding_stderr(  # OpenCV 5 warns of settings of its own
                lambda: (
                    cv2.FaceDetectorYN.create(
                        str(detector), "", (_LONGEST, _LONGEST), score_threshold, _IOU_THRESHOLD, _MOST
                    ),
                    cv2.FaceRecognizerSF.create(str(recogniser), ""),
                )
            )
        except cv2.error as error:
            raise ModelError(f"the models for faces cannot be loaded ({_short(error)})", _MEND) from error

    def faces(self, pixels: Pixels) -> list[Face]:
        """All faces in a photo, uint8 (h, w, 3) RGB, the surest first. ModelError where a model fails."""
        scale = min(1.0, _LONGEST / max(pixels.shape[:2]))
        width, height = (max(1, round(side * scale)) for side in pixels.shape[1::-1])
        bgr = np.ascontiguousarray(pixels[:, :, ::-1])
        small = cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA)
        with self._lock:
            try:
                self._detector.setInputSize((width, height))
                _, rows = self._detector.detect(small)
                found = [] if rows is None else [self._face(bgr, row, scale) for row in rows]
            except cv2.error as error:
                raise ModelError(f"the models for faces failed ({_short(error)})", _MEND) from error
        return sorted((face for face in found if face), key=lambda face: -face.score)

    def _face(self, bgr: Pixels, row: Floats, scale: float) -> Face | None:
        """`row`, float32 (15,): x, y, width, height, five landmarks and the score, in the smaller picture."""
        row = row.copy()
        row[:14] /= scale
        vector = self._recogniser.feature(self._recogniser.alignCrop(bgr, row)).ravel().astype(np.float32)
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length == 0:
            return None
        x, y, width, height = (float(value) for value in row[:4])
        return Face((x, y, x + width, y + height), float(row[14]), vector / length)


def _short(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160]
