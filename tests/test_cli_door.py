"""The door: one sentence and an exit code for every error, and a traceback only for those who ask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kinsight.cli.door import enter
from kinsight.errors import PhotoError, UnknownConcept


@click.group()
def group() -> None: ...


@group.command()
@click.argument("kind")
def fail(kind: str) -> None:
    raise {
        "ours": PhotoError("x.jpg\x1b[2J is\nempty", "take another"),
        "question": UnknownConcept("nothing called Lla", "did you mean Lala?"),
        "internal": ZeroDivisionError("division by zero"),
        "wordless": AssertionError(),
        "memory": MemoryError(),
        "package": ModuleNotFoundError("No module named 'usearch'"),
        "interrupt": KeyboardInterrupt(),
        "click": click.FileError("x.jpg", "no such file"),
        "exit": SystemExit(7),
    }[kind]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["fail", "ours"], 1, "x.jpg\\x1b[2J is empty: take another."),
        (["fail", "question"], 1, "nothing called Lla: did you mean Lala?"),
        (
            ["fail", "internal"],
            70,
            "an internal error (ZeroDivisionError: division by zero); please report it with "
            "`kinsight doctor` output; nothing was changed.",
        ),
        (
            ["fail", "wordless"],
            70,
            "an internal error (AssertionError); please report it with `kinsight doctor` output; "
            "nothing was changed.",
        ),
        (
            ["fail", "memory"],
            1,
            "this machine has not enough free memory: close other programs, or use a smaller bundle.",
        ),
        (
            ["fail", "package"],
            1,
            "a package cannot be loaded (No module named 'usearch'): run `kinsight doctor`, "
            "it says what to install.",
        ),
        (["fail", "click"], 1, "could not open file 'x.jpg': no such file."),
        (["fail"], 2, "missing argument 'KIND': see `program fail --help`."),
        (["fail", "a", "b"], 2, "got unexpected extra argument (b): see `program fail --help`."),
        (["fly"], 2, "no such command 'fly': see `program --help`."),
    ],
)
def test_one_sentence(words: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        enter(group, "program", words)
    assert left.value.code == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"program: {sentence}\n")


def test_ctrl_c_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        enter(group, "program", ["fail", "interrupt"])
    assert left.value.code == 130
    assert capsys.readouterr().err.split() == ["program:", "stopped."]
    with pytest.raises(SystemExit) as left:
        enter(group, "program", ["fail", "exit"])
    assert left.value.code == 7


def test_a_traceback_is_for_those_who_ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINSIGHT_DEBUG", "1")
    with pytest.raises(SystemExit):
        enter(group, "program", ["fail", "internal"])
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.splitlines()[-1].startswith("program: an internal error (ZeroDivisionError")


def kinsight(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kinsight", *words]
    environment = {**os.environ, **settings}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_command_itself(tmp_path: Path) -> None:
    run = kinsight("--bundle", "no-such", "look", "no-such.jpg", KINSIGHT_HOME=str(tmp_path))
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert run.stderr.startswith("kinsight: there is no bundle 'no-such'")
    assert kinsight("--version").stdout.startswith("kinsight 0.")


def test_an_output_that_cannot_take_a_name_gets_it_spelled_out(tmp_path: Path) -> None:
    run = kinsight("show", "狗", KINSIGHT_HOME=str(tmp_path), PYTHONIOENCODING="latin-1")
    assert run.returncode == 1
    assert '"\\u72d7"' in run.stderr
    assert "Traceback" not in run.stderr


def test_a_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "kinsight", "--help"]
    with os.fdopen(writing, "w") as closed:
        run = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (1, "")


def test_without_any_input_and_output_it_still_works(tmp_path: Path) -> None:
    """As a service may be started."""
    options = f"'{sys.executable}' -m kinsight --home '{tmp_path}'"
    run = subprocess.run(["sh", "-c", f"{options} concepts <&- >&-"], stderr=subprocess.PIPE, check=False)
    assert (run.returncode, run.stderr) == (0, b"")
