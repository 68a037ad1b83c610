"""RAP's `database.json`: name, picture, info and category of each concept (arXiv 2410.13360)."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

from kinsight.errors import ArchiveError, PhotoError
from kinsight.exchange.files import MAX_JSON_BYTES, MAX_PICTURE_BYTES, Progress, new_folder, read, write
from kinsight.exchange.folder import DATABASE, parsed
from kinsight.image import decode
from kinsight.store import Incoming, IncomingCrop, Store, now
from kinsight.teach import kept_picture
from kinsight.tomlread import ANY_TABLE, Key, Kind, StrictToml, Table, optional

_STRING = Kind("a text", lambda value: isinstance(value, str))
_TABLE = Key(ANY_TABLE)
_ROOT = Table({"concept_dict": _TABLE, "path_to_concept": optional(ANY_TABLE, {})})
_CONCEPT = Table(
    {
        "name": Key(_STRING),
        "image": Key(_STRING),
        "info": optional(_STRING, ""),
        "category": optional(_STRING, ""),
    }
)
_MEND = "correct the file, or export it again"


def export_rap(store: Store, folder: Path, progress: Progress) -> int:
    """Write names, infos, categories and views in RAP's layout into a new folder; return how many concepts.

    A concept's record has its first view; `path_to_concept` has the others as well. Aliases, negatives, boxes
    and dates have no place in this layout, nor have concepts without a view. ArchiveError where the folder is
    there already or cannot be written.
    """
    with new_folder(folder) as draft, store.unchanged():
        (draft / "pictures").mkdir()
        records: dict[str, dict[str, str]] = {}
        owners: dict[str, str] = {}
        concepts = [concept for concept in store.concepts() if concept.views]
        for done, concept in enumerate(concepts, 1):
            key = f"<{concept.name}>"
            first = len(owners)
            for view in concept.views:
                name = f"pictures/{len(owners) + 1:06d}.jpg"
                write(draft / name, store.view_picture(view.id))
                owners[name] = key
            records[key] = {
                "name": concept.name,
                "image": list(owners)[first],
                "info": concept.info,
                "category": concept.category,
            }
            progress("concepts written", done, len(concepts))
        root = {"concept_dict": records, "path_to_concept": owners}
        write(draft / DATABASE, json.dumps(root, ensure_ascii=False, indent=1).encode())
    return len(concepts)


def read_rap(folder: Path, progress: Progress) -> list[Incoming]:
    """The concepts of RAP's `database.json`, or of its folder; each picture becomes a view of its whole.

    Pictures are searched from the folder and from the one above it, where RAP itself runs, and have to lie in
    the folder.

    Raises:
        ArchiveError: the JSON is not in RAP's layout, or a picture is missing, elsewhere, or damaged.
    """
    folder = folder.parent if folder.name == DATABASE else folder
    raw = parsed(read(folder / DATABASE, MAX_JSON_BYTES), folder / DATABASE)
    root = _read(folder, raw, _ROOT)
    records = {
        key: _read(folder, _table(folder, key, value), _CONCEPT)
        for key, value in root["concept_dict"].items()
    }
    paths = {key: [record["image"]] for key, record in records.items()}
    for path, key in root["path_to_concept"].items():
        if not isinstance(key, str) or key not in paths:
            raise ArchiveError(f"{DATABASE} of {folder} gives {path} to a concept that is not there", _MEND)
        if path not in paths[key]:
            paths[key].append(path)
    incoming = []
    for done, (key, record) in enumerate(records.items(), 1):
        name = record["name"]
        bare = key[1:-1] if name == key and key.startswith("<") and key.endswith(">") else name
        incoming.append(_incoming(folder, {**record, "name": bare}, paths[key]))
        progress("concepts read", done, len(records))
    return incoming


def _incoming(folder: Path, record: dict[str, Any], paths: list[str]) -> Incoming:
    at = now()
    return Incoming(
        name=record["name"],
        aliases=(),
        category=record["category"],
        info=record["info"],
        fingerprint=None,
        created=at,
        changed=at,
        views=tuple(_view(_inside(folder, path), at) for path in paths),
        negatives=(),
    )


def _view(path: Path, at: str) -> IncomingCrop:
    data = read(path, MAX_PICTURE_BYTES)
    try:
        photo = decode(data, str(path))
    except PhotoError as error:
        raise ArchiveError(error.problem, error.mend) from None
    box = (0.0, 0.0, float(photo.width), float(photo.height))
    return IncomingCrop(partial(_picture, path), box, hashlib.sha256(data).hexdigest(), at)


def _picture(path: Path) -> bytes:
    return kept_picture(decode(read(path, MAX_PICTURE_BYTES), str(path)).pixels)


def _inside(folder: Path, name: str) -> Path:
    """The picture's file; ArchiveError where it is not in the folder, with all links followed."""
    home = folder.resolve()
    try:
        found = [path for base in (home, home.parent) if (path := (base / name).resolve()).is_file()]
    except (OSError, ValueError, RuntimeError):  # too long, a null character, links in a circle
        found = []
    for path in found:
        if path.is_relative_to(home):
            return path
    raise ArchiveError(f"the picture {name} is not in {folder}", "put it there, or correct its path")


def _table(folder: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArchiveError(f"{key} in {DATABASE} of {folder} is no table", _MEND)
    return value


def _read(folder: Path, raw: dict[str, Any], table: Table) -> dict[str, Any]:
    """What we understand of a record; others may write more into it."""
    raw = {key: value for key, value in raw.items() if key in table.entries}
    return StrictToml(folder / DATABASE, raw, ArchiveError).read(table)
