"""How each type of MLLM takes its pictures in torch, and pictures of a size that nobody has to resize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from kinsight.types import Floats

Feeds: TypeAlias = dict[str, Tensor]
"""Keyword -> tensor, as the model's `forward` and `get_image_features` take pictures."""


class Frame(NamedTuple):
    """A picture that no engine has to resize."""

    size_wh: tuple[int, int]  # pixels
    tokens: int  # that it takes


@dataclass(frozen=True)
class SeeingKind:
    """One type of model; `config` is that of the whole."""

    frame: Callable[[Any], Frame]
    feeds: Callable[[Any, Sequence[Floats]], Feeds]  # normalised (height, width, 3) each
    floor: int = 1  # tokens that a picture takes at least, whatever is asked


def _idefics3_tile(config: Any) -> Frame:
    vision = config.vision_config
    side = int(vision.image_size)
    return Frame((side, side), (side // vision.patch_size // config.scale_factor) ** 2)


def _gemma3_picture(config: Any) -> Frame:
    side = int(config.vision_config.image_size)
    return Frame((side, side), int(config.mm_tokens_per_image))


def _patches(columns: int, rows: int, unit: int) -> Frame:
    return Frame((columns * unit, rows * unit), columns * rows)


def _qwen_picture(config: Any) -> Frame:
    vision = config.vision_config
    return _patches(6, 4, vision.patch_size * vision.spatial_merge_size)


def _lfm2_picture(config: Any) -> Frame:
    return _patches(9, 8, config.vision_config.patch_size * config.downsample_factor)


def _stacked(pictures: Sequence[Floats]) -> Tensor:
    """float32 (n, 3, height, width)."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def _idefics3(config: Any, pictures: Sequence[Floats]) -> Feeds:
    del config
    return {"pixel_values": _stacked(pictures)[None]}


def _gemma3(config: Any, pictures: Sequence[Floats]) -> Feeds:
    del config
    return {"pixel_values": _stacked(pictures)}


def _qwen(config: Any, pictures: Sequence[Floats]) -> Feeds:
    """Patches in the order in which neighbours are merged, each picture twice in time."""
    vision = config.vision_config
    side, merge, times = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
    rows, grids = [], []
    for picture in pictures:
        high, wide = (length // side for length in picture.shape[:2])
        cells = picture.reshape(high // merge, merge, side, wide // merge, merge, side, 3)
        ordered = cells.transpose(0, 3, 1, 4, 6, 2, 5)  # (.., .., merge, merge, 3, side, side)
        flat = ordered.reshape(high * wide, 3, 1, side * side).repeat(times, axis=2)
        rows.append(flat.reshape(high * wide, -1))
        grids.append((1, high, wide))
    return {
        "pixel_values": torch.from_numpy(np.concatenate(rows)),
        "image_grid_thw": torch.tensor(grids),
    }


def _lfm2(config: Any, pictures: Sequence[Floats]) -> Feeds:
    side = config.vision_config.patch_size
    rows, shapes = [], []
    for picture in pictures:
        high, wide = (length // side for length in picture.shape[:2])
        cells = picture.reshape(high, side, wide, side, 3).transpose(0, 2, 1, 3, 4)
        rows.append(cells.reshape(high * wide, -1))
        shapes.append((high, wide))
    return {
        "pixel_values": torch.from_numpy(np.stack(rows)),
        "spatial_shapes": torch.tensor(shapes),
        "pixel_attention_mask": torch.ones(len(rows), len(rows[0]), dtype=torch.int64),
    }


_QWEN_FLOOR, _LFM2_FLOOR = 8, 64  # llama.cpp's, in tools/mtmd/clip.cpp
_QWEN = SeeingKind(_qwen_picture, _qwen, _QWEN_FLOOR)
_LFM2 = SeeingKind(_lfm2_picture, _lfm2, _LFM2_FLOOR)
_IDEFICS3 = SeeingKind(_idefics3_tile, _idefics3)
SEEING_KINDS: dict[str, SeeingKind] = {
    "idefics3": _IDEFICS3,
    "smolvlm": _IDEFICS3,
    "gemma3": SeeingKind(_gemma3_picture, _gemma3),
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": _QWEN,
    "lfm2_vl": _LFM2,
    "lfm2-vl": _LFM2,
}
"""By transformers' model type."""
