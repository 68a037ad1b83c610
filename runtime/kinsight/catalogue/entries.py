"""Reads the catalogue: parts with the keys of bundle.toml and a source for every file, bundles, recipes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kinsight.bundle import World
from kinsight.bundle.contract import CONTRACT, FORMAT
from kinsight.errors import CatalogueError
from kinsight.home import expanded
from kinsight.tomlread import Key, Kind, StrictToml, Table, literal, optional, several, text, whole

Role = Literal["detector", "embedder", "llm"]
FREE_LICENCES = ("MIT", "Apache-2.0")
"""Free for everybody and everything, the strictest last; what is not here is to be accepted by name."""
LABELS = "labels.txt"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a bundle, and where it comes from."""

    name: str  # in the bundle
    url: str
    sha256: str
    size: int  # bytes, as published


@dataclass(frozen=True)
class Part:
    """One of the three parts of a bundle."""

    role: Role
    name: str
    licence: str
    table: Mapping[str, Any]  # as in bundle.toml
    files: tuple[RemoteFile, ...]
    texts: Mapping[str, str]  # name in the bundle -> content of what is too small to be downloaded


@dataclass(frozen=True)
class Entry:
    """A bundle that can be pulled."""

    name: str
    version: str
    summary: str
    world: World
    devices: tuple[str, ...]  # names of device configs that it was chosen for
    parts: tuple[Part, ...]

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """Of all its parts."""
        return tuple(file for part in self.parts for file in part.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def licence(self) -> str:
        """Of the strictest part; all of those that are to be accepted."""
        own = {part.licence for part in self.parts}
        return " and ".join(self.to_accept) or max(own, key=FREE_LICENCES.index)

    @property
    def to_accept(self) -> tuple[str, ...]:
        """Licences that are not free for everything, in alphabetical order."""
        return tuple(sorted({part.licence for part in self.parts} - set(FREE_LICENCES)))

    def tables(self) -> dict[str, Any]:
        """Its bundle.toml."""
        head = {"format": FORMAT, "name": self.name, "version": self.version, "world": self.world}
        return {
            "bundle": {**head, "licence": self.licence},
            **{part.role: part.table for part in self.parts},
        }


@dataclass(frozen=True)
class Recipe:
    """A part that cannot be pulled, and how it is made of weights that the user gets."""

    name: str
    summary: str
    part: Role
    licence: str
    weights: str  # where they are to be had, in words
    extra: str  # of kinsight, that the commands need
    commands: tuple[str, ...]  # which write the part into a folder of the recipe's name
    beside: tuple[str, ...]  # options of other parts that belong with it
    bundle: str  # of the catalogue: whose other parts it is put together with

    @property
    def steps(self) -> tuple[str, ...]:
        """The commands in their order: the last one makes the bundle that the device gets."""
        parts = " ".join((f"--{self.part} {self.name}", *self.beside))
        whole = f"kinsight-export all --bundle {self.bundle} {parts} --photos PHOTOS --out my-bundle"
        return (f"pip install 'kinsight[{self.extra}]'", *self.commands, whole)


@dataclass(frozen=True)
class Catalogue:
    """All that can be pulled, and what has to be made."""

    path: Path
    parts: Mapping[tuple[Role, str], Part]
    entries: Mapping[str, Entry]
    recipes: Mapping[str, Recipe]

    def entry(self, name: str) -> Entry:
        """A bundle by its name; CatalogueError lists what there is."""
        if name in self.recipes:
            raise CatalogueError(
                f"{name} cannot be pulled, it is made on a workstation", f"see `kinsight models show {name}`"
            )
        if name not in self.entries:
            known = ", ".join(self.entries)
            raise CatalogueError(f"the catalogue has no bundle {name!r}", f"choose one of {known}")
        return self.entries[name]


def load_catalogue(path: str | Path | None = None) -> Catalogue:
    """The catalogue in a file, else the one that comes with kinsight; CatalogueError names what is wrong."""
    file = expanded(path) if path else _own()
    toml = StrictToml.open(file, CatalogueError)
    values = toml.read(_contract(toml.raw))
    parts: dict[tuple[Role, str], Part] = {}
    for role in _ROLES:
        for name, table in values[role].items():
            parts[role, name] = _READERS[role](name, table)
    entries = {name: _entry(name, table, parts, toml) for name, table in values["bundles"].items()}
    recipes = {name: _recipe(name, table, entries, toml) for name, table in (values["recipes"] or {}).items()}
    return Catalogue(file, parts, entries, recipes)


_ROLES: tuple[Role, ...] = ("detector", "embedder", "llm")
_URL = text(
    "an https address without a name or password in it, or an http one on 127.0.0.1",
    lambda value: re.fullmatch(r"(https://[^\s@/]+|http://127\.0\.0\.1(:\d+)?)/\S+", value),
)
_BYTES = Key(whole(1, 1 << 40))
_LINE = text("a line of text", lambda value: value.strip() and value.isprintable())
_PLAIN_NAME = text(
    "the name of a file without a folder", lambda value: re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", value)
)


def _contract(raw: Mapping[str, Any]) -> Table:
    """Every part and bundle under its own name."""

    def each(kind: str, table: Table) -> Table:
        own = raw.get(kind)
        return Table(dict.fromkeys(own if isinstance(own, dict) else (), table))

    return Table(
        {
            "format": Key(Kind(str(FORMAT), lambda value: type(value) is int and value == FORMAT)),
            "bundles": each("bundles", _ENTRY),
            "detector": each("detector", _detector_table()),
            "embedder": each("embedder", _embedder()),
            "llm": each("llm", _with_sources(_of_bundle("llm"), "mmproj")),
            "recipes": replace(each("recipes", _RECIPE), required=False),
        }
    )


_ENTRY = Table(
    {
        "summary": Key(_LINE),
        "version": Key(_LINE),
        "world": optional(literal(World), "photos"),
        "devices": Key(several(_LINE)),
        "detector": Key(_LINE),
        "embedder": Key(_LINE),
        "llm": optional(_LINE),
    }
)


_RECIPE = Table(
    {
        **{name: Key(_LINE) for name in ("summary", "licence", "weights", "extra", "bundle")},
        "part": Key(literal(Role)),
        "commands": Key(several(_LINE, least=1)),
        "beside": optional(several(_LINE), ()),
    }
)


def _of_bundle(role: str) -> Table:
    table = CONTRACT.entries[role]
    assert isinstance(table, Table)
    return replace(table, required=True)


def _with_sources(table: Table, *companions: str) -> Table:
    """A table of bundle.toml whose `file` and whose companions have a source; every part says its licence."""
    entries = {**table.entries, "file": Key(_PLAIN_NAME), "url": Key(_URL), "bytes": _BYTES}
    for name in companions:
        old = table.entries[name]
        known = isinstance(old, Key) and old.required
        entries[name] = Key(_PLAIN_NAME, known)
        entries[f"{name}_url"] = Key(_URL, known)
        entries[f"{name}_bytes"] = Key(_BYTES.kind, known)
        entries[f"{name}_sha256"] = replace(_sha256(table), required=known)
    if "licence" in table.entries:
        entries["licence"] = Key(_LINE)
    return replace(table, entries=entries)


def _sha256(table: Table) -> Key:
    key = table.entries["sha256"]
    assert isinstance(key, Key)
    return key


def _detector_table() -> Table:
    """Labels are written out, one a class."""
    table = _with_sources(_of_bundle("detector"))
    entries = {name: entry for name, entry in table.entries.items() if name != "classes"}
    return replace(table, entries={**entries, "labels": Key(several(_LINE, least=1))})


def _embedder() -> Table:
    table = _of_bundle("embedder")
    image, words = table.entries["image"], table.entries["text"]
    assert isinstance(image, Table) and isinstance(words, Table)
    entries = {name: entry for name, entry in table.entries.items() if name != "cohort"}
    entries |= {
        "licence": Key(_LINE),
        "image": _with_sources(image),
        "text": _with_sources(words, "tokenizer"),
    }
    return replace(table, entries=entries)


def _detector(name: str, values: Mapping[str, Any]) -> Part:
    table = {**_kept(values), "labels": LABELS}
    labels = "".join(f"{label}\n" for label in values["labels"])
    return Part("detector", name, values["licence"], table, _files(values), {LABELS: labels})


def _embedder_part(name: str, values: Mapping[str, Any]) -> Part:
    words = values["text"]
    table = {**values, "image": _kept(values["image"]), "text": _kept(words) if words else None}
    files = _files(values["image"]) + (_files(words) if words else ())
    return Part("embedder", name, values["licence"], table, files, {})


def _llm(name: str, values: Mapping[str, Any]) -> Part:
    table = {**_kept(values), "mmproj_sha256": values["mmproj_sha256"]}
    return Part("llm", name, values["licence"], table, _files(values), {})


_READERS = {"detector": _detector, "embedder": _embedder_part, "llm": _llm}
_COMPANIONS = ("tokenizer", "mmproj")
_SOURCES = {
    *("url", "bytes"),
    *(f"{name}_{key}" for name in _COMPANIONS for key in ("url", "bytes", "sha256")),
}


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """What bundle.toml has, without where it comes from."""
    return {key: value for key, value in values.items() if key not in _SOURCES}


def _files(values: Mapping[str, Any]) -> tuple[RemoteFile, ...]:
    return tuple(_sources(values))


def _sources(values: Mapping[str, Any]) -> Iterator[RemoteFile]:
    yield RemoteFile(values["file"], values["url"], values["sha256"], values["bytes"])
    for name in _COMPANIONS:
        if values.get(name):
            url, sha256, size = (values[f"{name}_{key}"] for key in ("url", "sha256", "bytes"))
            yield RemoteFile(values[name], url, sha256, size)


def _entry(
    name: str, values: Mapping[str, Any], parts: Mapping[tuple[Role, str], Part], toml: StrictToml
) -> Entry:
    if not _PLAIN_NAME.fits(name):
        raise toml.refuse(f"bundles.{name}", "is no name for a bundle", f"it must be {_PLAIN_NAME.words}")
    chosen = []
    for role in _ROLES:
        if values[role] is None:
            continue
        if (role, values[role]) not in parts:
            known = ", ".join(other for kind, other in parts if kind == role)
            raise toml.refuse(
                f"bundles.{name}.{role}", f"is {values[role]!r}, which is no part", f"name one of {known}"
            )
        chosen.append(parts[role, values[role]])
    names = [file for part in chosen for file in (*(remote.name for remote in part.files), *part.texts)]
    if len(set(names)) != len(names):
        raise toml.refuse(f"bundles.{name}", "has two files of one name", "give its parts' files other names")
    head = {key: values[key] for key in ("version", "summary", "world", "devices")}
    return Entry(name=name, **head, parts=tuple(chosen))


def _recipe(name: str, values: Mapping[str, Any], entries: Mapping[str, Entry], toml: StrictToml) -> Recipe:
    if name in entries:
        raise toml.refuse(f"recipes.{name}", "is the name of a bundle, too", "give one of them another name")
    if values["bundle"] not in entries:
        known = ", ".join(entries)
        raise toml.refuse(f"recipes.{name}.bundle", "is no bundle of the catalogue", f"name one of {known}")
    return Recipe(name=name, **values)


def _own() -> Path:
    """In an installed package beside this room, in a checkout at its root."""
    package = Path(__file__).parents[1]
    places = (package / "models" / "catalogue.toml", package.parents[1] / "models" / "catalogue.toml")
    return next((file for file in places if file.is_file()), places[0])
