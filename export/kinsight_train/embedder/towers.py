"""The towers of the pocket embedder: a convolutional net for crops, a small transformer for texts."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinsight_train.embedder.data import CONTEXT, PAD_ID

DIM = 256


class ImageTower(nn.Module):
    """float (n, 3, 96, 96) -> (n, DIM), not of unit length.

    Four pixels a side go into one cell at once, which is what makes it quick; from there on there is a cell
    for every 4, 8 and 16 pixels. The last map is read by several learned looks, so that a hat of two cells is
    not lost in the mean of all.
    """

    def __init__(self, widths: tuple[int, int, int] = (40, 80, 160), looks: int = 4) -> None:
        super().__init__()
        first, second, third = widths
        self.body = nn.Sequential(
            _convolution(3, first, side=8, stride=4, padding=2),
            nn.ReLU(),
            _Residual(first),
            _convolution(first, second, side=3, stride=2, padding=1),
            nn.ReLU(),
            _Residual(second),
            _Residual(second),
            _convolution(second, third, side=3, stride=2, padding=1),
            nn.ReLU(),
            _Residual(third),
        )
        self.looks = nn.Conv2d(third, looks, 1)
        self.out = nn.Linear(third * (looks + 1), DIM)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """The embeddings."""
        cells = self.body(pixel_values)  # (n, c, 6, 6)
        shares = self.looks(cells).flatten(2).softmax(dim=2)  # (n, looks, 36)
        cells = cells.flatten(2)  # (n, c, 36)
        seen = torch.matmul(shares, cells.transpose(1, 2)).flatten(1)  # (n, looks * c)
        embeds: Tensor = self.out(torch.cat([seen, cells.mean(dim=2)], dim=1))
        return embeds


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(width, width), nn.ReLU(), _convolution(width, width))

    def forward(self, cells: Tensor) -> Tensor:
        return torch.relu(cells + self.body(cells))


def _convolution(width: int, out: int, side: int = 3, stride: int = 1, padding: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width, out, side, stride, padding, bias=False), nn.BatchNorm2d(out))


class TextTower(nn.Module):
    """int64 (m, <= CONTEXT) token ids -> (m, DIM), not of unit length; padding counts for nothing."""

    def __init__(self, words: int, width: int = 128, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Parameter(torch.randn(CONTEXT, width) * 0.02)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, DIM)
        nn.init.normal_(self.words.weight, std=0.05)

    def forward(self, input_ids: Tensor) -> Tensor:
        """The embeddings, read at the first token, which begins every text."""
        hidden = self.words(input_ids) + self.places[: input_ids.shape[1]]
        mask = (input_ids == PAD_ID).to(hidden.dtype)[:, None, None, :] * -1e4  # (m, 1, 1, CONTEXT)
        for block in self.blocks:
            hidden = block(hidden, mask)
        embeds: Tensor = self.out(self.norm(hidden[:, 0]))
        return embeds


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.wide = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        width = hidden.shape[2]
        parts = self.qkv(self.before(hidden)).unflatten(2, (3, self.heads, width // self.heads))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (m, heads, CONTEXT, width / heads)
        scores = query @ key.transpose(2, 3) / math.sqrt(width // self.heads) + mask
        seen = (scores.softmax(dim=3) @ value).transpose(1, 2).flatten(2)
        hidden = hidden + self.joined(seen)
        mixed: Tensor = hidden + self.wide(self.between(hidden))
        return mixed


class Pair(nn.Module):
    """Both towers, and what only the training needs: the attribute heads and the scales of the losses."""

    def __init__(
        self, words: int, attributes: tuple[int, ...], widths: tuple[int, int, int] = (40, 80, 160)
    ) -> None:
        super().__init__()
        self.image = ImageTower(widths)
        self.text = TextTower(words)
        heads = [nn.Linear(DIM, values) for values in attributes]
        for head in heads:
            nn.init.normal_(head.weight, std=0.01)  # they are read at a large scale
        self.heads = nn.ModuleList(heads)
        self.text_scale = nn.Parameter(torch.tensor(math.log(12.0)))
        self.same_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.same_at = nn.Parameter(
            torch.tensor(0.5)
        )  # the cosine from which two crops count as one individual


def unit(vectors: Tensor) -> Tensor:
    """float32, each row of unit length."""
    return functional.normalize(vectors.float(), dim=1)
