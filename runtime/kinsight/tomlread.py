"""Reads TOML against a table of keys: what is unknown, missing or does not fit is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from kinsight.errors import KinsightError

_tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


@dataclass(frozen=True)
class Kind:
    """What a value must be."""

    words: str  # completes "it must be ..."
    fits: Callable[[Any], bool]
    keep: Callable[[Any], Any] = lambda value: value  # as the program holds it


@dataclass(frozen=True)
class Key:
    """One key of a table; an optional one that is absent reads as its default."""

    kind: Kind
    required: bool = True
    default: Any = None


@dataclass(frozen=True)
class Table:
    """The keys and tables that a table may hold; an optional one that is absent reads as None."""

    entries: Mapping[str, Key | Table]
    required: bool = True


def optional(kind: Kind, default: Any = None) -> Key:
    """A key that may be left out."""
    return Key(kind, required=False, default=default)


def text(words: str = "a text that is not empty", fits: Callable[[str], object] = bool) -> Kind:
    """A string for which `fits` holds."""
    return Kind(words, lambda value: isinstance(value, str) and bool(fits(value)))


def whole(low: int, high: int) -> Kind:
    """An integer, both ends included."""
    return Kind(
        f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high
    )


def number(words: str, fits: Callable[[float], bool]) -> Kind:
    """A finite float, which may be written as an integer, for which `fits` holds."""
    return Kind(
        words,
        lambda value: type(value) in (int, float) and abs(value) <= sys.float_info.max and fits(value),
        float,
    )


def one_of(*allowed: str) -> Kind:
    """One of these strings."""
    return Kind(" or ".join(f'"{value}"' for value in allowed), lambda value: value in allowed)


def literal(alias: Any) -> Kind:
    """One of the strings of a `typing.Literal`."""
    return one_of(*get_args(alias))


def several(kind: Kind, count: int | None = None, least: int = 0) -> Kind:
    """A list, kept as a tuple, of exactly `count` values or of at least `least`."""
    amount = f"{count} values" if count else f"{least} or more values"
    return Kind(
        f"a list of {amount}, each {kind.words}",
        lambda value: (
            isinstance(value, list)
            and count in (None, len(value))
            and len(value) >= least
            and all(kind.fits(item) for item in value)
        ),
        lambda value: tuple(kind.keep(item) for item in value),
    )


FLAG = Kind("true or false", lambda value: isinstance(value, bool))
ANY_TABLE = Kind("a table", lambda value: isinstance(value, dict))


@dataclass(frozen=True)
class StrictToml:
    """A parsed TOML file that knows its path and the error to raise about it."""

    path: Path
    raw: Mapping[str, Any]
    error: type[KinsightError]

    @staticmethod
    def open(path: Path, error: type[KinsightError]) -> StrictToml:
        """Parse a file; `error` where it cannot be read or is not TOML."""
        try:
            return StrictToml.parse(path, path.read_bytes(), error)
        except OSError as cause:
            raise error(f"{path} cannot be read ({cause.strerror})", "make it a readable file") from None

    @staticmethod
    def parse(path: Path, data: bytes, error: type[KinsightError]) -> StrictToml:
        """Parse what is, or is to be, the content of a file; `error` where it is not TOML."""
        try:
            return StrictToml(path, _tomllib.loads(data.decode("utf-8")), error)
        except (
            ValueError,
            RecursionError,
        ) as cause:  # a TOMLDecodeError is a ValueError, as is a bad encoding
            raise error(f"{path} is not TOML ({cause})", "correct the file or get it again") from None

    def read(self, contract: Table) -> dict[str, Any]:
        """Every key of the contract with its value, tables as nested dicts; refuses by name."""
        return self._table(self.raw, contract, "")

    def refuse(self, key: str, problem: str, mend: str) -> KinsightError:
        """The error about one key, for the caller to raise."""
        return self.error(f"{key!r} {problem} in {self.path}", mend)

    def _table(self, raw: Mapping[str, Any], table: Table, prefix: str) -> dict[str, Any]:
        for name in raw:
            if name not in table.entries:
                raise self.refuse(prefix + name, "is not known", _instead(name, table))
        return {name: self._entry(raw, name, entry, prefix) for name, entry in table.entries.items()}

    def _entry(self, raw: Mapping[str, Any], name: str, entry: Key | Table, prefix: str) -> Any:
        words = entry.kind.words if isinstance(entry, Key) else f"a table with {', '.join(entry.entries)}"
        if name not in raw:
            if entry.required:
                raise self.refuse(prefix + name, "is missing", f"add it; it must be {words}")
            return entry.default if isinstance(entry, Key) else None
        value = raw[name]
        if not (entry.kind if isinstance(entry, Key) else ANY_TABLE).fits(value):
            raise self.refuse(prefix + name, f"is {_short(value)}", f"it must be {words}")
        return (
            entry.kind.keep(value)
            if isinstance(entry, Key)
            else self._table(value, entry, f"{prefix}{name}.")
        )


def _short(value: Any) -> str:
    from reprlib import repr as shortened

    return shortened(value)


def _instead(name: str, table: Table) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, table.entries, n=1)
    return f"write {close[0]!r} if you meant that, or remove it" if close else "remove it"
