"""A bare llama.cpp decode loop on a model that is loaded already: what the engine is held against."""

from __future__ import annotations

import ctypes
import time

import numpy as np

from kinsight.llm.context import Context
from kinsight.llm.model import Model
from kinsight.llm.native import failure, library
from kinsight.llm.spans import Prompt
from kinsight.llm.stream import Tally


def bare_decode(model: Model, context: Context, prompt: Prompt, tokens: int) -> float:
    """Seconds for a token, over so many after a prompt: decode, greedy choice, and nothing else.

    What was read is forgotten. Raises ModelError where the prompt cannot be read or the model stops.
    """
    llama = library().llama
    context.read(prompt, Tally())
    token = ctypes.c_int32(int(np.argmax(model.logits())))
    count = len(model.vocabulary)
    begun = time.perf_counter()
    for _ in range(tokens):
        if llama.llama_decode(model.context, llama.llama_batch_get_one(ctypes.pointer(token), 1)) != 0:
            raise failure("the language model stopped", "choose a smaller bundle")
        logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(model.context, -1), shape=(count,))
        token.value = int(np.argmax(logits))
    taken = time.perf_counter() - begun
    context.clear()
    return taken / tokens
