"""Makes ONNX parts of source models, and has the gate judge them before anybody gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kinsight.errors import ModelError
from kinsight.types import Pixels
from kinsight_export.adopted import Thresholds
from kinsight_export.gate import Report
from kinsight_export.parts import DetectorSpec, EmbedderSpec, TextSpec
from kinsight_export.room import check_room

if TYPE_CHECKING:
    from torch import nn

    from kinsight_export.sources import DetectorSource, EmbedderSource

_MOST_BYTES = 2_000_000_000  # of one ONNX file: what a protobuf message can hold
_COPIES = 3  # of the weights that lie in memory while a graph is traced, folded and written


@dataclass(frozen=True, eq=False)
class Pictures:
    """On what a part is compared."""

    pixels: Sequence[Pixels]
    words: str  # what they are


def make_detector(
    source: DetectorSource, scratch: Path, thresholds: Thresholds, pictures: Pictures
) -> tuple[DetectorSpec, Report]:
    """(the part, its files in `scratch`; the gate's report, which may be bad). ModelError where it fails."""
    import torch

    from kinsight_export.gate.detector import judge_detector
    from kinsight_export.onnx_file import Names, export_onnx

    check_size([source.module], scratch)
    width, height = source.rule.size_wh
    file, labels, vectors = (scratch / name for name in ("detector.onnx", "labels.txt", "classes.npy"))
    names, example = Names(("images",), source.outputs), [torch.zeros(1, 3, height, width)]
    if source.classes:
        np.save(vectors, source.classes.vectors)
        free = {"classes": {1: "n"}, source.outputs[0]: {1: "m"}}
        names = Names(("images", "classes"), source.outputs, free)
        example.append(torch.from_numpy(source.classes.vectors)[None])
    export_onnx(source.module, tuple(example), file, names, dynamic_batch=False)
    labels.write_text("\n".join(source.labels) + "\n", encoding="utf-8")
    spec = DetectorSpec(
        file,
        labels,
        source.head,
        source.rule,
        thresholds.score,
        thresholds.iou,
        source.licence,
        vectors if source.classes else None,
    )
    return spec, judge_detector(source, spec, pictures.pixels, pictures.words)


def make_embedder(source: EmbedderSource, scratch: Path, pictures: Pictures) -> tuple[EmbedderSpec, Report]:
    """(the part, its files in `scratch`; the gate's report, which may be bad). ModelError where it fails."""
    from kinsight_export.gate.embedder import judge_embedder

    check_size([source.image, *([source.text.module] if source.text else [])], scratch)
    image, text = scratch / "image.onnx", None
    source.write(image)
    if source.text:
        text = TextSpec(scratch / "text.onnx", scratch / "tokenizer.json", source.text.context)
        source.text.write(text.file)
        source.text.save(text.tokenizer)
    spec = EmbedderSpec(source.id, source.dim, image, source.rule, text, licence=source.licence)
    return spec, judge_embedder(source, spec, pictures.pixels, pictures.words)


def check_size(modules: Sequence[nn.Module], folder: Path) -> None:
    """ModelError where the disk or the memory has no room for an export, or ONNX none for so many weights."""
    sizes = [sum(p.numel() * p.element_size() for p in module.state_dict().values()) for module in modules]
    if max(sizes) > _MOST_BYTES:
        gigabytes = f"{max(sizes) / 1e9:.1f} GB"
        raise ModelError(
            f"its weights are {gigabytes}, and one ONNX file holds no more than {_MOST_BYTES / 1e9:.1f} GB",
            "use a smaller model",
        )
    check_room("an export", folder, 2 * sum(sizes), _COPIES * max(sizes))
