"""What a file of a bundle must be: inside the folder, no link, whole ONNX without data elsewhere, or GGUF."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path, PureWindowsPath

from kinsight.errors import BundleError

BUNDLE_TOML = "bundle.toml"
AGAIN = "restore the file, or get or write the bundle again"
"""The mend of every damaged file."""

_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Message -> field number -> message inside, wherever a tensor can lie (onnx.proto3)."""
_GRAPH, _DATA_LOCATION = 7, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def is_bundle(folder: Path) -> bool:
    """Whether the folder has a bundle.toml that can be read."""
    return os.access(folder / BUNDLE_TOML, os.R_OK)


def inside(folder: Path, name: str, key: str) -> Path:
    """The regular file that `key` of bundle.toml names; BundleError where it is outside, a link or absent."""
    path = PureWindowsPath(name)  # takes "/" and "\\" apart, so that a bundle means the same on every system
    if path.anchor or ".." in path.parts:
        raise BundleError(
            f"{key!r} names {name!r}, which is not a path inside {folder}",
            "put the file into the bundle's folder and name it relative to that",
        )
    step = folder
    try:
        for part in path.parts:
            step /= part
            if step.is_symlink():
                raise BundleError(f"{key!r} names {step}, which is a link", "put the file itself there")
        if not stat.S_ISREG(step.stat().st_mode):
            raise BundleError(f"{key!r} names {step}, which is not a file", AGAIN)
        step.open("rb").close()
    except OSError as cause:
        raise BundleError(f"{key!r} names {step}, which cannot be read ({cause.strerror})", AGAIN) from None
    return step


def check_gguf(path: Path) -> None:
    """BundleError where the file does not begin as GGUF does."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise BundleError(f"{path} is not a GGUF file", AGAIN)


def check_onnx(path: Path) -> None:
    """BundleError where the file is no whole ONNX model, or keeps tensors in other files.

    Walks the protobuf fields in place and skips all weights by their length: a model of any size costs
    milliseconds and no memory.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            external = _has_external_data(data)
    except (ValueError, IndexError):  # ValueError: also what mmap says of an empty file
        raise BundleError(f"{path} is not a whole ONNX model", AGAIN) from None
    except OSError as cause:
        raise BundleError(f"{path} cannot be read ({cause.strerror})", AGAIN) from None
    if external:
        raise BundleError(
            f"{path} keeps its weights in another file (ONNX external data)",
            "save the model as one file, in Python with onnx.save(onnx.load(path), path)",
        )


def _has_external_data(data: mmap.mmap) -> bool:
    pending, graphs = [("model", 0, len(data))], 0
    while pending:
        message, at, end = pending.pop()
        while at < end:
            field, wire, value, at = _field(data, at)
            if at > end:
                raise ValueError("a field is longer than its message")
            if message == "tensor" and (field, wire) == (_DATA_LOCATION, _VARINT) and value:
                return True
            graphs += message == "model" and (field, wire) == (_GRAPH, _BYTES)
            inner = _MESSAGES[message].get(field)
            if inner and wire == _BYTES:
                pending.append((inner, at - value, at))
    if not graphs:
        raise ValueError("no graph")
    return False


def _field(data: mmap.mmap, at: int) -> tuple[int, int, int, int]:
    """(field number, wire type, value or length, where the next field begins)."""
    tag, at = _varint(data, at)
    field, wire = tag >> 3, tag & 7
    if not field:
        raise ValueError("field 0")
    if wire == _VARINT:
        value, at = _varint(data, at)
        return field, wire, value, at
    if wire == _BYTES:
        length, at = _varint(data, at)
        return field, wire, length, at + length
    if wire in (_FIXED64, _FIXED32):
        return field, wire, 0, at + (8 if wire == _FIXED64 else 4)
    raise ValueError(f"wire type {wire}")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = data[at] & 0x7F
    shift = 7
    while data[at] & 0x80:
        if shift == 70:
            raise ValueError("a number of more than ten bytes")
        at += 1
        value |= (data[at] & 0x7F) << shift
        shift += 7
    return value, at + 1
