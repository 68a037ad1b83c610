"""Makes the ONNX parts of a bundle smaller and faster, or says with figures why not."""

from kinsight_export.quantise.choosing import Limits, choose_detector, choose_embedder, choose_text
from kinsight_export.quantise.seeing import Eyes

__all__ = ["Eyes", "Limits", "choose_detector", "choose_embedder", "choose_text"]
