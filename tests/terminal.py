"""Runs `kinsight` in this process as a shell would, and gives what it said."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kinsight.cli import main
from kinsight.store import Store


@dataclass(frozen=True)
class Said:
    """What a command did: exit code, standard output and standard error, native libraries included."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The only line of standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)


ONE_THREAD = """
[device]
name = "one-thread"
providers = ["CPUExecutionProvider"]
threads = 1
memory_mb = 1024
"""


@dataclass(frozen=True)
class Terminal:
    """Calls `kinsight` with a home, a bundle and one thread: tiny models are slower with more of them."""

    home: Path
    bundle: Path | None
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str | Path) -> Said:
        """Runs `kinsight WORDS`."""
        device = self.home.with_name("one-thread.toml")
        device.write_text(ONE_THREAD, encoding="utf-8")
        options = ["--home", str(self.home), "--device", str(device)]
        options += ["--bundle", str(self.bundle)] if self.bundle else []
        self.capture.readouterr()
        with pytest.raises(SystemExit) as left:
            main([*options, *map(str, words)])
        said = self.capture.readouterr()
        assert isinstance(left.value.code, int)
        return Said(left.value.code, said.out, said.err)

    def store(self) -> Store:
        """The store of this home."""
        return Store.open(self.home / "store.db")


def fine(said: Said) -> Said:
    """The same, after a look at its exit code."""
    assert said.code == 0, said.err
    return said


@contextmanager
def typed(text: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input is a terminal on which this is typed."""
    typist, terminal = os.openpty()
    os.write(typist, text.encode())
    with os.fdopen(terminal, "r") as stdin, patch.context() as patched:
        patched.setattr("sys.stdin", stdin)
        yield
    os.close(typist)
