"""Exact nearest neighbours among unit vectors by cosine, and the file that keeps many of them ready."""

from kinsight.index.exact import Index, Look, cosines
from kinsight.index.file import Entries, IndexFile
from kinsight.index.screen import Keys

__all__ = ["Entries", "Index", "IndexFile", "Keys", "Look", "cosines"]
