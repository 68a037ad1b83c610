"""Writes TOML: tables of strings, numbers, lists and tables, in the order in which they are given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from numbers import Integral, Real
from typing import Any


def toml_bytes(tables: Mapping[str, Any]) -> bytes:
    """The TOML of nested mappings; keys that are None are left out, NumPy's numbers become plain ones.

    TypeError where a value has no TOML, UnicodeEncodeError where a text is no Unicode.
    """
    return "\n".join(_table((), tables)).encode() + b"\n"


def _table(path: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    given = {key: value for key, value in table.items() if value is not None}
    inner = {key: value for key, value in given.items() if isinstance(value, Mapping)}
    lines = [f"[{'.'.join(map(_key, path))}]"] if path else []
    lines += [f"{_key(key)} = {_value(value)}" for key, value in given.items() if key not in inner]
    for key, value in inner.items():
        lines += _table((*path, key), value)
    return lines


def _value(value: Any) -> str:
    if isinstance(value, (str, bool)):
        return _json(value)
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no TOML")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _json(key)


def _json(value: str | bool) -> str:
    """JSON's words and escapes are TOML's, but for the delete character, which JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
