"""CLIP ViT-B/32 at its full size: both towers exported, the figures shown, a spoiled one refused."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import sabotage
import tiny_vision
from kinsight.embed import Embedder
from kinsight.errors import ParityError
from kinsight_export.cli import main
from kinsight_export.gate.embedder import judge_embedder
from kinsight_export.gate.pictures import scenes, smooth_pictures
from kinsight_export.parts import EmbedderSpec, read_part
from kinsight_export.sources.transformers_embedders import open_embedder
from kinsight_export.trial import WORKSTATION, embedder_part

pytestmark = pytest.mark.full_size

KIT = Path(os.environ.get("KINSIGHT_KIT") or Path(__file__).parents[2] / "shared" / "kit")


def test_clip_vit_b_32_is_what_its_checkpoint_is(tmp_path: Path) -> None:
    """Random weights of unit scale, the real vocabulary where the kit is at hand and else one of its size."""
    words = KIT / "weights" / "clip_tokenizer"
    if not words.is_dir():
        words = tiny_vision.clip_words(tmp_path / "words")
    checkpoint = tiny_vision.clip_b32(tmp_path / "clip-b32", words)
    with pytest.raises(SystemExit) as left:
        main(["embedder", str(checkpoint), "--out", str(tmp_path / "part")])
    assert not left.value.code
    part = read_part(tmp_path / "part")
    spec, figures = part.spec, part.parity["embedder"]
    assert isinstance(spec, EmbedderSpec) and spec.text
    assert (spec.dim, spec.preprocess.size_wh, spec.text.context) == (512, (224, 224), 77)
    assert sum(file.stat().st_size for file in (spec.image, spec.text.file)) > 600e6
    for name, limit in (("picture_vectors", 0.9999), ("word_vectors", 0.9999), ("picture_order", 0.99)):
        assert figures[name]["figure"] >= limit, name
    assert figures["tokens"]["figure"] == 1.0

    embedder = Embedder(embedder_part(spec), WORKSTATION)
    alike = embedder.images(smooth_pictures()) @ embedder.images(scenes(4)).T
    assert alike.max() < 0.99, "a control: other pictures have other vectors"
    told = embedder.texts(["a photo of a dog", "two red mugs"])
    assert float(told[0] @ told[1]) < 0.99, "a control: other words have other vectors"

    source = open_embedder(checkpoint, None, "MIT", stretch=False)
    spoiled = sabotage.zeroed(spec.image, tmp_path / "spoiled.onnx")
    report = judge_embedder(source, dataclasses.replace(spec, image=spoiled), scenes(4), "4 scenes")
    with pytest.raises(ParityError, match="a layer is lost"):
        report.require()
    assert np.isfinite(told).all()
    shutil.rmtree(tmp_path, ignore_errors=True)  # gigabytes
