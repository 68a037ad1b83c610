"""Whether a file writes a conversation as its source does, and ends its answers at the same tokens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from kinsight.llm import Picture, Text, Turn
from kinsight.llm.turns import Role
from kinsight_export.mllm.device import Device
from kinsight_export.mllm.source import Source

_CONVERSATION: tuple[tuple[Role, str], ...] = (
    ("system", "Be short."),
    ("user", "Who?"),
    ("assistant", "Lala."),
    ("user", "Where?"),
)
_SHOWN = 32  # characters about the first difference


def other_template(source: Source, device: Device) -> str:
    """How the file's chat template writes a conversation otherwise, in words; "" where it does not.

    The source's is rendered by transformers, in every form in which it takes the same messages.
    """
    if source.chat_template is None:
        return ""
    if device.words.chat_template is None:
        return "there is none in the file"
    bos = device.words.bos
    turns = [Turn(role, (Text(text),)) for role, text in _CONVERSATION]
    parts = device.template.parts(turns)
    ours = "".join(part.text for part in parts if not isinstance(part, Picture)).removeprefix(bos)
    forms = [source.rendered(messages) for messages in _forms()]
    theirs = [text.removeprefix(bos) for text in forms if text is not None]
    if ours in theirs:
        return ""
    if not theirs:
        return "transformers cannot use the source's"
    pairs = enumerate(zip_longest(ours, theirs[0]))
    at = max(0, next(row for row, (one, other) in pairs if one != other) - _SHOWN // 2)
    return f"it writes {ours[at : at + _SHOWN]!r} instead of {theirs[0][at : at + _SHOWN]!r}"


def _forms() -> Iterator[list[dict[str, Any]]]:
    """Messages as texts or as lists of parts, the words of the system alone or before the first question."""
    (_, system), (_, question), *rest = _CONVERSATION
    for rows in (_CONVERSATION, (("user", f"{system}\n\n{question}"), *rest)):
        yield [{"role": role, "content": text} for role, text in rows]
        yield [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in rows]


def other_ends(source: Source, device: Device) -> Iterator[str]:
    """Each token at which one of both ends an answer and the other does not, in words.

    What is no text never is a part of an answer, so a control token of the file may end one.
    """
    words, ends = device.words, source.ends
    for token in sorted(ends):
        if not words.ends(token):
            yield f"it goes on after {source.piece(token)!r}, where the source ends"
    for token in range(len(words)):
        if words.is_end(token) and not words.is_control(token) and token not in ends:
            yield f"it ends at {words.name(token)!r}, where the source goes on"
