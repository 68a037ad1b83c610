"""What can happen to an index file: `python tests/damage.py` does each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crops import crop
from kinsight.evidence import Memory
from kinsight.index import IndexFile
from kinsight.memory import read_memory
from kinsight.store import Store

EMBEDDER = "tiny"
HEAD = 256
VIEWS, NEGATIVES, DIM = 9, 3, 4
SECTIONS = {
    "view ids": 8 * VIEWS,
    "view concepts": 8 * VIEWS,
    "views": 4 * DIM * VIEWS,
    "negative ids": 8 * NEGATIVES,
    "negative concepts": 8 * NEGATIVES,
    "negatives": 4 * DIM * NEGATIVES,
}
"""Bytes of each array, in the order of the file."""


@dataclass(frozen=True)
class Place:
    """A store with an index file, and things to put in the file's place."""

    store: Store
    file: IndexFile
    earlier: bytes  # the file of the store one change ago
    other: bytes  # the file of another store with as many views

    @property
    def path(self) -> Path:
        return self.file.path

    def edit(self, change: Callable[[bytearray], bytes | bytearray]) -> None:
        self.path.write_bytes(change(bytearray(self.path.read_bytes())))


Damage = Callable[[Place], object]


def same(one: Memory, other: Memory) -> bool:
    """Nothing in them differs."""
    arrays = [
        (one.view_ids, other.view_ids),
        (one.view_concepts, other.view_concepts),
        (one.views.vectors, other.views.vectors),
        (one.negative_concepts, other.negative_concepts),
        (one.negatives, other.negatives),
        (one.negative_ids, other.negative_ids),
    ]
    texts = one.names == other.names and one.categories == other.categories
    return texts and all(np.array_equal(a, b) for a, b in arrays)


def make(folder: Path) -> None:
    """A store of 9 views and 3 negatives with its index file, and two other index files beside it."""
    for name in ("index", "elsewhere"):
        (folder / name).mkdir(parents=True)
    with Store.open(folder / "elsewhere" / "store.db") as store:
        _fill(store, 100)
        (folder / "other").write_bytes(_written(store, IndexFile(folder / "elsewhere", EMBEDDER)))
    with Store.open(folder / "store.db") as store:
        file = IndexFile(folder / "index", EMBEDDER)
        _fill(store, 0)
        (folder / "earlier").write_bytes(_written(store, file))
        store.move([store.concept("N7").views[0].id], "N7", "N6")
        _written(store, file)


@contextmanager
def place(made: Path, folder: Path) -> Iterator[Place]:
    """A copy of what `make` made, opened."""
    shutil.copytree(made, folder)
    with Store.open(folder / "store.db") as store:
        file = IndexFile(folder / "index", EMBEDDER)
        yield Place(store, file, (folder / "earlier").read_bytes(), (folder / "other").read_bytes())


def survived(kind: str, made: Path, folder: Path) -> list[str]:
    """What went wrong after this damage; nothing is good."""
    with place(made, folder) as there:
        whole = there.path.read_bytes()
        truth = read_memory(there.store, EMBEDDER, None)
        assert truth is not None
        KINDS[kind](there)
        wrong = [] if _seen(there) is None else ["not detected"]
        found = read_memory(there.store, EMBEDDER, there.file.folder, file_from=1)
        wrong += [] if found and same(found[1], truth[1]) else ["a wrong answer"]
        if there.path.parent.is_dir() and not there.path.is_dir():
            rebuilt = there.path.is_file() and not there.path.is_symlink() and _seen(there) is not None
            wrong += [] if rebuilt and there.path.read_bytes() == whole else ["not rebuilt"]
        return wrong


def _seen(there: Place) -> object:
    seal = there.store.index_seal(EMBEDDER)
    return there.file.read(seal, there.store.generation()) if seal else None


def _fill(store: Store, first: int) -> None:
    for seed in range(VIEWS - 1):
        store.remember(crop(first + seed, EMBEDDER, DIM), f"N{seed}")
    store.add_view("N7", crop(first + VIEWS, EMBEDDER, DIM))
    for seed in range(NEGATIVES):
        store.add_negative("N0", crop(first + 50 + seed, EMBEDDER, DIM))


def _written(store: Store, file: IndexFile) -> bytes:
    assert read_memory(store, EMBEDDER, file.folder, file_from=1)
    return file.path.read_bytes()


def _cut(size: int) -> Damage:
    return lambda there: there.edit(lambda data: data[:size])


def _flip(at: int, bit: int = 0) -> Damage:
    def flip(data: bytearray) -> bytearray:
        data[at] ^= 1 << bit
        return data

    return lambda there: there.edit(flip)


def _head(**values: object) -> Damage:
    """The head says something else, and the store believes the file."""

    def rewrite(data: bytearray) -> bytearray:
        line = bytes(data[:HEAD]).split(b"\n", 1)
        counts = {**json.loads(line[1]), **values}
        data[:HEAD] = (line[0] + b"\n" + json.dumps(counts).encode()).ljust(HEAD - 1) + b"\n"
        return data

    return _believed(rewrite)


def _believed(change: Callable[[bytearray], bytes | bytearray]) -> Damage:
    def do(there: Place) -> None:
        import hashlib

        there.edit(change)
        sha256 = hashlib.sha256(there.path.read_bytes()).hexdigest()
        there.store.seal_index(EMBEDDER, there.store.generation(), sha256)

    return do


def _instead(make: Callable[[Place], object]) -> Damage:
    def do(there: Place) -> None:
        there.path.unlink()
        make(there)

    return do


def _linked(there: Place) -> None:
    there.path.rename(there.path.with_name("moved"))
    there.path.symlink_to("moved")


def _huge(there: Place) -> None:
    with there.path.open("r+b") as file:
        file.truncate(1 << 40)


def _no_folder(there: Place) -> None:
    there.path.unlink()
    there.path.parent.rmdir()


def _no_rights(there: Place) -> None:
    """The superuser may read it all the same."""
    if os.geteuid() == 0:
        _flip(HEAD)(there)
    there.path.chmod(0)


def _sections() -> Iterator[tuple[str, int, int]]:
    at = HEAD
    for name, size in SECTIONS.items():
        yield name, at, size
        at += size


TOTAL = HEAD + sum(SECTIONS.values())
KINDS: dict[str, Damage] = {
    **{f"cut to {size}": _cut(size) for size in (0, 1, 8, 16, 17, HEAD // 2, HEAD - 1, HEAD, TOTAL - 1)},
    **{f"cut in the {name}": _cut(at + size // 2) for name, at, size in _sections()},
    **{f"first bit of the {name}": _flip(at) for name, at, size in _sections()},
    **{f"last bit of the {name}": _flip(at + size - 1, 7) for name, at, size in _sections()},
    "a bit of the magic": _flip(3),
    "a bit of the version": _flip(15, 1),
    "a bit of the counts": _flip(30, 2),
    "a bit of the filling": _flip(HEAD - 2, 4),
    "a byte more": lambda there: there.edit(lambda data: data + b"\0"),
    "twice": lambda there: there.edit(lambda data: data * 2),
    "zeros": lambda there: there.edit(lambda data: bytes(len(data))),
    "noise": lambda there: there.edit(lambda data: np.random.default_rng(1).bytes(len(data))),
    "backwards": lambda there: there.edit(lambda data: data[::-1]),
    "two sections swapped": lambda there: there.edit(
        lambda data: data[:HEAD] + data[HEAD + 72 : HEAD + 144] + data[HEAD : HEAD + 72] + data[HEAD + 144 :]
    ),
    "of another store": lambda there: there.edit(lambda data: there.other),
    "of an earlier generation": lambda there: there.edit(lambda data: there.earlier),
    "gone": _instead(lambda there: None),
    "a folder": _instead(lambda there: there.path.mkdir()),
    "a full folder": _instead(lambda there: (there.path / "inner").mkdir(parents=True)),
    "a link": _linked,
    "a link to nowhere": _instead(lambda there: there.path.symlink_to("nowhere")),
    "a pipe": _instead(lambda there: os.mkfifo(there.path)),
    "too large": _huge,
    "its folder gone": _no_folder,
    "no checksum": lambda there: there.store.seal_index(EMBEDDER, there.store.generation(), ""),
    "another checksum": lambda there: there.store.seal_index(EMBEDDER, there.store.generation(), "0" * 64),
    "an old checksum": lambda there: there.store.seal_index(EMBEDDER, 1, "0" * 64),
    "no rights": _no_rights,
    "believed, another dim": _head(dim=DIM + 1),
    "believed, more views": _head(views=VIEWS + 1),
    "believed, a negative count": _head(views=-1),
    "believed, a huge count": _head(views=1 << 62),
    "believed, words for counts": _head(views="many"),
    "believed, an unknown key": _head(more=1),
    "believed, another generation": _head(generation=1),
    "believed, no JSON": _believed(lambda data: data[:17] + b"{" * (HEAD - 17) + data[HEAD:]),
    "believed, nothing": _believed(lambda data: b""),
}


def main() -> None:
    """All of them, or the one that is named, whose process says what went wrong."""
    if len(sys.argv) > 1:
        kind, made, folder = sys.argv[1:]
        raise SystemExit("; ".join(survived(kind, Path(made), Path(folder))) or 0)
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "made")
        make(made)
        for number, kind in enumerate(KINDS):
            line = [sys.executable, __file__, kind, str(made), str(Path(scratch, str(number)))]
            if subprocess.run(line, check=False).returncode:
                failed.append(kind)
    bad = ", ".join(failed) or "-"
    print(f"{len(KINDS)} kinds of damage to the index file, {len(failed)} not survived: {bad}")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
