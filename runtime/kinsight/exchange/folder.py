"""The open folder: `concepts.json`, `pictures/` with a JPEG for each crop, and the hash of every file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from kinsight.errors import ArchiveError, PhotoError
from kinsight.exchange.files import (
    MAX_JSON_BYTES,
    MAX_PICTURE_BYTES,
    Progress,
    names_under,
    new_folder,
    read,
    verified,
    write,
)
from kinsight.image import decode
from kinsight.store import MANIFEST, Incoming, IncomingCrop, Kind, Store, manifest, read_manifest
from kinsight.tomlread import ANY_TABLE, Key, StrictToml, Table, several, text, whole
from kinsight.tomlread import Kind as Value
from kinsight.types import Concept, View

CONCEPTS = "concepts.json"
DATABASE = "database.json"
"""What RAP's layout has instead."""
_PICTURE = re.compile(r"pictures/[0-9]{6,12}\.jpg", re.ASCII)
_JPEG = b"\xff\xd8"
_AGAIN = "export it again, or copy it again from where it comes"


def _is_date(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_box(value: Any) -> bool:
    fits = isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) for v in value)
    if not fits or any(abs(v) > sys.float_info.max for v in value):
        return False
    x0, y0, x1, y1 = map(float, value)
    return x0 < x1 and y0 < y1


def _is_fingerprint(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return value is None or isinstance(value, dict)


_STRING = Value("a text", lambda value: isinstance(value, str))
_DATE = text("a date and time as ISO 8601 has it, with its time zone", _is_date)
_CROP = Table(
    {
        "picture": Key(text("pictures/NUMBER.jpg", _PICTURE.fullmatch)),
        "xyxy": Key(Value("[x0, y0, x1, y1] with x0 < x1 and y0 < y1, in pixels", _is_box)),
        "photo_sha256": Key(text("64 hexadecimal digits", re.compile("[0-9a-f]{64}").fullmatch)),
        "created": Key(_DATE),
    }
)
_CONCEPT = Table(
    {
        "name": Key(_STRING),
        "aliases": Key(several(_STRING)),
        "category": Key(_STRING),
        "info": Key(_STRING),
        "fingerprint": Key(Value("a table or null", _is_fingerprint)),
        "created": Key(_DATE),
        "changed": Key(_DATE),
        "views": Key(several(ANY_TABLE)),
        "negatives": Key(several(ANY_TABLE)),
    }
)
_ROOT = Table({"format": Key(whole(1, 1)), "concepts": Key(several(ANY_TABLE))})


def export_folder(store: Store, folder: Path, progress: Progress) -> int:
    """Write everything but vectors and the journal into a new folder; return how many concepts.

    What is written is of one moment, whatever other processes change meanwhile. ArchiveError where the folder
    is there already or cannot be written.
    """
    with new_folder(folder) as draft, store.unchanged():
        (draft / "pictures").mkdir()
        concepts = store.concepts()
        hashes: dict[str, str] = {}
        records = []
        for done, concept in enumerate(concepts, 1):
            records.append(_record(store, concept, draft, hashes))
            progress("concepts written", done, len(concepts))
        root = {"format": 1, "concepts": records}
        data = json.dumps(root, ensure_ascii=False, indent=1).encode()
        hashes = {CONCEPTS: write(draft / CONCEPTS, data), **hashes}
        write(draft / MANIFEST, manifest(hashes))
    return len(concepts)


def read_folder(folder: Path, progress: Progress) -> list[Incoming]:
    """The concepts of an exported folder, after a look at every file in it; pictures are read again later.

    Raises:
        ArchiveError: a file is missing, too big, a link, not listed, or does not fit its hash, a path leads
            elsewhere, or the JSON is not as `export_folder` writes it.
    """
    if folder.name == DATABASE or (folder / DATABASE).exists():
        raise ArchiveError(f"{folder} is in RAP's layout", "bring it in with --format rap")
    listed = read_manifest(read(folder / MANIFEST, MAX_JSON_BYTES), str(folder))
    pictures = [name for name in listed if name != CONCEPTS]
    if CONCEPTS not in listed or not all(map(_PICTURE.fullmatch, pictures)):
        raise ArchiveError(f"{MANIFEST} of {folder} lists other files than an export has", _AGAIN)
    _require_only(folder, listed)
    for done, name in enumerate(pictures, 1):
        _require_jpeg(verified(folder / name, listed[name], MAX_PICTURE_BYTES), folder / name)
        progress("pictures checked", done, len(pictures))
    raw = parsed(verified(folder / CONCEPTS, listed[CONCEPTS], MAX_JSON_BYTES), folder / CONCEPTS)
    root = _read(folder, raw, _ROOT)
    concepts = [_incoming(folder, record, listed) for record in root["concepts"]]
    unused = set(pictures) - {name for record in root["concepts"] for name in _pictures_of(record)}
    if unused:
        raise ArchiveError(f"{CONCEPTS} of {folder} does not use {sorted(unused)[0]}", _AGAIN)
    return concepts


def _record(store: Store, concept: Concept, draft: Path, hashes: dict[str, str]) -> dict[str, Any]:
    def crops(kind: Kind, several: Sequence[View]) -> list[dict[str, Any]]:
        records = []
        for crop in several:
            name = f"pictures/{len(hashes) + 1:06d}.jpg"
            hashes[name] = write(draft / name, store.picture(kind, crop.id))
            photo = {"photo_sha256": crop.photo_sha256, "created": crop.created}
            records.append({"picture": name, "xyxy": list(crop.xyxy), **photo})
        return records

    return {
        "name": concept.name,
        "aliases": list(concept.aliases),
        "category": concept.category,
        "info": concept.info,
        "fingerprint": concept.fingerprint,
        "created": concept.created,
        "changed": concept.changed,
        "views": crops("view", concept.views),
        "negatives": crops("negative", concept.negatives),
    }


def _incoming(folder: Path, raw: dict[str, Any], listed: dict[str, str]) -> Incoming:
    record = _read(folder, raw, _CONCEPT)
    crops = {
        kind: tuple(_crop(folder, crop, listed) for crop in record[kind]) for kind in ("views", "negatives")
    }
    return Incoming(**{**record, **crops})


def _crop(folder: Path, raw: dict[str, Any], listed: dict[str, str]) -> IncomingCrop:
    crop = _read(folder, raw, _CROP)
    name = crop["picture"]
    if name not in listed:
        raise ArchiveError(f"{name} of {folder} is not in {MANIFEST}", _AGAIN)
    x0, y0, x1, y1 = map(float, crop["xyxy"])
    return IncomingCrop(
        read=partial(verified, folder / name, listed[name], MAX_PICTURE_BYTES),
        xyxy=(x0, y0, x1, y1),
        photo_sha256=crop["photo_sha256"],
        created=crop["created"],
    )


def _pictures_of(record: dict[str, Any]) -> list[str]:
    return [crop["picture"] for kind in ("views", "negatives") for crop in record[kind]]


def _read(folder: Path, raw: dict[str, Any], table: Table) -> dict[str, Any]:
    return StrictToml(folder / CONCEPTS, raw, ArchiveError).read(table)


def parsed(data: bytes, path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; ArchiveError for anything else."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    try:
        raw = json.loads(data.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as reason:
        raise ArchiveError(f"{path} is not JSON ({reason})", _AGAIN) from None
    if not isinstance(raw, dict):
        raise ArchiveError(f"{path} holds no concepts", _AGAIN)
    return raw


def _require_only(folder: Path, listed: dict[str, str]) -> None:
    extra = set(names_under(folder)) - {*listed, MANIFEST}
    if extra:
        raise ArchiveError(
            f"{folder} holds {sorted(extra)[0]}, which is not in {MANIFEST}", "take it out of the folder"
        )


def _require_jpeg(data: bytes, path: Path) -> None:
    try:
        if not data.startswith(_JPEG):
            raise ArchiveError(f"{path} is no JPEG file", _AGAIN)
        decode(data, str(path))
    except PhotoError as error:
        raise ArchiveError(error.problem, _AGAIN) from None
