"""The store: one private SQLite file, the one truth about what the user named."""

from kinsight.store.archive import backup, restore
from kinsight.store.hashes import MANIFEST, manifest, read_manifest
from kinsight.store.journal import JournalEntry, now
from kinsight.store.records import (
    Arrival,
    Changes,
    Incoming,
    IncomingCrop,
    Kind,
    NewView,
    OnConflict,
    Owner,
    Vectors,
)
from kinsight.store.shelf import Shelf
from kinsight.store.shelf_records import AlbumPhoto, FileStamp, Naming, NewPhoto, Seer, Shots
from kinsight.store.store import Store

__all__ = [
    "MANIFEST",
    "AlbumPhoto",
    "Arrival",
    "Changes",
    "FileStamp",
    "Incoming",
    "IncomingCrop",
    "JournalEntry",
    "Kind",
    "Naming",
    "NewPhoto",
    "NewView",
    "OnConflict",
    "Owner",
    "Seer",
    "Shelf",
    "Shots",
    "Store",
    "Vectors",
    "backup",
    "manifest",
    "now",
    "read_manifest",
    "restore",
]
