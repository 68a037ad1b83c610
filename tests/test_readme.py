"""The README is run: its Python, its commands, its options, its paths."""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

import kinsight.cli
import kinsight_export.cli
import kinsight_train.cli
from damage import KINDS
from house import FLOORS, MODULES, ROOT
from kinsight.image import save
from kinsight_export.parts import LlmSpec
from test_store_disk import LEVELS, VERBS
from tiny import Blob, draw, make_bundle
from tiny_gguf import make_text_gguf

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS: dict[str, click.Group] = {
    "kinsight": kinsight.cli.cli,
    "kinsight-export": kinsight_export.cli.cli,
    "kinsight-train": kinsight_train.cli.cli,
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
SAYS = {
    "<|assistant|>": ["Lala"], "Lala": [" is in the photo"], " is in the photo": [","], ",": [" on the left"],
    " on the left": ["."],
}  # fmt: skip
"""A language model that gives one answer to everything, which is that of the README."""


def blocks(*languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(README) if language in languages]


def spans() -> list[str]:
    """What stands between backticks in the text."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", BLOCK.sub("", README))]


def command_lines() -> list[str]:
    return [line for block in blocks("sh", "console") for line in block.replace("\\\n", " ").splitlines()]


def code() -> str:
    return "\n".join([*command_lines(), *spans()])


def verbs(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def understood(command: click.Command, words: list[str], parent: click.Context | None = None) -> str:
    """The verb of a command line that click accepts; UsageError where it does not."""
    if not isinstance(command, click.Group):
        with command.make_context(command.name, words, parent):
            return ""
    context = click.Context(command, parent, command.name)
    _, rest, _ = command.make_parser(context).parse_args(words)
    name, verb, rest = command.resolve_command(context, rest)
    assert verb is not None
    return f"{name} {understood(verb, rest, context)}".strip()


def python_of_the_readme() -> str:
    """The README with everything but its Python blanked out, so that line numbers are right."""
    python, inside = [], False
    for line in README.splitlines():
        inside = line == "```python" if line.startswith("```") else inside
        python.append(line if inside and not line.startswith("```") else "")
    return "\n".join(python)


@pytest.fixture
def first_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> Path:
    """A folder with lala.jpg and party.jpg, beside a home in which one bundle is installed."""
    home, photos = tmp_path / "home", tmp_path / "photos"
    gguf = make_text_gguf(tmp_path / "says.gguf", SAYS)
    make_bundle(home / "bundles" / "tiny", LlmSpec(gguf, "nothing", 2048, 0, (), "Lala"))
    shutil.rmtree(home / "bundles" / "tiny-parts")
    photos.mkdir()
    lala = Blob("red", (200, 180, 440, 460))
    save(draw([lala]), photos / "lala.jpg")
    save(
        draw([Blob("red", (40, 220, 200, 420)), Blob("blue", (420, 60, 580, 200), "ball")]),
        photos / "party.jpg",
    )
    monkeypatch.setenv("KINSIGHT_HOME", str(home))
    monkeypatch.chdir(photos)
    return photos


@pytest.mark.skipif(not find_spec("llama_cpp"), reason="llama-cpp-python is not installed")
@pytest.mark.usefixtures("first_day")
def test_the_python_of_the_readme() -> None:
    python = python_of_the_readme()
    examples = doctest.DocTestParser().get_doctest(python, {}, "README.md", "README.md", 0)
    assert len(blocks("python")) == 2
    assert "SKIP" not in python
    assert sum(bool(example.want) for example in examples.examples) >= 4
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=report.append)
    assert not report, "".join(report)


def test_the_commands_of_the_readme() -> None:
    """Every command line is one that the program accepts."""
    count = 0
    for line in command_lines():
        program, *words = shlex.split(line, comments=True) or [""]
        if program in PROGRAMS:
            assert understood(PROGRAMS[program], words)
            count += 1
    assert count >= 8


def test_the_words_of_the_readme() -> None:
    """A verb or an option that is named in the text is one of ours."""
    options = {
        name
        for group in PROGRAMS.values()
        for _, verb in verbs(group)
        for p in verb.params
        for name in p.opts
    }
    options |= {name for group in PROGRAMS.values() for p in group.params for name in p.opts}
    ours = [span for span in spans() if not re.match(r"(sudo|pip|python|git|make) ", span)]
    comments = [line.partition("#")[2] for line in command_lines()]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", "\n".join(ours + comments)))
    assert named - options == set()
    for span in ours:
        if found := re.match(r"(kinsight(?:-export|-train)?)((?: [a-z]+)+)", span):
            assert is_verb(PROGRAMS[found[1]], found[2]), span


def is_verb(group: click.Group, words: str) -> bool:
    there = {name for name, _ in verbs(group)} | set(group.commands)
    return any(f"{words.strip()} ".startswith(f"{name} ") for name in there)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_verb_is_in_the_readme(program: str) -> None:
    names = [name for name, _ in verbs(PROGRAMS[program])]
    assert [name for name in names if not re.search(rf"(?<![\w/.-]){name}(?![\w/-])", code())] == []


def test_every_command_in_a_message_is_there() -> None:
    """What an error, a help or a docstring tells the user to run can be run."""
    wrong = [
        (module.name, words)
        for module in MODULES.values()
        for program, words in re.findall(r"`(kinsight(?:-export|-train)?)((?: [a-z]+)+)", module.text)
        if not is_verb(PROGRAMS[program], words)
    ]
    assert wrong == []


def test_every_path_in_the_readme_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    folders = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir())
    tracked = [
        span for span in spans() if span.startswith(folders) and not span.startswith(("out/", "build/"))
    ]
    assert links and tracked
    assert [path for path in (*links, *tracked) if not (ROOT / path).exists()] == []


def test_the_way_of_a_question() -> None:
    """At most eight files to open, each of which is there."""
    section = README.partition("## The way of a question\n")[2].partition("\n## ")[0]
    way = next(line for line in section.splitlines() if "->" in line)
    files = re.findall(r"[\w/]+\.py", way)
    assert 5 <= len(files) <= 8
    assert [file for file in files if not (ROOT / "runtime" / "kinsight" / file).is_file()] == []


def test_the_floors_of_the_readme() -> None:
    section = README.partition("## The map of the files\n")[2].partition("\n## ")[0]
    told = {floor: re.search(rf"(?<!about ){floor}\s\(([^)]*)\)", section) for floor in FLOORS}
    assert {floor: set(re.findall(r"`(\w+)`", found[1])) for floor, found in told.items() if found} == FLOORS


def test_files_that_a_house_has() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").startswith("# Changelog\n")
    assert (ROOT / "docs" / "log.md").read_text(encoding="utf-8").startswith("# Log\n")


def test_ci_runs_the_command_of_the_readme() -> None:
    command = re.compile(r"^make test\b", re.M)
    assert command.search("\n".join(command_lines()))
    assert command.search((ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_what_the_readme_counts_of_the_tests_is_so() -> None:
    assert f"\n{len(KINDS)} kinds of damage to the index file (a test each; " in README
    assert f"a small disk\nfilled to {len(LEVELS)} levels under {len(VERBS)} verbs, " in README
