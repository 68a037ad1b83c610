"""Pictures in and out: decode safely, fit to a model, crop, annotate, save; OpenCV lives only here."""

from kinsight.errors import MissingPackage

try:
    import cv2
except ImportError as reason:  # so is a system library that OpenCV wants, such as libGL.so.1
    raise MissingPackage(
        f"OpenCV cannot be loaded ({reason})",
        "run `pip install opencv-python`, or `apt install libgl1` if it is libGL that is missing",
    ) from reason

from kinsight.image.codec import (
    MAX_BYTES,
    MAX_PIXELS,
    PHOTO_SUFFIXES,
    decode,
    encode_jpeg,
    load,
    read_file,
    save,
    stored_pixels,
)
from kinsight.image.draw import Mark, annotate, contact_sheet
from kinsight.image.faces import Face, FaceModels
from kinsight.image.quality import sharpness, sketch
from kinsight.image.resize import Placement, crop, prepare, prepare_batch, thumbnail
from kinsight.image.text import can_draw

OPENCV_VERSION: str = cv2.__version__

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "OPENCV_VERSION",
    "PHOTO_SUFFIXES",
    "Face",
    "FaceModels",
    "Mark",
    "Placement",
    "annotate",
    "can_draw",
    "contact_sheet",
    "crop",
    "decode",
    "encode_jpeg",
    "load",
    "prepare",
    "prepare_batch",
    "read_file",
    "save",
    "sharpness",
    "sketch",
    "stored_pixels",
    "thumbnail",
]
