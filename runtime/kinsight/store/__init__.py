"""The store: one private SQLite file, the one truth about what the user named."""

from kinsight.store.journal import JournalEntry
from kinsight.store.records import Changes, Kind, NewView, Owner, Vectors
from kinsight.store.store import Store

__all__ = ["Changes", "JournalEntry", "Kind", "NewView", "Owner", "Store", "Vectors"]
