"""Where the language model has to look to copy a name or a note word by word, while it learns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kinsight_train.loop import Losses
from kinsight_train.mllm.model import Mllm, Rows

BEFORE = (0, 2), (1, 2)
"""(layer, head) that look at the token before, one after the other: a place then knows the two before it."""
COPY = 3, 2
"""(layer, head) that looks at what is to be said next: the token that once came after the same two."""


def losses(model: Mllm, states: Sequence[Tensor], rows: Rows, wanted: Tensor, labels: Tensor) -> Losses:
    """Minus the log of the attention that these heads have where it belongs

    They are induction heads (Olsson et al., 2022).

    `states` are as `Mllm.states` gives them; `wanted`, bool (rows, length), are the places whose next token,
    `labels`, int64 (rows, length), is learned. No "copies" where nothing that is to be said was read before.
    """
    mask = rows.mask()
    text = (rows.picture == 0) & (rows.segment >= 0) & (rows.positions > 0)
    earlier = rows.positions[:, None, :] == rows.positions[:, :, None] - 1
    at_before = (earlier & mask[:, 0])[text]
    found = [
        -_on(model.attention(states[at[0]], rows.positions, mask, at)[text], at_before).mean()
        for at in BEFORE
    ]
    told: Losses = {"before": torch.stack(found).mean()}
    said = _said_before(rows, wanted, labels, mask[:, 0])
    known = said.any(-1)
    if known.any():
        scores = model.attention(states[COPY[0]], rows.positions, mask, COPY)[wanted]
        told["copies"] = -_on(scores[known], said[known]).mean()
    return told


def _said_before(rows: Rows, wanted: Tensor, labels: Tensor, seen: Tensor) -> Tensor:
    """bool (wanted places, length): where the next token stands after the same two tokens, or one."""
    row, place = wanted.nonzero(as_tuple=True)
    tokens = rows.tokens
    one, two = tokens.roll(1, 1), tokens.roll(2, 1)
    one[:, :1] = two[:, :2] = -1
    next_one = (tokens[row] == labels[wanted][:, None]) & seen[row, place]
    after_one = next_one & (one[row] == tokens[wanted][:, None])
    after_two = after_one & (two[row] == one[wanted][:, None])
    return torch.where(after_two.any(-1, keepdim=True), after_two, after_one)


def _on(scores: Tensor, target: Tensor) -> Tensor:
    """Log of the attention, float (places, length), that falls on the target, which no place may lack."""
    return scores.masked_fill(~target, float("-inf")).logsumexp(-1)
