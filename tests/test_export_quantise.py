"""Fewer bits: candidates made and measured, the fastest within the limits taken, the others refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import KeysView
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from identities import draw_identities
from kinsight.bundle import check_hashes, pocket_folder, read_bundle
from kinsight.drawn import draw_scene, individual
from kinsight.embed import Embedder
from kinsight.image import save
from kinsight.session import Session
from kinsight_export.cli import main
from kinsight_export.cli.quantise import _with
from kinsight_export.gate import Check, Report
from kinsight_export.gate.choice import Candidate, Choice
from kinsight_export.parts import rewrite, spec_of
from kinsight_export.quantise.candidates import make_candidates, name_as_it_is
from kinsight_export.quantise.choosing import Limits, _chosen, _Judge
from kinsight_export.quantise.seeing import Eyes, identities_changed, nearest
from kinsight_export.trial import WORKSTATION
from tiny import constant_tower, make_bundle
from tiny_detector import save_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny").folder


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A calibrated bundle of one's own."""
    return Path(shutil.copytree(made, tmp_path / "bundles" / "tiny"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_identities(tmp_path_factory.mktemp("photos") / "blobs", ["red", "green", "blue"])


def quantise(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main(["quantise", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_what_loses_too_much_is_refused_with_its_figures(
    own: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = read_bundle(own)
    code = quantise(
        own, photos, "--part", "embedder", "--least-cosine", "0.999999", "--plot", tmp_path / "out.png"
    )
    assert code == 0
    after = read_bundle(own)
    check_hashes(after)
    assert (after.detector, after.embedder) == (before.detector, before.embedder)
    rows = after.parity["embedder_candidates"]
    assert rows["fp32"]["verdict"] == "chosen"
    assert {"int8 static, min-max", "int8 static, percentile"} <= rows.keys()
    for name, row in rows.items():
        assert name == "fp32" or re.match(
            r"refused: (picture vectors, lowest cosine 0\.9|.* the time)", row["verdict"]
        )
    said = capfd.readouterr().out
    assert "The embedder stays as it is: nothing is faster and as good." in said
    assert (tmp_path / "out-embedder.png").is_file()


def test_what_is_within_the_limits_and_faster_takes_its_place(own: Path, photos: Path) -> None:
    before = read_bundle(own).embedder
    assert quantise(own, photos, "--part", "embedder", "--least-cosine", "0", "--max-changes", "99") == 0
    after = read_bundle(own)
    check_hashes(after)
    rows = after.parity["embedder_candidates"]
    chosen = next(name for name, row in rows.items() if row["verdict"] == "chosen")
    if chosen == "fp32":
        assert after.embedder.id == before.id and after.embedder.calibration == before.calibration
    else:
        assert after.embedder.id.startswith("tiny-1-int8") and after.embedder.calibration is None
        vectors = Embedder(after.embedder, WORKSTATION).images([np.zeros((20, 20, 3), np.uint8)])
        assert vectors.shape == (1, before.dim)
    assert "detector_candidates" not in after.parity


@pytest.mark.stress
def test_a_detector_is_judged_by_its_boxes(own: Path, photos: Path) -> None:
    assert quantise(own, photos, "--part", "detector") == 0
    after = read_bundle(own)
    check_hashes(after)
    rows = after.parity["detector_candidates"]
    assert rows["fp32"]["boxes"] == 1.0 and len(rows) >= 2
    assert sum(row["verdict"] == "chosen" for row in rows.values()) == 1
    assert after.embedder.calibration


@pytest.mark.parametrize("least", ["0.999999", "0"], ids=["refused", "within the limits"])
def test_a_text_tower_is_judged_by_its_words(own: Path, photos: Path, least: str) -> None:
    (own.parent / "colours.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")  # words that it knows
    spec = spec_of(own)
    detector = replace(spec.detector, labels=own.parent / "colours.txt")
    before = rewrite(replace(spec, detector=detector), own).embedder
    limits = ("--least-cosine", least, "--max-changes", "0" if least != "0" else "99")
    assert quantise(own, photos, "--part", "text", *limits) == 0
    after = read_bundle(own)
    check_hashes(after)
    rows = after.parity["text_candidates"]
    assert rows["fp32"]["words"] > 0.999999 and rows["fp32"]["best_words"] == 0
    smaller = rows["int8 dynamic, tables too"]
    assert 0.9 < smaller["words"] < 0.999999
    if least != "0":
        assert smaller["verdict"].startswith("refused: words, lowest cosine 0.9")
    # Vectors of pictures are as they were, so nobody has to be embedded or calibrated anew.
    assert (after.embedder.id, after.embedder.calibration) == (before.id, before.calibration)
    assert after.embedder.image == before.image
    assert after.embedder.text and after.embedder.text.file.read_bytes()
    changed = after.embedder.text.sha256 != (before.text and before.text.sha256)
    assert changed == (smaller["verdict"] == "chosen")
    assert Embedder(after.embedder, WORKSTATION).texts(["a red box"]).shape == (1, before.dim)


@pytest.mark.parametrize("part", ["detector", "embedder", "text"])
def test_what_was_chosen_takes_the_place_of_its_part_alone(own: Path, tmp_path: Path, part: str) -> None:
    """Only other vectors of pictures make the embedder another one, for which nothing is calibrated."""
    before, other = spec_of(own), tmp_path / "other.onnx"
    there, smaller = (
        Candidate(name, (file,), 1, 1, Report(part, "fp32", ()))
        for name, file in (("fp32", own / "image.onnx"), ("int8 static, min-max", other))
    )
    verdicts = ((there, "refused"), (smaller, "chosen"))
    assert _with(before, Choice(there, verdicts), part) == replace(
        before, parity={**before.parity, f"{part}_candidates": Choice(there, verdicts).table()}
    )
    after = _with(before, Choice(smaller, verdicts), part)
    wanted = {"detector": before.detector.file, "embedder": before.embedder.image}
    assert before.embedder.text and after.embedder.text
    wanted["text"] = before.embedder.text.file
    assert {
        "detector": after.detector.file,
        "embedder": after.embedder.image,
        "text": after.embedder.text.file,
    } == {**wanted, part: other}
    assert after.embedder.id == ("tiny-1-int8-static-min-max" if part == "embedder" else "tiny-1")


def words_tower(folder: Path) -> Path:
    """A table and two products of weights: what the text tower of a transformer is made of."""
    text = """words (int64[n, m] input_ids) => (float[n, 64] text_embeds) {
        rows = Gather (table, input_ids)
        wide = MatMul (rows, one)
        kept = Relu (wide)
        narrow = MatMul (kept, two)
        text_embeds = ReduceMean <axes = [1], keepdims = 0> (narrow)
    }"""
    rng = np.random.default_rng(2)
    shapes = {"table": (400, 64), "one": (64, 128), "two": (128, 64)}
    constants = {name: rng.normal(size=shape) / shape[0] ** 0.5 for name, shape in shapes.items()}
    return save_model(folder / "words.onnx", text, constants)


def test_a_transformer_has_candidates_of_its_own(tmp_path: Path) -> None:
    """Dynamic INT8 without and with the table, and weights alone: smaller, and nearly the same."""
    file, feeds = words_tower(tmp_path), [{"input_ids": np.arange(8, dtype=np.int64)[None]}]
    (wanted,) = Session(file, WORKSTATION).run(feeds[0]).values()
    sizes = {"fp32": file.stat().st_size}
    assert name_as_it_is(file) == "fp32"
    for name, made in make_candidates(file, feeds, tmp_path):
        (given,) = Session(made, WORKSTATION).run(feeds[0]).values()
        cosine = (given * wanted).sum() / np.linalg.norm(given) / np.linalg.norm(wanted)
        assert 0.98 < cosine < 0.999999, name
        assert name_as_it_is(made) == "as it is", name
        sizes[name] = made.stat().st_size
    assert list(sizes) == [
        "fp32",
        "int8 dynamic",
        "8-bit weights",
        "4-bit weights",
        "int8 dynamic, tables too",
    ]
    assert min(sizes, key=lambda name: sizes[name]) == "int8 dynamic, tables too"
    assert all(size < sizes["fp32"] for name, size in sizes.items() if name != "fp32")


class Seen(dict[str, Any]):
    """Feeds that count how often a session took them."""

    times = 0

    def keys(self) -> KeysView[str]:
        self.times += 1
        return super().keys()


def test_the_ranges_of_a_method_are_found_once(tmp_path: Path) -> None:
    """Min-max and percentiles each look at a picture once, whatever layers are left out then."""
    from onnxruntime.quantization import quantize_static

    if "calibration_cache_path" not in signature(quantize_static).parameters:
        pytest.skip("this ONNX Runtime keeps no ranges")
    layers = "".join(f"y{row} = Conv (x{row}, w)\nx{row + 1} = Relu (y{row})\n" for row in range(20))
    head = "net (float[1, 2, 8, 8] x0) => (float[1, 2, 8, 8] x20)"
    weights = np.random.default_rng(1).normal(size=(2, 2, 1, 1))
    file = save_model(tmp_path / "deep.onnx", f"{head} {{ {layers} }}", {"w": weights})
    rng = np.random.default_rng(2)
    feeds = [Seen(x0=rng.uniform(size=(1, 2, 8, 8)).astype(np.float32)) for _ in range(17)]
    names = [name for name, _ in make_candidates(file, feeds, tmp_path)]
    ways = ("min-max", "percentile", "all but the first", "all but the ends")
    assert names == [f"int8 static, {way}" for way in ways]
    assert [feed.times for feed in feeds[1:]] == [2] * 15 + [1]


def test_identities_that_change_are_counted(own: Path, photos: Path) -> None:
    eyes = Eyes.of(read_bundle(own), photos, lambda what, done, total: None)
    names = nearest(eyes.shots)
    assert names == [name for name in ("blue", "green", "red") for _ in range(3)]
    assert identities_changed(eyes.shots, eyes.again(eyes.bundle)) == (0, 9)
    swapped = [shot for shot in eyes.shots if shot.identity != "red"]
    others = [shot for shot in eyes.shots if shot.identity != "blue"]
    assert identities_changed(swapped, others)[0] > 0


@pytest.mark.parametrize(("changes", "kept"), [(1, False), (5, False), (6, True)])
def test_who_takes_one_for_another_is_refused(
    own: Path, photos: Path, tmp_path: Path, changes: int, kept: bool
) -> None:
    """A tower for which all pictures are alike: six of nine photos are the first identity's by that."""
    eyes = Eyes.of(read_bundle(own), photos, lambda what, done, total: None)
    blind = constant_tower(tmp_path / "blind.onnx", "float[n, 3, 32, 32] pixel_values")
    part = eyes.bundle.embedder
    files = [("fp32", part.image.file), ("blind", blind)]
    bundles = [
        replace(eyes.bundle, embedder=replace(part, image=replace(part.image, file=file)))
        for _, file in files
    ]
    limits = Limits(thorough=True) if changes == 1 else Limits(changes, thorough=True)
    judge = _Judge(eyes, limits, lambda bundle: Check("vectors", "", "lowest cosine", 1.0, 0.5, "at least"))
    feeds = {"pixel_values": np.zeros((1, 3, 32, 32), np.float32)}
    choice = _chosen("embedder", files, bundles, judge.checks, feeds)
    (same, _), (other, verdict) = choice.verdicts
    figures = [check.figure for each in (same, other) for check in each.report.checks[1:]]
    assert figures == [0, 6]
    assert bool(list(other.report.broken())) is not kept
    said = f"refused: identities, photos of which another is the nearest 6, must be at most {changes}"
    assert (verdict == said) is not kept and (choice.chosen is same or kept)


@pytest.mark.stress
def test_the_built_in_bundle_in_fewer_bits(tmp_path: Path) -> None:
    """Weights that were trained, on twelve drawn individuals: every candidate made, measured and judged."""
    rng, own = np.random.default_rng(11), tmp_path / "pocket"
    for number in range(12):
        one, folder = individual(rng), tmp_path / "photos" / f"{number:02}"
        folder.mkdir(parents=True)
        for row in range(4):
            save(draw_scene([one], rng).pixels, folder / f"{row}.png")
    shutil.copytree(pocket_folder() or "", own)
    assert quantise(own, tmp_path / "photos", "--thorough") == 0
    bundle = read_bundle(own)
    check_hashes(bundle)
    rows = {part: bundle.parity[f"{part}_candidates"] for part in ("detector", "embedder", "text")}
    assert rows["detector"]["int8 static, percentile"]["boxes"] > 0.95
    assert rows["embedder"]["int8 static, percentile"]["picture_vectors"] > 0.99
    assert rows["text"]["int8 dynamic"]["words"] > 0.99
    assert rows["text"]["4-bit weights"]["words"] < rows["text"]["8-bit weights"]["words"]
    for part, candidates in rows.items():
        (chosen,) = (row for row in candidates.values() if row["verdict"] == "chosen")
        assert chosen.get("identities", chosen.get("best_words")) <= 1, part
        assert chosen["milliseconds"] <= 1.03 * candidates["fp32"]["milliseconds"], part


def test_a_folder_without_identities(own: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert quantise(own, tmp_path / "gone") == 1
    assert "there is no folder" in capfd.readouterr().err
