"""The verbs that talk: ask, caption and chat, about a photo or about what was told."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kinsight.cli.desk import AS_JSON, WORKER, Desk, on_terminal, pass_desk
from kinsight.cli.show import clean, clean_line, print_json, say, timings_line
from kinsight.errors import KinsightError

if TYPE_CHECKING:
    from kinsight.assistant import Assistant
    from kinsight.chat import Chat

BLIND = "the language model of this bundle sees no photos: it is told in words what look finds"
HELP = """\
Type a question, or
  /look  who and what is in the photo
  /help  this text
  /quit  end, as Ctrl-D does
Ctrl-C stops an answer."""


@click.command(
    epilog='Examples: kinsight ask party.jpg "Where is Lala?" and kinsight ask "What does Lala like?"'
)
@click.argument("words", nargs=-1, required=True, metavar="[PHOTO] QUESTION")
@AS_JSON
@WORKER
@pass_desk
def ask(desk: Desk, words: tuple[str, ...]) -> None:
    """Answer QUESTION about PHOTO, or from what was told."""
    photo, question = _photo_and_question(words)
    with desk.assistant(looks=photo is not None) as assistant:
        talk = _talk(desk, assistant, photo)
        if desk.as_json:
            talk.ask(question)
            _print_answer(talk)
        else:
            _speak(talk, question)
        _note_answer(desk, talk)


@click.command(epilog="Example: kinsight caption party.jpg")
@click.argument("photo", type=click.Path(path_type=Path))
@AS_JSON
@WORKER
@pass_desk
def caption(desk: Desk, photo: Path) -> None:
    """Describe PHOTO in one sentence, with the names of those in it."""
    with desk.assistant() as assistant:
        talk = _talk(desk, assistant, photo)
        answer = talk.caption()
        if desk.as_json:
            _print_answer(talk)
        else:
            say(answer.text)
        _note_answer(desk, talk)


@click.command(epilog="Example: kinsight chat party.jpg")
@click.argument("photo", type=click.Path(path_type=Path), required=False)
@WORKER
@pass_desk
def chat(desk: Desk, photo: Path | None) -> None:
    """Talk about PHOTO, or about what was told; /help says what can be typed."""
    with suppress(ImportError):  # it gives input() its line editing
        importlib.import_module("readline")
    with desk.assistant(looks=photo is not None) as assistant:
        talk = _talk(desk, assistant, photo)
        talk.wake()
        desk.note("/help says what can be typed, Ctrl-D ends")
        first = True
        while (line := _next_line()) not in (None, "/quit"):
            if line and _respond(talk, line):
                _note_answer(desk, talk, with_stages=first)
                first = False


def _photo_and_question(words: tuple[str, ...]) -> tuple[Path | None, str]:
    if len(words) > 2:
        raise click.UsageError("these are too many words, put the question into quotes")
    if not words[-1].strip():
        raise click.UsageError("the question is empty")
    with suppress(OSError):  # a long question is no name of a file
        if len(words) == 1 and Path(words[0]).is_file():
            raise click.UsageError(f"{words[0]} is a photo without a question, add one in quotes")
    return (Path(words[0]) if len(words) == 2 else None), words[-1]


def _talk(desk: Desk, assistant: Assistant, photo: Path | None) -> Chat:
    """A conversation; without a language model, or the memory for it, nothing else is of use."""
    assistant.check_llm(photo)
    if assistant.bundle.language_model.sees == "nothing" and photo:
        desk.choice(BLIND)
    return assistant.chat(photo)


def _speak(talk: Chat, question: str) -> None:
    """Prints an answer while it comes."""
    for piece in talk.stream(question):
        click.echo(clean(piece), nl=False)
    click.echo()


def _print_answer(talk: Chat) -> None:
    from kinsight.types import answer_json

    print_json(answer_json(talk.last))


def _note_answer(desk: Desk, talk: Chat, with_stages: bool = True) -> None:
    """How the last answer was made, where that is worth a word, and how long each stage took."""
    desk.choice(talk.note)
    stages = talk.scene.timings_ms if talk.scene and with_stages else {}
    desk.note(timings_line(stages, talk.last.timings_ms, talk.last.tokens.get("answer", 0)))


def _next_line() -> str | None:
    """What the user types, None at the end."""
    if sys.stdin is None:
        return None
    try:
        return input("> " if on_terminal() else "").strip()
    except EOFError:
        if on_terminal():
            click.echo()
        return None
    except KeyboardInterrupt:
        click.echo()
        return ""


def _respond(talk: Chat, line: str) -> bool:
    """Does what a line asks for; whether that was an answer. Ctrl-C and errors do not end the talk."""
    if line.startswith("/"):
        for reply in _commanded(talk, line):
            say(reply)
        return False
    try:
        _speak(talk, line)
    except KeyboardInterrupt:
        click.echo("\n(stopped)")
        return False
    except KinsightError as error:
        click.echo(f"kinsight: {clean_line(str(error))}.", err=True)
        return False
    return True


def _commanded(talk: Chat, command: str) -> list[str]:
    if command == "/help":
        return [HELP]
    if command != "/look":
        return [f"There is no {clean_line(command)}; /help says what there is."]
    if talk.scene is None:
        return ["There is no photo in this talk: begin one with kinsight chat PHOTO."]
    from kinsight.cli.words import scene_lines

    return [clean_line(line) for line in scene_lines(talk.scene)]
