"""Runs `kinsight` in this process as a shell would, and gives what it said."""

from __future__ import annotations

import json
import os
import pty
import select
import sys
import termios
import time
from collections.abc import Iterator, Sequence
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
memory_mb = 4096
"""


@dataclass(frozen=True)
class Terminal:
    """Calls `kinsight` with a home, a bundle and one thread: tiny models are slower with more of them."""

    home: Path
    bundle: Path | None
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str | Path) -> Said:
        """Runs `kinsight WORDS`."""
        self.capture.readouterr()
        with pytest.raises(SystemExit) as left:
            main(self._line(words))
        said = self.capture.readouterr()
        assert isinstance(left.value.code, int)
        return Said(left.value.code, said.out, said.err)

    def secretly(self, words: Sequence[str | Path], answers: Sequence[str]) -> Said:
        """The same in a child at a terminal of its own, where these are typed while nothing typed is shown.

        Standard output and error come together, as on any terminal.
        """
        child, typist = pty.fork()
        if child == 0:
            try:
                sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
                main(self._line(words))
            except SystemExit as left:
                sys.stdout.flush()
                os._exit(left.code if isinstance(left.code, int) else 70)
            finally:
                os._exit(71)
        shown, deadline = b"", time.monotonic() + 60
        for answer in answers:
            while not (shown.endswith(b": ") and not termios.tcgetattr(typist)[3] & termios.ECHO):
                assert time.monotonic() < deadline, shown
                shown += _read(typist)
            before = len(shown)
            os.write(typist, answer.encode() + b"\n")
            while b"\n" not in shown[before:]:
                assert time.monotonic() < deadline, shown
                shown += _read(typist)
        while some := _read(typist, 60):
            shown += some
        os.close(typist)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return Said(code, shown.decode().replace("\r\n", "\n"), "")

    def _line(self, words: Sequence[str | Path]) -> list[str]:
        device = self.home.with_name("one-thread.toml")
        if not device.exists():
            device.write_text(ONE_THREAD, encoding="utf-8")
        options = ["--home", str(self.home), "--device", str(device)]
        options += ["--bundle", str(self.bundle)] if self.bundle else []
        return [*options, *map(str, words)]

    def store(self) -> Store:
        """The store of this home."""
        return Store.open(self.home / "store.db")


def fine(said: Said) -> Said:
    """The same, after a look at its exit code."""
    assert said.code == 0, said.err
    return said


def _read(typist: int, wait: float = 0.02) -> bytes:
    """What has come within `wait` seconds; nothing at the end."""
    if not select.select([typist], [], [], wait)[0]:
        return b""
    try:
        return os.read(typist, 4096)
    except OSError:  # so ends a terminal on Linux
        return b""


@contextmanager
def typed(text: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input is a terminal on which this is typed."""
    typist, terminal = os.openpty()
    os.write(typist, text.encode())
    with os.fdopen(terminal, "r") as stdin, patch.context() as patched:
        patched.setattr("sys.stdin", stdin)
        yield
    os.close(typist)


def last_line(said: Said) -> dict[str, Any]:
    """Of an eval or a bench: JSON in format 1."""
    found: dict[str, Any] = json.loads(fine(said).out.splitlines()[-1])
    assert found["format"] == 1
    return found
