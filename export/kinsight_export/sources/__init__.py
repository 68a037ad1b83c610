"""Where models come from, a file a library: the module, its own preprocessing, labels and licence."""

from kinsight_export.sources.kinds import ClassVectors, DetectorSource, EmbedderSource, TextSource

__all__ = ["ClassVectors", "DetectorSource", "EmbedderSource", "TextSource"]
