"""Where models come from, a file a library: the module, its own preprocessing, labels and licence."""

from importlib.util import find_spec

from kinsight.errors import MissingPackage
from kinsight_export.sources.kinds import DetectorSource, EmbedderSource, TextSource, Vocabulary

__all__ = ["DetectorSource", "EmbedderSource", "TextSource", "Vocabulary", "need_libraries"]


def need_libraries() -> None:
    """MissingPackage where the libraries of the source models are not there."""
    there = {
        "torch": find_spec("torch"),
        "transformers": find_spec("transformers"),
        "onnx": find_spec("onnx"),
        "optimum": find_spec("optimum"),
    }
    if missing := [name for name, spec in there.items() if spec is None]:
        raise MissingPackage(f"{missing[0]} is not installed", "pip install 'kinsight[export]'")
