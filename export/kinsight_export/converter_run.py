"""Runs llama.cpp's converters in a process of its own, and names vocabularies that they do not know."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """FOLDER PRETOKENIZER JSON; PRETOKENIZER may be empty, JSON is a list of scripts with their arguments.

    The converter recognises a byte-level vocabulary by a hash over a text, and refuses one that was
    changed. Here it is told by name; whether that name was right is what the gate's token check says.
    """
    folder, pretokenizer, jobs = sys.argv[1:]
    sys.path.insert(0, folder)
    if pretokenizer:
        _teach(pretokenizer)
    for words in json.loads(jobs):
        sys.argv = words
        runpy.run_path(str(Path(folder) / words[0]), run_name="__main__")


def _teach(pretokenizer: str) -> None:
    known = importlib.import_module("conversion.base").TextModel
    by_hash = known.get_vocab_base_pre

    def named(model: Any, tokenizer: Any) -> str:
        try:
            return str(by_hash(model, tokenizer))
        except NotImplementedError:
            return pretokenizer

    known.get_vocab_base_pre = named


if __name__ == "__main__":
    main()
