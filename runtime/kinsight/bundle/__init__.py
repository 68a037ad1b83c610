"""The contract between the halves: a folder with bundle.toml, ONNX and GGUF files, read strictly."""

from kinsight.bundle.find import find_bundle, installed_bundles, pocket_folder
from kinsight.bundle.parts import (
    Anchor,
    Bundle,
    Calibration,
    Colour,
    DetectorPart,
    EmbedderPart,
    FacesPart,
    Head,
    ImageTower,
    LlmPart,
    Preprocess,
    Resize,
    Sees,
    TextTower,
    VectorFile,
    World,
)
from kinsight.bundle.read import read_bundle
from kinsight.bundle.vectors import read_classes, read_cohort
from kinsight.bundle.verify import check_hashes, stamp_bundle, verify_bundle

__all__ = [
    "Anchor",
    "Bundle",
    "Calibration",
    "Colour",
    "DetectorPart",
    "EmbedderPart",
    "FacesPart",
    "Head",
    "ImageTower",
    "LlmPart",
    "Preprocess",
    "Resize",
    "Sees",
    "TextTower",
    "VectorFile",
    "World",
    "check_hashes",
    "find_bundle",
    "installed_bundles",
    "pocket_folder",
    "read_bundle",
    "read_classes",
    "read_cohort",
    "stamp_bundle",
    "verify_bundle",
]
