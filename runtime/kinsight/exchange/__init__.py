"""Concepts taken elsewhere and brought in: an open folder of JSON and pictures, and RAP's layout."""

from kinsight.exchange.folder import export_folder, read_folder
from kinsight.exchange.rap import export_rap, read_rap

__all__ = ["export_folder", "export_rap", "read_folder", "read_rap"]
