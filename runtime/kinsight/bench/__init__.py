"""Measures this device: stages, start, search, a crowd of concepts, the album, the language model."""

from kinsight.bench.stages import stages, start

__all__ = ["stages", "start"]
