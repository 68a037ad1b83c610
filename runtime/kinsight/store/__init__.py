"""The store: one private SQLite file, the one truth about what the user named."""

from kinsight.store.journal import JournalEntry
from kinsight.store.records import Changes, Kind, NewView, Owner, Vectors
from kinsight.store.shelf import Shelf
from kinsight.store.shelf_records import AlbumPhoto, FileStamp, Naming, NewPhoto, Seer, Shots
from kinsight.store.store import Store

__all__ = [
    "AlbumPhoto",
    "Changes",
    "FileStamp",
    "JournalEntry",
    "Kind",
    "Naming",
    "NewPhoto",
    "NewView",
    "Owner",
    "Seer",
    "Shelf",
    "Shots",
    "Store",
    "Vectors",
]
