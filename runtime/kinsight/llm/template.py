"""Chat templates: turns in, the parts of a prompt out, with user text kept apart from the template's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kinsight.errors import MissingPackage, ModelError
from kinsight.llm.native import PACKAGE
from kinsight.llm.turns import Control, Part, Picture, Text, Turn

_SENTINEL = re.compile("\ue000(\\d+)\ue001")
_GENERATION_TAG = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
_BETWEEN_SYSTEM_AND_USER = Text("\n\n")
SAMPLE = (
    Turn("system", (Text("s"),)),
    Turn("user", (Text("u"), Text("v"))),
    Turn("assistant", (Text("a"),)),
    Turn("user", (Text("w"),)),
)
_MEND = "use a GGUF file with a chat template for system, user and assistant messages"

Render = Callable[[list[dict[str, Any]]], str]


class _UnfitError(Exception):
    """A rendered prompt that does not show every part once."""


@dataclass(frozen=True)
class _Style:
    """How a template wants its messages."""

    as_list: bool  # content is [{"type": "text", "text": ...}] and not a string
    system_role: bool  # False: system text goes in front of the first user turn


class ChatTemplate:
    """The chat template of one model; a model without one gets lines of `role: text`.

    The template is rendered with a private sentinel in place of every part and split there, so it never sees
    the text of a user, and that text is never read as a control token.
    """

    def __init__(self, source: str | None, bos: str, eos: str, add_bos: bool) -> None:
        """`bos` and `eos` are the texts of these tokens, `add_bos` whether the vocabulary asks for the first.

        Raises ModelError where the template cannot show a plain conversation.
        """
        self.stop: tuple[str, ...] = () if source else ("\nuser:", "\nsystem:")
        self._bos = bos
        self._add_bos = add_bos
        self._render = _jinja_render(source, bos, eos) if source else _plain_render
        self._style = self._choose_style()

    def parts(self, turns: Sequence[Turn]) -> list[Part]:
        """The parts of a prompt that ends where the assistant's answer begins; BOS, if any, is there once.

        Raises ModelError where the template refuses these turns.
        """
        try:
            return self._parts(turns, self._style)
        except failures() as error:
            raise ModelError(f"the chat template refuses this conversation ({error})", _MEND) from error

    def _choose_style(self) -> _Style:
        reason: Exception | None = None
        for style in (_Style(False, True), _Style(True, True), _Style(False, False), _Style(True, False)):
            try:
                self._parts(SAMPLE, style)
            except failures() as error:
                reason = reason or error
            else:
                return style
        raise ModelError(f"the chat template of this model cannot be used ({reason})", _MEND)

    def _parts(self, turns: Sequence[Turn], style: _Style) -> list[Part]:
        turns = turns if style.system_role else _without_system(turns)
        flat = [part for turn in turns for part in turn.parts]
        rendered = self._render(_messages(turns, style.as_list))
        begun = bool(self._bos) and rendered.startswith(self._bos)
        pieces = _SENTINEL.split(rendered[len(self._bos) :] if begun else rendered)
        if sorted(int(index) for index in pieces[1::2]) != list(range(len(flat))):
            raise _UnfitError("it leaves out or repeats a part of a message")
        if begun or (self._add_bos and self._bos):
            pieces[0] = self._bos + pieces[0]
        mixed: Iterable[Part] = (
            flat[int(piece)] if number % 2 else Control(piece) for number, piece in enumerate(pieces)
        )
        return [part for part in mixed if isinstance(part, Picture) or part.text]


def _messages(turns: Sequence[Turn], as_list: bool) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    count = 0
    for turn in turns:
        numbers = range(count, count + len(turn.parts))
        count += len(turn.parts)
        content = "".join(f"\ue000{number}\ue001" for number in numbers)
        wrapped = [{"type": "text", "text": content}] if as_list else content
        messages.append({"role": turn.role, "content": wrapped})
    return messages


def _without_system(turns: Sequence[Turn]) -> list[Turn]:
    """The same turns, with what the system says at the front of the first user turn."""
    system = [part for turn in turns if turn.role == "system" for part in turn.parts]
    rest = [turn for turn in turns if turn.role != "system"]
    if not system:
        return rest
    if not rest or rest[0].role != "user":
        return [Turn("user", tuple(system)), *rest]
    first = Turn("user", (*system, _BETWEEN_SYSTEM_AND_USER, *rest[0].parts))
    return [first, *rest[1:]]


def _plain_render(messages: list[dict[str, Any]]) -> str:
    """`role: text` lines, for a model without a chat template."""
    return "".join(f"{message['role']}: {message['content']}\n" for message in messages) + "assistant:"


def _jinja_render(source: str, bos: str, eos: str) -> Render:
    """A renderer with the environment that transformers gives chat templates (sandboxed, trimmed blocks)."""
    try:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise MissingPackage("jinja2 is not installed", f"pip install '{PACKAGE}'") from error

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    fixed = {"bos_token": bos, "eos_token": eos, "add_generation_prompt": True, "enable_thinking": False}
    try:
        template = environment.from_string(_GENERATION_TAG.sub("", source))
    except TemplateError as error:
        raise ModelError(f"the chat template of this model cannot be read ({error})", _MEND) from error
    return lambda messages: template.render(messages=messages, tools=None, **fixed)


def failures() -> tuple[type[Exception], ...]:
    """What a template that does not fit raises; a plain rendering needs no jinja2."""
    try:
        from jinja2 import TemplateError
    except ImportError:
        return (_UnfitError,)
    wrong_types = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError)
    return (_UnfitError, TemplateError, *wrong_types)
