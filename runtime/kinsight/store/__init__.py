"""The store: one private SQLite file, the one truth about what the user named."""

from kinsight.store.archive import Keys, Restored, backup, restore
from kinsight.store.driver import sqlcipher_driver
from kinsight.store.hashes import MANIFEST, manifest, read_manifest
from kinsight.store.journal import JournalEntry, now
from kinsight.store.keys import KEY_FILE, Key, KeySource, key_from_environment, make_key_file
from kinsight.store.records import (
    Arrival,
    Changes,
    Forgotten,
    ForgottenCrop,
    Incoming,
    IncomingCrop,
    NewView,
    OnConflict,
    Owner,
    Vectors,
)
from kinsight.store.shelf import Shelf
from kinsight.store.shelf_records import AlbumPhoto, FileStamp, Naming, NewPhoto, Seer, Shots, parts_above
from kinsight.store.store import Store
from kinsight.store.vault import is_encrypted, rewrite
from kinsight.types import Kind

__all__ = [
    "KEY_FILE",
    "MANIFEST",
    "AlbumPhoto",
    "Arrival",
    "Changes",
    "FileStamp",
    "Forgotten",
    "ForgottenCrop",
    "Incoming",
    "IncomingCrop",
    "JournalEntry",
    "Key",
    "KeySource",
    "Keys",
    "Kind",
    "Naming",
    "NewPhoto",
    "NewView",
    "OnConflict",
    "Owner",
    "Restored",
    "Seer",
    "Shelf",
    "Shots",
    "Store",
    "Vectors",
    "backup",
    "is_encrypted",
    "key_from_environment",
    "make_key_file",
    "manifest",
    "now",
    "parts_above",
    "read_manifest",
    "restore",
    "rewrite",
    "sqlcipher_driver",
]
