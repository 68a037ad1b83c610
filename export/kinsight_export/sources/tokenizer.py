"""The tokenizer of a checkpoint, and the tokenizer.json that the device reads in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinsight.errors import ModelError

_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""


@dataclass(frozen=True)
class CheckpointTokenizer:
    """Both sides of one tokenizer."""

    own: Any  # as transformers has it
    fast: Any  # of the package tokenizers, with its padding
    small: bool = False  # whether capitals are made small before `own` reads them; `fast` does it itself

    def ids(self, texts: Sequence[str], context: int) -> NDArray[np.int64]:
        """n texts -> int64 (n, context), as transformers reads them."""
        read = [text.lower() for text in texts] if self.small else list(texts)
        encoded = self.own(read, padding="max_length", truncation=True, max_length=context)
        return np.asarray(encoded["input_ids"], np.int64)

    def save(self, path: Path) -> None:
        """Writes tokenizer.json."""
        self.fast.save(str(path))


def own_tokenizer(folder: Path, fast: bool = True) -> Any:
    """A checkpoint's tokenizer as transformers has it. ModelError where there is none that can be read."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, use_fast=fast)
    except Exception as error:  # tokenizers raises the base class itself
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{folder} has no tokenizer that can be read ({reason})", "copy its files from the checkpoint"
        ) from error


def open_tokenizer(folder: Path) -> CheckpointTokenizer:
    """A checkpoint's tokenizer. ModelError where there is none, or none that tokenizers can do.

    SigLIP2 learnt its words in small letters (arXiv 2502.14786), but its checkpoints name Gemma's tokenizer,
    which leaves capitals as they are.
    """
    from tokenizers import Tokenizer, normalizers

    own = own_tokenizer(folder)
    fast = Tokenizer.from_str(own.backend_tokenizer.to_str()) if own.is_fast else _converted(own, folder)
    small = type(own).__name__.startswith("Gemma")
    if small:
        first = [fast.normalizer] if fast.normalizer else []
        fast.normalizer = normalizers.Sequence([normalizers.Lowercase(), *first])
    fast.no_truncation()
    fast.enable_padding(pad_id=own.pad_token_id or 0, pad_token=own.pad_token or "!")
    return CheckpointTokenizer(own, fast, small)


def _converted(own: Any, folder: Path) -> Any:
    """A SentencePiece tokenizer made fast; SigLIP's drops punctuation and capitals first."""
    from tokenizers import Regex, normalizers, processors
    from transformers.convert_slow_tokenizer import SpmConverter, convert_slow_tokenizer

    class Siglip(SpmConverter):
        """transformers has no converter for it."""

        def post_processor(self) -> Any:
            """Text, then the end token."""
            end = own.eos_token
            return processors.TemplateProcessing(["$A", end], special_tokens=[(end, own.eos_token_id)])

    try:
        if type(own).__name__ != "SiglipTokenizer":
            return convert_slow_tokenizer(own)
        fast = Siglip(own).converted()
    except (ValueError, KeyError, AttributeError, ImportError) as error:
        raise ModelError(
            f"the tokenizer of {folder} cannot be had as tokenizer.json ({error})",
            "use a checkpoint that has one",
        ) from None
    first: list[normalizers.Normalizer] = [
        normalizers.Replace(Regex(_PUNCTUATION), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
    ]
    if own.do_lower_case:
        first.append(normalizers.Lowercase())
    fast.normalizer = normalizers.Sequence([*first, normalizers.Strip(), fast.normalizer])
    return fast
