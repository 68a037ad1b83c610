"""Whether the pocket model says in llama.cpp what it says in torch: tokens, pictures and logits compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from kinsight.llm import Part, Picture, Turn
from kinsight.types import Floats
from kinsight_export.mllm.device import Device
from kinsight_train.mllm.model import Mllm, MllmShape, Rows, picture_numbers
from kinsight_train.mllm.picture import preprocess
from kinsight_train.mllm.tokenizer import MllmTokenizer


@dataclass(frozen=True)
class Parity:
    """What a comparison of the two engines gave, over all prompts."""

    prompts: int
    same_tokens: int  # prompts that both engines read as the same tokens
    same_top: int  # prompts after which both engines put the same token first
    largest_difference: float  # of a logit, where the pictures are in order
    swapped_difference: float  # on the device, pictures turned round; the median over prompts; nan: none
    spread: float  # standard deviation of the logits in torch, to judge a difference by


def mllm_parity(
    model: Mllm, tokenizer: MllmTokenizer, device: Device, prompts: Sequence[Sequence[Turn]]
) -> Parity:
    """Compares the logits after every prompt; the control has the pictures of a prompt turned round."""
    ours = [torch_logits(model, tokenizer, turns) for turns in prompts]
    theirs = [device.logits(turns) for turns in prompts]
    tokens = [tokenizer.prompt(turns) == device.tokens(turns, tokenizer.picture) for turns in prompts]
    swaps = [
        _distance(logits, device.logits(other))
        for logits, turns in zip(theirs, prompts, strict=True)
        if (other := swapped(turns)) is not None
    ]
    pairs = list(zip(ours, theirs, strict=True))
    return Parity(
        prompts=len(pairs),
        same_tokens=sum(tokens),
        same_top=sum(int(one.argmax() == other.argmax()) for one, other in pairs),
        largest_difference=max(_distance(one, other) for one, other in pairs),
        swapped_difference=float(np.median(swaps)) if swaps else float("nan"),
        spread=float(np.std(np.concatenate(ours))),
    )


def torch_logits(model: Mllm, tokenizer: MllmTokenizer, turns: Sequence[Turn]) -> Floats:
    """float32 (vocabulary,): after a prompt, in torch."""
    rows = one_row(tokenizer, tokenizer.parts(turns), model.shape)
    last = torch.zeros_like(rows.tokens, dtype=torch.bool)
    last[0, -1] = True
    with torch.no_grad():
        logits: Floats = model.eval()(rows, last)[0].float().numpy()
    return logits


def one_row(tokenizer: MllmTokenizer, parts: Sequence[Part], shape: MllmShape) -> Rows:
    """A prompt as a row that is all prefix."""
    side = shape.picture_px
    tokens = torch.tensor([tokenizer.encode_parts(parts)])
    shown = [part.pixels for part in parts if isinstance(part, Picture)]
    pictures = [preprocess(pixels, side, shape.picture_tokens) for pixels in shown]
    stacked = np.stack(pictures) if pictures else np.zeros((0, 3, side, side), np.float32)
    soft = tokens == tokenizer.picture
    return Rows(
        tokens=tokens,
        positions=torch.arange(tokens.shape[1])[None],
        segment=torch.zeros_like(tokens),
        picture=picture_numbers(soft),
        pixels=torch.from_numpy(stacked),
    )


def swapped(turns: Sequence[Turn]) -> list[Turn] | None:
    """The same turns with their pictures in reverse; None where that changes nothing."""
    pictures = [part for turn in turns for part in turn.parts if isinstance(part, Picture)]
    if len(pictures) < 2:
        return None

    def other(turn: Turn) -> Turn:
        parts = (pictures.pop() if isinstance(part, Picture) else part for part in turn.parts)
        return replace(turn, parts=tuple(parts))

    return [other(turn) for turn in turns]


def _distance(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).max())
