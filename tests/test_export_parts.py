"""Bundles from loose parts: written whole or not at all, read back equal, given another calibration."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import loose_parts
from full_disk import files_up_to
from kinsight.bundle import Bundle, Calibration, Preprocess, check_hashes, read_bundle
from kinsight.bundle.place import put_in_place
from kinsight.errors import BundleError
from kinsight.tomlread import StrictToml
from kinsight.tomlwrite import toml_bytes
from kinsight_export.parts import (
    BundleSpec,
    DetectorSpec,
    EmbedderSpec,
    LlmSpec,
    TextSpec,
    read_part,
    rewrite_calibration,
    write_bundle,
    write_part,
)

CALIBRATION = Calibration(
    ((0.1, 0.0), (0.9, 1.0)), 0.8, 0.4, 0.1, 'the "drawn" world\\seed 7', gains=(0.05, 0.07)
)
PLAIN = (0.0, 0.0, 0.0)
LETTERBOX = Preprocess((416, 320), "bgr", 1.0, PLAIN, (1.0, 1.0, 1.0), "letterbox", "centre", 0)
STRETCH = Preprocess(
    (96, 96), "rgb", 1 / 255, (0.48145466, 0.4578275, 0.40821073), (0.1, 0.2, 0.3), "stretch"
)


@pytest.fixture
def spec(tmp_path: Path) -> BundleSpec:
    """Every part, from a folder of its own."""
    parts = loose_parts.make_parts(tmp_path / "parts")
    return BundleSpec(
        name="written",
        version="2",
        world="photos",
        licence="Apache-2.0",
        detector=DetectorSpec(parts / "detector.onnx", parts / "labels.txt", "yolov8", LETTERBOX, 0.2, 0.6),
        embedder=EmbedderSpec(
            id="e-1",
            dim=4,
            image=parts / "image.onnx",
            preprocess=STRETCH,
            text=TextSpec(parts / "text.onnx", parts / "tokenizer.json", 16),
            calibration=CALIBRATION,
        ),
        llm=LlmSpec(
            file=parts / "llm.gguf",
            sees="photo",
            context=512,
            max_references=2,
            stop=("\n\n", "<end_of_turn>"),
            smoke='It says "Lala".',
            mmproj=parts / "mmproj.gguf",
            image_max_tokens=64,
            licence="Gemma",
        ),
        parity={"max error": 1e-05, "compared": {"photos": 3, "same": True}},
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "place" / "bundle"


def bare(spec: BundleSpec) -> BundleSpec:
    """Without what may be left out."""
    embedder = dataclasses.replace(spec.embedder, text=None, calibration=None)
    return dataclasses.replace(spec, embedder=embedder, llm=None, parity={})


def without(bundle: Bundle, **embedder: Any) -> Bundle:
    return dataclasses.replace(bundle, embedder=dataclasses.replace(bundle.embedder, **embedder))


def test_every_part_is_where_the_spec_says(spec: BundleSpec, out: Path) -> None:
    bundle = write_bundle(spec, out)
    assert bundle == read_bundle(out)
    check_hashes(bundle)
    assert (bundle.folder, bundle.name, bundle.version, bundle.world) == (out, "written", "2", "photos")
    assert bundle.licence == "Apache-2.0" and bundle.parity == spec.parity
    assert bundle.detector.preprocess == LETTERBOX and bundle.detector.labels == ("dog", "coffee cup")
    assert (bundle.detector.head, bundle.detector.licence) == ("yolov8", "")
    assert (bundle.detector.score_threshold, bundle.detector.iou_threshold) == (0.2, 0.6)
    assert bundle.embedder.image.preprocess == STRETCH and bundle.embedder.calibration == CALIBRATION
    assert (bundle.embedder.id, bundle.embedder.dim) == ("e-1", 4)
    assert bundle.embedder.text is not None and bundle.embedder.text.context == 16
    assert bundle.llm is not None and (bundle.llm.sees, bundle.llm.licence) == ("photo", "Gemma")
    assert (bundle.llm.context, bundle.llm.max_references, bundle.llm.image_max_tokens) == (512, 2, 64)
    assert (bundle.llm.stop, bundle.llm.smoke) == (("\n\n", "<end_of_turn>"), 'It says "Lala".')
    sources = {file.name: file.read_bytes() for file in spec.detector.file.parent.iterdir()}
    copies = {file.name: file.read_bytes() for file in out.iterdir() if file.name != "bundle.toml"}
    assert copies == sources
    assert [file.name for file in out.parent.iterdir()] == ["bundle"]


def test_the_keys_have_the_order_of_the_contract(spec: BundleSpec, out: Path) -> None:
    def keys(path: Path) -> list[str]:
        return [line.split(" ")[0] for line in path.read_text(encoding="utf-8").splitlines() if line]

    example = loose_parts.make_bundle(out.parent / "example")
    plain = dataclasses.replace(spec, parity={"detector_max_error": 1})
    assert plain.llm is not None
    plain = dataclasses.replace(plain, llm=dataclasses.replace(plain.llm, licence=None))
    write_bundle(plain, out)
    assert keys(out / "bundle.toml") == keys(example / "bundle.toml")


def test_what_may_be_left_out(spec: BundleSpec, out: Path) -> None:
    bundle = write_bundle(bare(spec), out)
    assert (bundle.llm, bundle.embedder.text, bundle.embedder.calibration) == (None, None, None)
    assert sorted(file.name for file in out.iterdir()) == [
        "bundle.toml", "detector.onnx", "image.onnx", "labels.txt"
    ]  # fmt: skip


def test_a_linked_source_is_copied(spec: BundleSpec, out: Path) -> None:
    link = spec.detector.file.with_name("link.onnx")
    link.symlink_to(spec.detector.file)
    linked = dataclasses.replace(spec, detector=dataclasses.replace(spec.detector, file=link))
    assert not write_bundle(linked, out).detector.file.is_symlink()


def missing(spec: BundleSpec) -> BundleSpec:
    assert spec.llm is not None and spec.llm.mmproj is not None
    spec.llm.mmproj.unlink()
    return spec


def a_folder(spec: BundleSpec) -> BundleSpec:
    return dataclasses.replace(
        spec, detector=dataclasses.replace(spec.detector, labels=spec.detector.file.parent)
    )


def against_the_contract(spec: BundleSpec) -> BundleSpec:
    return dataclasses.replace(spec, embedder=dataclasses.replace(spec.embedder, dim=0))


def no_onnx(spec: BundleSpec) -> BundleSpec:
    spec.embedder.image.write_bytes(b"<html>")
    return spec


def no_unicode(spec: BundleSpec) -> BundleSpec:
    return dataclasses.replace(spec, licence=os.fsdecode(b"\xff"))


FAILURES: list[tuple[Callable[[BundleSpec], BundleSpec], str]] = [
    (missing, "there is no file .*mmproj.gguf: check the path"),
    (a_folder, "there is no file .*parts: check the path"),
    (against_the_contract, r"'embedder.dim' is 0 in .*place/bundle/bundle.toml: it must be a whole number"),
    (no_onnx, r"place/bundle/image.onnx is not a whole ONNX model: "),
    (no_unicode, "bundle.toml is not Unicode .*: write it in UTF-8"),
]


@pytest.mark.parametrize(("damage", "message"), FAILURES, ids=[row[0].__name__ for row in FAILURES])
def test_a_failure_leaves_nothing_behind(
    spec: BundleSpec, out: Path, damage: Callable[[BundleSpec], BundleSpec], message: str
) -> None:
    damaged = damage(spec)
    with pytest.raises(BundleError, match=message):
        write_bundle(damaged, out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("size", [0, 100, 700], ids=["first file", "a model", "bundle.toml"])
def test_a_full_disk_leaves_the_old_bundle_and_nothing_else(spec: BundleSpec, out: Path, size: int) -> None:
    old = write_bundle(bare(spec), out)
    with files_up_to(size), pytest.raises(BundleError, match=r"bundle cannot be written .*: make the folder"):
        write_bundle(spec, out, replace=True)
    assert list(out.parent.iterdir()) == [out] and read_bundle(out) == old


def test_the_old_bundle_comes_back_where_the_new_one_cannot_take_its_place(
    spec: BundleSpec, out: Path
) -> None:
    old = write_bundle(spec, out)
    with pytest.raises(FileNotFoundError):
        put_in_place(out.with_name("gone"), out)
    assert list(out.parent.iterdir()) == [out] and read_bundle(out) == old


def test_a_place_that_cannot_be_written(spec: BundleSpec) -> None:
    with pytest.raises(
        BundleError, match=r"labels.txt/bundle cannot be written .*: make the folder writable"
    ):
        write_bundle(spec, spec.detector.labels / "bundle")


def test_a_taken_place_is_refused(spec: BundleSpec, out: Path) -> None:
    out.mkdir(parents=True)
    first = write_bundle(bare(spec), out)  # an empty folder is free
    with pytest.raises(BundleError, match=r"place/bundle is there already.*, or pass --replace"):
        write_bundle(spec, out)
    assert read_bundle(out) == first
    assert write_bundle(spec, out, replace=True).llm is not None
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("replace", [True, False])
def test_what_is_no_bundle_is_never_replaced(spec: BundleSpec, out: Path, replace: bool) -> None:
    out.mkdir(parents=True)
    (out / "diary.txt").write_text("kept")
    with pytest.raises(BundleError, match=r"is there already and not empty: choose another folder$"):
        write_bundle(spec, out, replace)
    with pytest.raises(BundleError, match=r"diary.txt is not a folder: choose another"):
        write_bundle(spec, out / "diary.txt", replace)
    assert [file.name for file in out.iterdir()] == ["diary.txt"]
    assert [file.name for file in out.parent.iterdir()] == ["bundle"]


def test_a_bundle_can_be_replaced_from_its_own_files(spec: BundleSpec, out: Path) -> None:
    first = write_bundle(spec, out)
    detector = dataclasses.replace(spec.detector, file=out / "detector.onnx", labels=out / "labels.txt")
    assert write_bundle(dataclasses.replace(spec, detector=detector), out, replace=True) == first


@pytest.mark.parametrize("kind", ["detector", "embedder", "llm"])
def test_a_part_in_a_folder_of_its_own(spec: BundleSpec, out: Path, kind: str) -> None:
    wanted = getattr(spec, kind)
    part = write_part(wanted, {kind: {"source": "made by hand"}}, out)
    assert part == read_part(out) and part.parity == {kind: {"source": "made by hand"}}
    fields = {field.name for field in dataclasses.fields(wanted)}
    for name in fields - {"file", "labels", "image", "text", "mmproj", "calibration"}:
        assert getattr(part.spec, name) == getattr(wanted, name)
    again = write_part(part.spec, part.parity, out, replace=True)  # from its own files
    assert again == part
    with pytest.raises(BundleError, match=r"is there already and not empty: .*, or pass --replace"):
        write_part(wanted, {}, out)


def test_a_damaged_part_is_refused(spec: BundleSpec, out: Path) -> None:
    write_part(spec.detector, {}, out)
    whole = (out / "detector.onnx").read_bytes()
    (out / "detector.onnx").write_bytes(whole[:-1] + b"?")
    with pytest.raises(BundleError, match=r"detector.onnx is damaged: its hash is not that of part.toml"):
        read_part(out)
    (out / "detector.onnx").write_bytes(whole)
    toml = (out / "part.toml").read_text(encoding="utf-8")
    (out / "part.toml").write_text(toml.replace("[detector]", "[part.detector]"), encoding="utf-8")
    with pytest.raises(BundleError, match=r"'part.detector' is not known"):
        read_part(out)
    (out / "part.toml").write_text("[part]\nformat = 1\n", encoding="utf-8")
    with pytest.raises(BundleError, match=r"part.toml holds 0 parts: write one part a folder"):
        read_part(out)
    with pytest.raises(BundleError, match=r"is not a part, it has no part.toml"):
        read_part(out.parent)


@pytest.mark.parametrize("thin", [bare, lambda spec: spec], ids=["new", "other"])
def test_another_calibration_changes_nothing_else(
    spec: BundleSpec, out: Path, thin: Callable[[BundleSpec], BundleSpec]
) -> None:
    before = write_bundle(thin(spec), out)
    files = {file: file.read_bytes() for file in out.iterdir() if file.name != "bundle.toml"}
    (out / "bundle.toml").chmod(0o640)
    calibration = dataclasses.replace(CALIBRATION, accept_probability=0.95)
    after = rewrite_calibration(out, calibration)
    assert after == read_bundle(out) == without(before, calibration=calibration)
    assert (out / "bundle.toml").stat().st_mode & 0o777 == 0o640
    assert {file: file.read_bytes() for file in out.iterdir() if file.name != "bundle.toml"} == files
    again = (out / "bundle.toml").read_bytes()
    assert rewrite_calibration(out, calibration) == after
    assert (out / "bundle.toml").read_bytes() == again


def test_a_calibration_of_numpy_numbers(spec: BundleSpec, out: Path) -> None:
    write_bundle(spec, out)
    curve = tuple((x, y) for x, y in np.array([[0.25, 0.0], [0.5, 1.0]], np.float32))
    after = rewrite_calibration(out, Calibration(curve, np.float64(0.75), np.float32(0.5), 0, "NumPy"))
    assert after.embedder.calibration == Calibration(((0.25, 0.0), (0.5, 1.0)), 0.75, 0.5, 0.0, "NumPy")


def test_a_calibration_against_the_contract_changes_nothing(spec: BundleSpec, out: Path) -> None:
    before = write_bundle(spec, out)
    for wrong in ({"accept_probability": 0.3}, {"curve": ((0.5, 0.5),)}, {"fitted_on": ""}):
        with pytest.raises(BundleError, match=r"'embedder.calibration.\w+' is"):
            rewrite_calibration(out, dataclasses.replace(CALIBRATION, **wrong))
    with files_up_to(100), pytest.raises(BundleError, match=r"bundle.toml cannot be written"):
        rewrite_calibration(out, dataclasses.replace(CALIBRATION, margin=0.2))
    assert read_bundle(out) == before
    assert not [file for file in out.iterdir() if file.name.startswith(".")]


def test_a_calibration_for_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        rewrite_calibration(tmp_path, CALIBRATION)


def read_back(tables: dict[str, Any]) -> Any:
    return StrictToml.parse(Path("written.toml"), toml_bytes(tables), BundleError).raw


VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.dates(date(1, 1, 1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_all_toml_comes_back(tables: dict[str, Any]) -> None:
    assert read_back(tables) == tables


def test_what_has_no_toml_is_refused() -> None:
    assert read_back({"left": None, "out": {"too": None}}) == {"out": {}}
    with pytest.raises(TypeError, match="ndarray has no TOML"):
        toml_bytes({"x": np.zeros(3)})
