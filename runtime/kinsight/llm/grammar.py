"""Holds an answer to a JSON schema, token by token, with llama.cpp's grammar sampler."""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kinsight.errors import ModelError
from kinsight.llm.native import library
from kinsight.llm.vocabulary import Vocabulary
from kinsight.types import Floats

_MEND = "use the types, properties, required, enum, items and lengths of JSON Schema, without links"
_KEPT = {
    *("type", "const", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "required"),
    *("title", "description"),
}
_SCHEMA_INSIDE = {"items", "additionalProperties"}
_SCHEMAS_INSIDE = {"properties", "anyOf", "oneOf", "allOf", "prefixItems"}


class Grammar:
    """Where an answer stands in its schema; born at the beginning."""

    def __init__(self, words: Vocabulary, schema: Mapping[str, Any]) -> None:
        """ModelError where the schema cannot be turned into a grammar."""
        self._llama = library().llama
        rules = _rules(schema).encode()
        self._sampler = self._llama.llama_sampler_init_grammar(words.handle, rules, b"root")
        if not self._sampler:
            raise ModelError("the JSON schema makes no grammar", _MEND)
        self.close = weakref.finalize(self, self._llama.llama_sampler_free, self._sampler)

    def allows(self, token: int) -> bool:
        """Whether a token may come next; an end of the answer, too."""
        return bool(np.isfinite(self._apply(np.array([token]), np.zeros(1, np.float32))[0]))

    def allowed(self, logits: Floats) -> Floats:
        """The logits, float32 (vocabulary,), with -inf at whatever may not come next."""
        return self._apply(np.arange(len(logits)), logits)

    def accept(self, token: int) -> None:
        """Goes on after a token that was allowed."""
        self._llama.llama_sampler_accept(self._sampler, token)

    def _apply(self, ids: Any, logits: Floats) -> Floats:
        tokens = np.zeros(len(ids), np.dtype(self._llama.llama_token_data))
        tokens["id"], tokens["logit"] = ids, logits
        pointer = tokens.ctypes.data_as(ctypes.POINTER(self._llama.llama_token_data))
        array = self._llama.llama_token_data_array(pointer, len(ids), -1, False)
        self._llama.llama_sampler_apply(self._sampler, ctypes.byref(array))
        found: Floats = tokens["logit"].copy()
        return found


def _rules(schema: Mapping[str, Any]) -> str:
    """GBNF of a JSON schema, by llama-cpp-python's own converter, which fetches nothing."""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    if unkept := sorted(set(_unkept(schema))):
        raise ModelError(f"the JSON schema says {', '.join(unkept)}, which no grammar can keep", _MEND)
    try:
        return str(json_schema_to_gbnf(json.dumps(schema)))
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError, RecursionError) as error:
        raise ModelError(
            f"the JSON schema makes no grammar ({type(error).__name__}: {error})", _MEND
        ) from error


def _unkept(schema: Any) -> Iterator[str]:
    """Keywords that the converter would pass over without a word."""
    if not isinstance(schema, Mapping):
        return
    for key, value in schema.items():
        if key in _SCHEMA_INSIDE:
            yield from _unkept(value)
        elif key in _SCHEMAS_INSIDE:
            for inner in value.values() if isinstance(value, Mapping) else value:
                yield from _unkept(inner)
        elif key not in _KEPT:
            yield str(key)
