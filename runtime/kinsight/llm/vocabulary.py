"""The vocabulary of a GGUF model: text to tokens, tokens to bytes, and which tokens are no text."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

from kinsight.llm.native import library
from kinsight.llm.spans import TextSpan
from kinsight.llm.turns import Control, Part, Text


class Vocabulary:
    """Lives as long as the model that it belongs to."""

    def __init__(self, model: Any) -> None:
        self._llama = library().llama
        self._model = model
        self.handle = self._llama.llama_model_get_vocab(model)
        self._reserved: frozenset[int] = frozenset()

    def __len__(self) -> int:
        """Tokens."""
        return int(self._llama.llama_vocab_n_tokens(self.handle))

    @property
    def chat_template(self) -> str | None:
        """The Jinja source in the file, if any."""
        source = self._llama.llama_model_chat_template(self._model, None)
        return source.decode("utf-8", "replace") if source else None

    @property
    def bos(self) -> str:
        """The text of the token that begins a sequence, or ""."""
        return self.name(self._llama.llama_vocab_bos(self.handle))

    @property
    def eos(self) -> str:
        """The text of the token that ends a sequence, or ""."""
        return self.name(self._llama.llama_vocab_eos(self.handle))

    @property
    def adds_bos(self) -> bool:
        """Whether the file asks for BOS in front of every sequence."""
        return bool(self._llama.llama_vocab_get_add_bos(self.handle))

    def ends(self, token: int) -> bool:
        """Whether an answer is over here: at an end of generation, or where another control token begins."""
        return self.is_end(token) or self.is_control(token)

    def is_control(self, token: int) -> bool:
        """Whether it is no text."""
        return bool(self._llama.llama_vocab_is_control(self.handle, token))

    def is_end(self, token: int) -> bool:
        """Whether it is an end of generation."""
        return bool(self._llama.llama_vocab_is_eog(self.handle, token))

    def piece(self, token: int) -> bytes:
        """The bytes of a token; several tokens may share one character. Empty for a control token."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            written = self._llama.llama_token_to_piece(self.handle, token, buffer, size, 0, False)
            if written >= 0:
                return buffer.raw[:written]
            size = -written

    def tokens(self, part: Text | Control) -> list[int]:
        """Token ids of one part, without BOS; control tokens are read as such in a Control part only."""
        data = utf8(part.text)
        room = len(data) + 8
        while True:
            ids = (self._llama.llama_token * room)()
            special = isinstance(part, Control)
            count = self._llama.llama_tokenize(self.handle, data, len(data), ids, room, False, special)
            if count >= 0:
                return list(ids[:count])
            room = -count

    def span(self, part: Text | Control) -> TextSpan:
        """One part as it stands in a prompt."""
        return TextSpan(tuple(self.tokens(part)), isinstance(part, Text) and part.kept)

    def reserve(self, controls: Iterable[Control]) -> None:
        """Keeps what a chat template is made of out of user text, even where it is called user-defined."""
        user_defined = self._llama.LLAMA_TOKEN_ATTR_USER_DEFINED
        self._reserved = frozenset(
            token
            for part in controls
            for token in self.tokens(part)
            if self._llama.llama_vocab_get_attr(self.handle, token) & user_defined
            and self.name(token).strip()
        )

    def plain(self, part: Part) -> list[Part]:
        """The part, with a Text cut inside every control token that plain tokenising would still make of it.

        llama.cpp looks for no control token in such text, but SentencePiece merges can arrive at one, and a
        token that the file calls user-defined is always read.
        """
        if not isinstance(part, Text):
            return [part]
        found = next((token for token in self.tokens(part) if self._is_reserved(token)), None)
        if found is None:
            return [part]
        name = self.name(found)
        if len(name) < 2 or name not in part.text:
            return [
                Text(letter)
                for letter in part.text
                if not any(map(self._is_reserved, self.tokens(Text(letter))))
            ]
        first, *others = part.text.split(name)
        cuts = [first, *(cut for other in others for cut in (name[:1], name[1:] + other))]
        return [piece for cut in cuts if cut for piece in self.plain(Text(cut))]

    def _is_reserved(self, token: int) -> bool:
        return token in self._reserved or self.ends(token)

    def name(self, token: int) -> str:
        """A token as the file writes it; "" for one that it does not have."""
        if token < 0:
            return ""
        return str(self._llama.llama_vocab_get_text(self.handle, token).decode("utf-8", "replace"))


def utf8(text: str) -> bytes:
    """UTF-8 of any str: surrogate pairs joined, lone surrogates replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
