"""Which cell is to box which thing, and the losses of boxes, presence and kinds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinsight_train.detector.network import STRIDES
from kinsight_train.detector.scenes import Pictures
from kinsight_train.loop import Losses

_CELLS_A_THING = 8
_REACH = 2.5  # strides from a thing's centre in which its cells lie
_BOX, _THERE, _KIND = 2.0, 1.0, 1.0  # weights of the losses


def losses(module: nn.Module, batch: Pictures) -> Losses:
    """Of boxes (generalised IoU), of whether there is a thing (its box's quality), and of kinds."""
    place = next(module.parameters()).device
    pixels, xyxy, kinds = (torch.from_numpy(array).to(place) for array in batch)
    raw = module(pixels.float() / 255)
    with torch.autocast(place.type, enabled=False):
        raw = raw.float()
        boxes = decode(raw, pixels.shape[-1])
        with torch.no_grad():
            quality, owner = assign(boxes, xyxy, kinds)
        picture, cell = quality.nonzero(as_tuple=True)
        thing = owner[picture, cell]
        weight, total = quality[picture, cell], quality.sum().clamp(min=1)
        overlap = pair_iou(boxes[picture, cell], xyxy[picture, thing], generalised=True)
        there = functional.binary_cross_entropy_with_logits(raw[..., 4], quality, reduction="sum")
        kind = functional.cross_entropy(raw[picture, cell, 5:], kinds[picture, thing], reduction="none")
        return {
            "box": _BOX * ((1 - overlap) * weight).sum() / total,
            "there": _THERE * there / total,
            "kind": _KIND * (kind * weight).sum() / total,
        }


def cells(size: int, place: torch.device) -> tuple[Tensor, Tensor]:
    """Corners (n, 2) in cells and strides (n, 1) in pixels, in the order of the runtime's `_grid`."""
    corners, strides = [], []
    for stride in STRIDES:
        side = torch.arange(size // stride, device=place, dtype=torch.float32)
        y, x = torch.meshgrid(side, side, indexing="ij")
        corners.append(torch.stack([x, y], -1).reshape(-1, 2))
        strides.append(torch.full((len(side) ** 2, 1), float(stride), device=place))
    return torch.cat(corners), torch.cat(strides)


def decode(raw: Tensor, size: int) -> Tensor:
    """(b, n, 5 + kinds) -> corners (b, n, 4), input pixels."""
    corners, strides = cells(size, raw.device)
    centre = (raw[..., :2] + corners) * strides
    half = raw[..., 2:4].clamp(max=6).exp() * strides / 2
    return torch.cat([centre - half, centre + half], -1)


def assign(boxes: Tensor, xyxy: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """The quality (b, n) that each cell should claim, 0 for none, and the thing (b, n) that it should box.

    The best boxes near the middle of each thing, after arXiv 2108.07755 but by the box alone: chosen by kind
    too, only cells that know the kind already were taught it (91 % right there, 66 % where it counted). The
    best should claim its IoU, the others less in proportion. A cell that several want takes the closest.
    """
    size = round((boxes.shape[1] / sum(stride**-2 for stride in STRIDES)) ** 0.5)
    corners, strides = cells(size, boxes.device)
    centre = (corners + 0.5) * strides  # (n, 2)
    low, high = xyxy[:, :, None, :2], xyxy[:, :, None, 2:]
    near = (centre - (low + high) / 2).abs() < _REACH * strides
    possible = (near & (centre > low) & (centre < high)).all(-1) & (kinds >= 0)[..., None]  # (b, things, n)
    overlap = pair_iou(boxes[:, None], xyxy[:, :, None]) * possible
    merit = overlap**3
    best, rows = merit.topk(_CELLS_A_THING, -1)
    merit = torch.zeros_like(merit).scatter(-1, rows, best)
    share = merit / merit.amax(-1, keepdim=True).clamp(min=1e-12) * overlap.amax(-1, keepdim=True)
    owner = (overlap * (merit > 0)).argmax(1, keepdim=True)
    return share.gather(1, owner)[:, 0], owner[:, 0]


def pair_iou(ours: Tensor, theirs: Tensor, generalised: bool = False) -> Tensor:
    """IoU of pairs of corners (..., 4), or generalised IoU (arXiv 1902.09630)."""
    low, high = torch.maximum(ours[..., :2], theirs[..., :2]), torch.minimum(ours[..., 2:], theirs[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    either = _area(ours) + _area(theirs) - both
    share = both / either.clamp(min=1e-6)
    if not generalised:
        return share
    low, high = torch.minimum(ours[..., :2], theirs[..., :2]), torch.maximum(ours[..., 2:], theirs[..., 2:])
    hull = (high - low).prod(-1).clamp(min=1e-6)
    return share - (hull - either) / hull


def _area(xyxy: Tensor) -> Tensor:
    return (xyxy[..., 2:] - xyxy[..., :2]).prod(-1)
