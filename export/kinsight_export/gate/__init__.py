"""The gate: what was compared with the source, figures, limits and verdict, and how it is shown."""

from kinsight_export.gate.report import Bound, Check, Fact, Report

__all__ = ["Bound", "Check", "Fact", "Report"]
