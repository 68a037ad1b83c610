"""The verbs that talk: ask, caption and chat, with a language model that talks nonsense and sees nothing."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import BlobPhoto
from kinsight import Assistant
from kinsight.types import answer_json
from terminal import Terminal, fine
from tiny import Blob

pytestmark = pytest.mark.llm
pytest.importorskip("llama_cpp", exc_type=ImportError)

RED = Blob("red", (60, 200, 220, 420))
BLUE = Blob("blue", (420, 220, 580, 400))
STAGES = "decode 1 ms, detect 1 ms, embed 1 ms, recall 1 ms, first token 1 ms, 1 tokens/s"


def last_line(text: str) -> str:
    """With every figure as 1, as they differ from run to run."""
    return re.sub(r"\d+", "1", text.splitlines()[-1])


def test_ask_answers_and_tells_its_stages(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto
) -> None:
    said = fine(kinsight("ask", blob_photo([RED]), "Where is Lala?"))
    assert said.out == "Lala is in the photo, on the left.\n"
    assert "asked for with --bundle" in said.err
    assert "kinsight pull NAME" in said.err
    assert "sees no photos" in said.err
    assert last_line(said.err) == STAGES


def test_quiet_says_the_answer_only(kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([RED])
    said = fine(kinsight("--quiet", "ask", photo, "Is Tom in the photo?"))
    assert (said.out, said.err) == ("No, I don't see Tom in this photo.\n", "")
    assert fine(kinsight("ask", photo, "Is Tom in the photo?", "-q")) == said


def test_ask_prints_exactly_the_answer_as_json(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto
) -> None:
    photo = blob_photo([RED, BLUE])
    said = fine(kinsight("ask", photo, "Who is in this photo?", "--json"))
    shape, expected = said.json, answer_json(taught.ask("Who is in this photo?", photo))
    for one in (shape, expected):
        assert one.pop("timings_ms").keys() == {"first_token", "encode", "prefill", "decode"}
        one["look"].pop("timings_ms")
    first, second = shape["tokens"].pop("cached"), expected["tokens"].pop("cached")
    assert first < second  # another process, which finds what the first has read
    assert shape == expected
    assert shape["concepts_used"] == ["Lala", "Tom"]
    assert "asked for with" not in said.err


def test_ask_without_a_photo(kinsight: Terminal, taught: Assistant) -> None:
    said = fine(kinsight("ask", "What does Lala love?"))
    assert said.out == taught.ask("What does Lala love?").text + "\n"
    assert "loves the sea" in said.out
    assert last_line(said.err).startswith("first token 1 ms")
    assert fine(kinsight("ask", "What does Lala love?", "--json")).json["look"] is None


def test_a_question_longer_than_any_file_name(kinsight: Terminal, taught: Assistant) -> None:
    said = fine(kinsight("ask", f"Tell me, {'please ' * 60}what does Lala love?"))
    assert "loves the sea" in said.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{photo}"], "is a photo without a question, add one in quotes: see `kinsight ask --help`."),
        (["{photo}", "Who", "is", "it?"], "put the question into quotes: see `kinsight ask --help`."),
        ([" "], "the question is empty: see `kinsight ask --help`."),
        ([], "missing argument '[PHOTO] QUESTION': see `kinsight ask --help`."),
    ],
)
def test_ask_wants_a_question(kinsight: Terminal, blob_photo: BlobPhoto, words: list[str], told: str) -> None:
    photo = str(blob_photo([RED]))
    said = kinsight("ask", *(word.format(photo=photo) for word in words))
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert said.err.endswith(told + "\n")


def test_caption(kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([RED])
    said = fine(kinsight("caption", photo))
    assert "Lala" in said.out
    assert last_line(said.err) == STAGES
    assert fine(kinsight("caption", photo, "--json")).json["answer"] + "\n" == said.out


class Typist(io.StringIO):
    """Lines of standard input; "^C" is Ctrl-C."""

    def readline(self, size: int | None = -1, /) -> str:
        line = super().readline()
        if line == "^C\n":
            raise KeyboardInterrupt
        return line


def test_a_chat(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "Where is Lala?", "^C", "", "/look", "/nonsense", "/help", "Is she there?", "/quit", "Who?"
    monkeypatch.setattr("sys.stdin", Typist("\n".join(lines) + "\n"))
    said = fine(kinsight("chat", blob_photo([RED])))
    where, interrupted, look, nonsense, *help_text, there = said.out.splitlines()
    assert where == "Lala is in the photo, on the left."
    assert interrupted == ""
    assert look.startswith("Lala: on the left (a box, region 1, probability ")
    assert nonsense == "There is no /nonsense; /help says what there is."
    assert help_text[0].startswith("Type a question")
    assert "Lala is in the photo" in there, "the chat is over, or does not know who she is"
    assert said.err.count("detect ") == 1, "the photo was looked at once"


def test_a_chat_without_a_photo_ends_with_its_input(
    kinsight: Terminal, taught: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("/look\nWhat does Lala love?"))
    told, answer = fine(kinsight("chat")).out.splitlines()
    assert told == "There is no photo in this talk: begin one with kinsight chat PHOTO."
    assert "loves the sea" in answer


class Impatient(io.StringIO):
    """Standard output of somebody who types Ctrl-C when the first answer comes."""

    waits = True

    def write(self, text: str, /) -> int:
        if self.waits and text.startswith("Lala"):
            self.waits = False
            raise KeyboardInterrupt
        return super().write(text)


def test_ctrl_c_stops_the_answer_and_keeps_the_chat(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Where is Lala?\nIs Tom in the photo?\n"))
    monkeypatch.setattr("sys.stdout", Impatient())
    fine(kinsight("chat", blob_photo([RED])))
    assert isinstance(sys.stdout, Impatient)
    assert sys.stdout.getvalue() == "\n(stopped)\nNo, I don't see Tom in this photo.\n"


@pytest.mark.stress
def test_an_error_ends_the_answer_and_not_the_chat(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"What {'does Lala love ' * 3000}?\nWhere is Lala?\n"))
    said = fine(kinsight("chat", blob_photo([RED])))
    assert said.out == "Lala is in the photo, on the left.\n"
    assert "\nkinsight: the prompt " in said.err
    assert "Traceback" not in said.err


WITHOUT_LLAMA = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "llama_cpp":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from kinsight.cli import main

home, bundle, photo = sys.argv[1:]
for words in (
    ["remember", photo, "--name", "Lala"],
    ["look", photo],
    ["concepts"],
    ["edit", "Lala", "--info", "Lala loves the sea."],
    ["ask", photo, "Where is Lala?"],
    ["ask", "What does Lala love?"],
    ["ask", "Who is there?"],
    ["caption", photo],
    ["forget", "Lala", "--yes"],
):
    try:
        main(["--home", home, "--bundle", bundle, "-q", *words])
    except SystemExit as left:
        print(words[0], left.code, flush=True)
        print(file=sys.stderr, flush=True)
"""


def test_all_but_talking_works_without_llama_cpp(
    home: Path, tiny_bundle: Path, blob_photo: BlobPhoto
) -> None:
    command = [sys.executable, "-c", WITHOUT_LLAMA, home, tiny_bundle, blob_photo([RED])]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    codes = dict(line.split() for line in run.stdout.splitlines() if re.fullmatch(r"\w+ \d+", line))
    assert codes == {
        **dict.fromkeys(["remember", "look", "concepts", "edit", "forget"], "0"),
        **dict.fromkeys(["ask", "caption"], "1"),
    }
    assert "Lala: on the left" in run.stdout
    wanted = "kinsight: llama-cpp-python is not installed: pip install 'llama-cpp-python==0.3.36'."
    assert [line for line in run.stderr.splitlines() if line] == [wanted] * 4
