"""Exact nearest neighbours among unit vectors by cosine, and the file that keeps many of them ready."""

from kinsight.index.exact import Index, Keys, cosines
from kinsight.index.file import Entries, IndexFile

__all__ = ["Entries", "Index", "IndexFile", "Keys", "cosines"]
