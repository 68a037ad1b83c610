"""What a GGUF file says of itself: its keys and values, read without loading a weight."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kinsight.errors import ModelError
from kinsight.llm.native import MEND_FILE

_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_WORDS = "tokenizer.ggml.tokens"
_MOST = 1 << 24  # bytes of one value: more is no header
Value = str | int | float | bool


@dataclass(frozen=True)
class Header:
    """Of one file."""

    values: Mapping[str, Value | tuple[Value, ...]]  # texts in rows are left out
    tokens: int  # of the vocabulary; 0 where there is none
    bytes: int  # of the file

    def number(self, *keys: str, default: int = 0) -> int:
        """The first of these that is there, behind the architecture's name or in full."""
        return next((row[0] for key in keys if (row := self.row(key))), default)

    def row(self, key: str) -> tuple[int, ...]:
        """The numbers under a key: one for all layers, or one for each; none where the key is not there."""
        arch = self.values.get("general.architecture", "")
        value = self.values.get(f"{arch}.{key}", self.values.get(key))
        row = value if isinstance(value, tuple) else (value,)
        return tuple(int(one) for one in row if isinstance(one, int | float))


def read_header(file: Path) -> Header:
    """The values up to the vocabulary, which every converter writes last. ModelError where it is no GGUF."""
    values: dict[str, Value | tuple[Value, ...]] = {}
    tokens = 0
    try:
        with file.open("rb") as stream:
            if (magic := stream.read(4)) != b"GGUF":
                raise ValueError("invalid magic characters" if magic else "failed to read magic")
            _, _, count = _unpack(stream, "IQQ")
            for _ in range(count):
                key, (kind,) = _string(stream), _unpack(stream, "I")
                if kind != _ARRAY:
                    values[key] = _string(stream) if kind == _STRING else _unpack(stream, _FORMATS[kind])[0]
                    continue
                kind, length = _unpack(stream, "IQ")
                if key == _WORDS:
                    tokens = length
                    break
                if kind == _STRING:
                    for _ in range(min(length, _MOST)):
                        _string(stream)
                else:
                    values[key] = _unpack(stream, f"{min(length, _MOST)}{_FORMATS[kind]}")
    except OSError as error:
        raise ModelError(f"{file.name} cannot be loaded ({error.strerror})", MEND_FILE) from error
    except (struct.error, KeyError, ValueError) as error:
        reason = error if isinstance(error, ValueError) else "failed to read key-value pairs"
        raise ModelError(f"{file.name} cannot be loaded ({reason})", MEND_FILE) from error
    return Header(values, tokens, file.stat().st_size)


def _unpack(stream: BinaryIO, form: str) -> tuple[int, ...]:
    form = f"<{form}"
    return struct.unpack(form, stream.read(struct.calcsize(form)))


def _string(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "Q")
    if length > _MOST:
        raise ValueError(f"a value of {length} bytes")
    return stream.read(length).decode("utf-8", "replace")
