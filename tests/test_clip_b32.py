"""CLIP ViT-B/32 at its full size: both towers exported, the figures shown, a spoiled one refused."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import sabotage
import tiny_vision
from identities import draw_identities
from kinsight.bundle import read_bundle
from kinsight.embed import Embedder
from kinsight.errors import ParityError
from kinsight_export.cli import main
from kinsight_export.gate.embedder import judge_embedder
from kinsight_export.gate.pictures import scenes, smooth_pictures
from kinsight_export.parts import EmbedderSpec, read_part, spec_of, write_bundle
from kinsight_export.sources.transformers_embedders import open_embedder
from kinsight_export.trial import WORKSTATION, embedder_part
from tiny import make_bundle

pytestmark = pytest.mark.full_size

KIT = Path(os.environ.get("KINSIGHT_KIT") or Path(__file__).parents[2] / "shared" / "kit")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Its checkpoint and its part: random weights of unit scale, and the real vocabulary where the kit is at
    hand, else one of its size."""
    folder = tmp_path_factory.mktemp("clip")
    words = KIT / "weights" / "clip_tokenizer"
    if not words.is_dir():
        words = tiny_vision.clip_words(folder / "words")
    checkpoint = tiny_vision.clip_b32(folder / "clip-b32", words)
    with pytest.raises(SystemExit) as left:
        main(["embedder", str(checkpoint), "--out", str(folder / "part")])
    assert not left.value.code
    yield checkpoint, folder / "part"
    shutil.rmtree(folder, ignore_errors=True)  # gigabytes


def test_clip_vit_b_32_is_what_its_checkpoint_is(exported: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, folder = exported
    part = read_part(folder)
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


def test_both_towers_in_fewer_bits(exported: tuple[Path, Path], tmp_path: Path) -> None:
    """Every candidate of a transformer is made, measured and judged; the tables are shown."""
    spec = read_part(exported[1]).spec
    assert isinstance(spec, EmbedderSpec)
    small = spec_of(make_bundle(tmp_path / "small", calibrated=False).folder)
    bundle = write_bundle(dataclasses.replace(small, embedder=spec), tmp_path / "bundle")
    photos = draw_identities(tmp_path / "photos", ["red", "green", "blue"], photos=3)
    for part, more in (("embedder", set()), ("text", {"int8 dynamic, tables too"})):
        with pytest.raises(SystemExit) as left:
            main(["quantise", str(bundle.folder), str(photos), "--part", part])
        assert not left.value.code
        rows = read_bundle(bundle.folder).parity[f"{part}_candidates"]
        assert rows.keys() == {"fp32", "int8 dynamic", "8-bit weights", "4-bit weights"} | more
        chosen = next(row for row in rows.values() if row["verdict"] == "chosen")
        assert chosen["milliseconds"] <= 1.03 * rows["fp32"]["milliseconds"]
        assert rows["8-bit weights"]["megabytes"] < 0.6 * rows["fp32"]["megabytes"]
        for row in rows.values():
            assert row["verdict"] == "chosen" or row["verdict"].startswith("refused: ")
