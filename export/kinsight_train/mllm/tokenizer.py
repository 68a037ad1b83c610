"""The vocabulary of the pocket language model: trained on lines of text, and read as the device reads it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from kinsight.errors import ModelError
from kinsight.llm import Control, Part, Picture, Turn
from kinsight.llm.template import ChatTemplate
from kinsight.llm.vocabulary import utf8

PAD, EOS, BOS, UNKNOWN = "<pad>", "<eos>", "<bos>", "<unk>"
SYSTEM, USER, MODEL, END = "<|system|>", "<|user|>", "<|model|>", "<end_of_turn>"
BEGIN_PICTURE, END_PICTURE = "<start_of_image>", "<end_of_image>"  # mtmd writes these around every picture
PICTURE = "<image_soft_token>"  # stands for one row of a picture's embeddings; its own row is never read
CONTROLS = (SYSTEM, USER, MODEL, END, BEGIN_PICTURE, END_PICTURE, PICTURE)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|model|>{{ message['content'] }}<end_of_turn>"
    "{% else %}<|{{ message['role'] }}|>{{ message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|model|>{% endif %}"
)
"""One token a role, and an end only where the model itself has to say that it is done."""

_OTHERS = 4 + 256 + 1  # pieces: Gemma's four, the bytes and the line break
_ANGLES = str.maketrans("<>", "  ")  # no piece may hold a part of a control token
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_SPECIAL = re.compile("|".join(map(re.escape, (PAD, EOS, BOS, UNKNOWN, *CONTROLS))))


def train_tokenizer(
    lines: Iterable[str], out: Path, pieces: int = 2048, controls: Sequence[str] = CONTROLS
) -> Path:
    """Writes a SentencePiece model of at most `pieces` pieces, bytes and control tokens included.

    It is of the merging kind ("BPE"), as llama.cpp merges by score whatever the model was trained as; text
    is left as it is, to the last space. ModelError where the lines do not give that many pieces.
    """
    if pieces <= (smallest := _OTHERS + len(controls)):
        raise ModelError(f"{pieces} pieces are too few for a vocabulary", f"take more than {smallest}")
    model = io.BytesIO()
    try:
        SentencePieceTrainer.Train(
            sentence_iterator=(line.translate(_ANGLES) for line in lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=pieces,
            byte_fallback=True,
            character_coverage=1.0,
            split_digits=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            pad_id=0,
            eos_id=1,
            bos_id=2,
            unk_id=3,
            pad_piece=PAD,
            eos_piece=EOS,
            bos_piece=BOS,
            unk_piece=UNKNOWN,
            control_symbols=list(controls),
            user_defined_symbols=["\n"],
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        problem = f"no vocabulary of {pieces} pieces can be made ({error})"
        raise ModelError(problem, "give more lines") from error
    out.write_bytes(model.getvalue())
    return out


class MllmTokenizer:
    """A trained vocabulary: the ids that the device makes of the same parts, by SentencePiece itself."""

    def __init__(self, file: Path, picture_tokens: int = 16) -> None:
        """`picture_tokens` are the embeddings that one picture gives, without the two tokens around them."""
        self.file = file
        self._model = SentencePieceProcessor(model_file=str(file))
        ids = {name: self._model.PieceToId(name) for name in (PAD, EOS, BOS, *CONTROLS)}
        if self._model.unk_id() in ids.values():
            raise ModelError(f"{file} has no control tokens of ours", "make it with train_tokenizer")
        self.pad, self.eos, self.bos, self.end = ids[PAD], ids[EOS], ids[BOS], ids[END]
        self.unknown, self.picture = int(self._model.unk_id()), ids[PICTURE]
        self._whole_picture = [ids[BEGIN_PICTURE], *[self.picture] * picture_tokens, ids[END_PICTURE]]
        self._template = ChatTemplate(CHAT_TEMPLATE, BOS, EOS, True)

    def __len__(self) -> int:
        """Pieces."""
        return int(self._model.GetPieceSize())

    def parts(self, turns: Sequence[Turn]) -> list[Part]:
        """The parts of a prompt that ends where the answer begins, as the chat template gives them."""
        return self._template.parts(turns)

    def encode_parts(self, parts: Iterable[Part]) -> list[int]:
        """Token ids, each part on its own; a picture is its begin, its soft tokens and its end."""
        return [token for part in parts for token in self._encode(part)]

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Token ids of a prompt, up to where the answer begins."""
        return self.encode_parts(self.parts(turns))

    def answer(self, text: str) -> list[int]:
        """Token ids of an answer with its end: what the model is to say after a prompt."""
        return [*self.text(text), self.end]

    def text(self, text: str) -> list[int]:
        """Token ids of plain text, in which no control token counts."""
        ids: list[int] = self._model.EncodeAsIds(utf8(text).decode())
        return ids

    def covering(self, text: str, span: tuple[int, int], value: int) -> list[int]:
        """For every token of a plain text: `value` where it holds a part of text[begin:end], else 0."""
        begin, end = (len(utf8(text[:at])) for at in span)
        spread: list[int] = []
        at = 0
        for piece in self._model.EncodeAsPieces(utf8(text).decode()):
            after = at + (1 if _BYTE.fullmatch(piece) else len(piece.replace("\u2581", " ").encode()))
            spread.append(value if at < end and begin < after else 0)
            at = after
        return spread

    def decode(self, ids: Sequence[int]) -> str:
        """The text of plain ids; control tokens give nothing."""
        text: str = self._model.DecodeIds(list(ids))
        return text

    def _encode(self, part: Part) -> list[int]:
        if isinstance(part, Picture):
            return self._whole_picture
        return self._control(part.text) if isinstance(part, Control) else self.text(part.text)

    def _control(self, text: str) -> list[int]:
        """Words of the template: control tokens, and plain text between them."""
        ids: list[int] = []
        begin = 0
        for found in _SPECIAL.finditer(text):
            ids += [*self.text(text[begin : found.start()]), self._model.PieceToId(found.group())]
            begin = found.end()
        return ids + self.text(text[begin:])
