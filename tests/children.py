"""Processes, connections and files around a store under test."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from crops import crop
from kinsight.store import Store


def in_a_child(work: Callable[[], None]) -> int:
    """Start a process that does this and nothing else; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Exit code of a child, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.parent.iterdir())}


def filled(path: Path, count: int = 3) -> None:
    with Store.open(path) as store:
        for seed in range(count):
            store.remember(crop(seed), f"concept {seed}")


@contextlib.contextmanager
def held(path: Path, mode: str) -> Iterator[None]:
    """Another connection in the middle of its transaction."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(f"begin {mode}")
    other.execute("select * from concept").fetchall()
    try:
        yield
    finally:
        other.close()
