"""Prints safely: no control character of a name, an info or an answer reaches the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""C0 but for tab and newline, C1, what turns the direction of the line, halves of surrogate pairs."""
_UNSAFE = re.compile(f"[{_CONTROLS}]")
_STAGES = ("decode", "detect", "embed", "recall")


def clean(text: str) -> str:
    """A text of any origin with its control characters spelled out, newlines and tabs kept."""
    return _UNSAFE.sub(_spelled, text.replace("\r\n", "\n"))


def clean_line(text: str) -> str:
    """The same on one line."""
    return clean(re.sub(r"[\t\n\r\v\f]+", " ", text))


def say(text: str) -> None:
    """A line of the answer on standard output."""
    click.echo(clean(text))


def print_json(shape: Mapping[str, Any]) -> None:
    """One line of JSON; control characters are escaped, any other script is not."""
    click.echo(_UNSAFE.sub(_escaped, json.dumps(shape, ensure_ascii=False)))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the cells of rows below each other, as wide as a terminal shows them."""
    from rich.cells import cell_len, set_cell_size

    cells = [[clean_line(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def counted(number: int, what: str) -> str:
    """ "1 photo", "2 photos"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def timings_line(stages_ms: Mapping[str, float], answer_ms: Mapping[str, float], tokens: int = 0) -> str:
    """ "decode 3 ms, detect 31 ms, ..., first token 420 ms, 18 tokens/s"; `tokens` of the answer."""
    parts = [f"{stage} {stages_ms[stage]:.0f} ms" for stage in _STAGES if stage in stages_ms]
    if "first_token" in answer_ms:
        parts.append(f"first token {answer_ms['first_token']:.0f} ms")
    if tokens > 1 and answer_ms.get("decode", 0.0) > 0:  # the first token is not decoded: the prompt gives it
        parts.append(f"{(tokens - 1) / answer_ms['decode'] * 1e3:.0f} tokens/s")
    return ", ".join(parts)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
