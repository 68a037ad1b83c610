"""The parts of a bundle, alone in folders of their own or together: written whole or not at all, read."""

from kinsight_export.parts.calibration import rewrite_calibration
from kinsight_export.parts.folder import Part, is_part, read_part
from kinsight_export.parts.rebuild import rewrite, spec_of
from kinsight_export.parts.specs import (
    BundleSpec,
    DetectorSpec,
    EmbedderSpec,
    FacesSpec,
    LlmSpec,
    PartSpec,
    TextSpec,
    parts_of,
)
from kinsight_export.parts.writing import write_bundle, write_part

__all__ = [
    "BundleSpec",
    "DetectorSpec",
    "EmbedderSpec",
    "FacesSpec",
    "LlmSpec",
    "Part",
    "PartSpec",
    "TextSpec",
    "is_part",
    "parts_of",
    "read_part",
    "rewrite",
    "rewrite_calibration",
    "spec_of",
    "write_bundle",
    "write_part",
]
