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
from kinsight.store.store import Store

__all__ = [
    "MANIFEST",
    "Arrival",
    "Changes",
    "Incoming",
    "IncomingCrop",
    "JournalEntry",
    "Kind",
    "NewView",
    "OnConflict",
    "Owner",
    "Store",
    "Vectors",
    "backup",
    "manifest",
    "now",
    "read_manifest",
    "restore",
]
