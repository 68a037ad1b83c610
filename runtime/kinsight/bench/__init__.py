"""Measures this device: the stages, the start, the search of many views, a crowd of concepts, the album."""

from kinsight.bench.stages import stages, start

__all__ = ["stages", "start"]
