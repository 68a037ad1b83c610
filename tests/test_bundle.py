"""The contract of a bundle: what is read, what is refused, hashes, stamps, and which bundle is taken."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import loose_parts
from kinsight.bundle import Preprocess, check_hashes, find_bundle, read_bundle, verify_bundle
from kinsight.bundle.files import check_onnx
from kinsight.errors import BundleError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return loose_parts.make_bundle(tmp_path / "bundle")


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(folder: Path, old: str, new: str) -> None:
    toml = folder / "bundle.toml"
    before = toml.read_text(encoding="utf-8")
    after, count = re.subn(old, lambda _: new, before, count=1, flags=re.MULTILINE)
    assert count == 1 and after != before
    toml.write_text(after, encoding="utf-8")


def test_every_key_of_a_good_bundle(folder: Path) -> None:
    bundle = read_bundle(folder)
    assert (bundle.name, bundle.version, bundle.world, bundle.licence) == (
        "made-by-hand", "1", "drawn", "Apache-2.0"
    )  # fmt: skip
    detector = bundle.detector
    assert detector.preprocess == Preprocess(
        (416, 320), "bgr", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "letterbox", "top-left", 114
    )
    assert (detector.head, detector.labels) == ("yolox", ("dog", "coffee cup"))
    assert (detector.score_threshold, detector.iou_threshold) == (0.1, 0.5)
    embedder = bundle.embedder
    assert (embedder.id, embedder.dim, embedder.image.preprocess.resize) == ("hand-1", 4, "stretch")
    assert embedder.text is not None and embedder.text.tokenizer == folder / "tokenizer.json"
    assert embedder.text.context == 77
    assert embedder.calibration is not None
    assert embedder.calibration.curve == ((0.2, 0.01), (0.5, 0.5), (0.8, 0.99))
    llm = bundle.llm
    assert llm is not None and llm.file == folder / "llm.gguf" and llm.mmproj == folder / "mmproj.gguf"
    assert (llm.sees, llm.context, llm.max_references, llm.image_max_tokens) == (
        "photo+references",
        2048,
        3,
        64,
    )
    assert llm.stop == ("<end_of_turn>",) and llm.smoke.startswith("A photo of one named thing")
    assert bundle.parity == {"detector_max_error": 1e-4}
    assert [file.name for file, _ in bundle.hashes()] == [
        "detector.onnx", "image.onnx", "text.onnx", "llm.gguf", "mmproj.gguf"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cut", "there"),
    [
        (r"^\[llm\](.|\n)*?(?=\[parity\])", lambda bundle: bundle.llm),
        (r"^\[parity\](.|\n)*", lambda bundle: bundle.parity),
        (r"^\[embedder.text\](.|\n)*?(?=\[embedder.cal)", lambda bundle: bundle.embedder.text),
        (r"^\[embedder.calibration\](.|\n)*?(?=\[llm\])", lambda bundle: bundle.embedder.calibration),
        (r'^mmproj = (.|\n)*?sees = "photo.references"', lambda bundle: bundle.llm.mmproj),
    ],
    ids=["llm", "parity", "text tower", "calibration", "mmproj"],
)
def test_what_may_be_left_out(folder: Path, cut: str, there: Callable[[object], object]) -> None:
    assert there(read_bundle(folder))
    edit(folder, cut, 'sees = "nothing"' if "mmproj" in cut else "")
    if "mmproj" in cut:
        edit(folder, "^image_max_tokens = 64\n", "")
    assert not there(read_bundle(folder))


def test_a_part_may_have_its_own_licence(folder: Path) -> None:
    edit(folder, r"^\[llm\]", '[llm]\nlicence = "Gemma"')
    bundle = read_bundle(folder)
    assert bundle.llm is not None and (bundle.llm.licence, bundle.detector.licence) == ("Gemma", "")


WRONG_KEYS = [
    # what is written, what instead, and parts of the sentence: the name, then the mend
    ("^format = 1", "format = 2", "'bundle.format' is 2", "update kinsight"),
    ("^format = 1", "format = true", "'bundle.format' is True", "it must be 1"),
    ("^format = 1\n", "", "'bundle.format' is missing", "add it; it must be 1"),
    ('^name = "made', 'name = "../made', "'bundle.name' is '../made-by-hand'", "letters, digits"),
    ('"1"', "1", "'bundle.version' is 1", "must be a line of text"),
    ('"drawn"', '"painted"', "'bundle.world' is 'painted'", '"drawn" or "photos"'),
    ('"Apache-2.0"', '"\\u001b[2J"', "'bundle.licence' is '\\x1b[2J'", "must be a line of text"),
    ("^world = ", "wrld = ", "'bundle.wrld' is not known", "write 'world' if you meant that"),
    (r"^\[detector\]", "[detektor]", "'detektor' is not known", "write 'detector' if you meant that"),
    (r"^\[parity\]", "[zzz]", "'zzz' is not known", "remove it"),
    (r"^\[bundle\]", "colour = 1\n[bundle]", "'colour' is not known", "remove it"),
    (r"^\[embedder.image\]", "[embedder.imgae]", "'embedder.imgae' is not known", "write 'image'"),
    (r"^\[parity\]", "[[parity]]", "'parity' is [{", "it must be a table"),
    (r"^\[bundle\](.|\n)*?(?=\[det)", "bundle = 3\n", "'bundle' is 3", "must be a table with format, name"),
    (r"^\[detector\](.|\n)*?(?=\[emb)", "", "'detector' is missing", "add it; it must be a table with file"),
    (r"^\[embedder.image\](.|\n)*?(?=\[emb)", "", "'embedder.image' is missing", "add it; it must be"),
    ("^head = .*", "", "'detector.head' is missing", 'it must be "yolox" or'),
    ('"yolox"', '"yolov5"', "'detector.head' is 'yolov5'", '"yolox" or "yolov8" or "end2end" or "detr"'),
    ('^colour = "bgr"', 'color = "bgr"', "'detector.color' is not known", "write 'colour' if you meant that"),
    ('"bgr"', '"grey"', "'detector.colour' is 'grey'", '"bgr" or "rgb"'),
    ("416, 320", "416, 0", "'detector.size_wh' is [416, 0]", "2 values, each a whole number from 1 to 4096"),
    ("416, 320", "4097, 320", "'detector.size_wh' is [4097, 320]", "from 1 to 4096"),
    ("416, 320", "416", "'detector.size_wh' is [416]", "a list of 2 values"),
    ("416, 320", "416.0, 320", "'detector.size_wh' is [416.0, 320]", "whole number"),
    (r"\[416, 320\]", "416", "'detector.size_wh' is 416", "a list of 2 values"),
    ("^scale = 1.0", "scale = 0", "'detector.scale' is 0", "a number above 0"),
    ("^scale = 1.0", "scale = inf", "'detector.scale' is inf", "a number above 0"),
    ("^scale = 1.0", f"scale = {'9' * 400}", "'detector.scale' is 99", "a number above 0"),
    ("^scale = 1.0", "scale = true", "'detector.scale' is True", "a number above 0"),
    ("^mean = .0.0", "mean = [nan", "'detector.mean' is [nan, 0.0, 0.0]", "3 values, each a number"),
    ("^std = .1.0", "std = [0", "'detector.std' is [0, 1.0, 1.0]", "each a number other than 0"),
    ("^std = .1.0,", "std = [", "'detector.std' is [1.0, 1.0]", "a list of 3 values"),
    ('"letterbox"', '"shortest-side-centre-crop"', "'detector.resize' is", '"letterbox" or "stretch"'),
    ('"letterbox"', '"stretch"', "'detector.anchor' means nothing without resize", "remove it"),
    ("^anchor = .*", "", "'detector.anchor' is missing", 'add it, as resize = "letterbox" needs it'),
    ("^pad = .*", "", "'detector.pad' is missing", 'add it, as resize = "letterbox" needs it'),
    ("^pad = 114", "pad = 256", "'detector.pad' is 256", "from 0 to 255"),
    ("^anchor = .*", 'anchor = "left"', "'detector.anchor' is 'left'", '"top-left" or "centre"'),
    ('"stretch"', '"letterbox"', "'embedder.image.anchor' is missing", "add it"),
    ('"stretch"', '"squash"', "'embedder.image.resize' is 'squash'", '"shortest-side-centre-crop"'),
    ("^score_threshold = 0.1", "score_threshold = 1.1", "'detector.score_threshold' is 1.1", "from 0 to 1"),
    ("^iou_threshold = 0.5", "iou_threshold = -0.1", "'detector.iou_threshold' is -0.1", "from 0 to 1"),
    ('"<?[0-9a-f]{64}', '"abc', "'detector.sha256' is 'abc", "64 lower-case hex digits"),
    ("^dim = 4", "dim = 0", "'embedder.dim' is 0", "a whole number from 1"),
    ('^id = "hand-1"', 'id = " "', "'embedder.id' is ' '", "a line of text"),
    ("^context = 77", "context = 0", "'embedder.text.context' is 0", "a whole number from 1"),
    ("^tokenizer = .*", "", "'embedder.text.tokenizer' is missing", "add it"),
    ("0.5, 0.5", "0.1, 0.5", "'embedder.calibration.curve' is", "neither of them ever falling"),
    ("0.5, 0.5", "0.5, 0.001", "'embedder.calibration.curve' is", "neither of them ever falling"),
    ("0.2, 0.01", "0.2, -0.01", "'embedder.calibration.curve' is", "probability (0 to 1)"),
    ("0.8, 0.99", "0.8, 1.01", "'embedder.calibration.curve' is", "probability (0 to 1)"),
    ("0.2, 0.01", "-1.2, 0.01", "'embedder.calibration.curve' is", "similarity (-1 to 1)"),
    (r"\[0.2, 0.01\], \[0.5, 0.5\], ", "", "'embedder.calibration.curve' is", "two or more pairs"),
    ("^gains = .*", "gains = [0.05, 1.5]", "'embedder.calibration.gains' is [0.05, 1.5]", "from 0 to 1"),
    ("^accept_probability = 0.9", "accept_probability = 0.4", "accept_probability' is below", "as high"),
    ("^margin = 0.05", "margin = 2", "'embedder.calibration.margin' is 2", "from 0 to 1"),
    ("^fitted_on = .*", "", "'embedder.calibration.fitted_on' is missing", "add it"),
    ("^mmproj_sha256 = .*", "", "'llm.mmproj_sha256' is missing", "add it, as llm.mmproj needs it"),
    ("^mmproj = .*", "", "'llm.mmproj_sha256' means nothing without llm.mmproj", "remove it"),
    ("^image_max_tokens = .*", "", "'llm.image_max_tokens' is missing", "add it, as llm.mmproj needs it"),
    (r"^mmproj = .*\nmmproj_.*", "", "'llm.image_max_tokens' means nothing without llm.mmproj", "remove it"),
    (
        r'^mmproj = .*\nmmproj_.*\n(sees = .*)\n(context.*)\n(max.*)\nimage_max.*',
        'sees = "photo"\ncontext = 2048\nmax_references = 0',
        "'llm.sees' is 'photo' without an mmproj",
        'write "nothing", or add llm.mmproj',
    ),
    ('"photo.references"', '"everything"', "'llm.sees' is 'everything'", '"photo" or "nothing"'),
    ("^max_references = 3", "max_references = -1", "'llm.max_references' is -1", "from 0"),
    ("^image_max_tokens = 64", "image_max_tokens = 0", "'llm.image_max_tokens' is 0", "from 1"),
    ('^stop = .*', 'stop = "x"', "'llm.stop' is 'x'", "a list of"),
    ('^stop = .*', 'stop = [""]', "'llm.stop' is ['']", "a text that is not empty"),
    ("^smoke = .*", "", "'llm.smoke' is missing", "add it"),
    ('"detector.onnx"', '"/etc/passwd"', "'detector.file' names '/etc/passwd'", "put the file into"),
    ('"detector.onnx"', "'C:\\detector.onnx'", "'detector.file' names", "put the file into"),
    ('"labels.txt"', '"../labels.txt"', "'detector.labels' names '../labels.txt'", "put the file into"),
    ('"llm.gguf"', "'parts\\..\\..\\llm.gguf'", "'llm.file' names", "put the file into"),
    ('"llm.gguf"', '"."', "'llm.file' names", "restore the file"),
    ('"llm.gguf"', '"llm\\u0000"', "'llm.file' is 'llm\\x00'", "must be a line of text"),
    ('"llm.gguf"', f'"{"long" * 100}"', "which cannot be read (File name too long)", "restore the file"),
    ('"text.onnx"', '"gone.onnx"', "gone.onnx, which cannot be read (No such file", "restore the file"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "name", "mend"), WRONG_KEYS)
def test_a_wrong_key_is_refused_by_name(folder: Path, old: str, new: str, name: str, mend: str) -> None:
    edit(folder, old, new)
    problem, found, advice = refusal(folder).partition(name)
    assert found, problem
    assert mend in advice


def link_file(folder: Path) -> None:
    shutil.move(folder / "image.onnx", folder.parent / "image.onnx")
    (folder / "image.onnx").symlink_to(folder.parent / "image.onnx")


def link_folder(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    shutil.move(folder / "image.onnx", folder.parent / "elsewhere")
    (folder / "parts").symlink_to(folder.parent / "elsewhere")
    edit(folder, '"image.onnx"', '"parts/image.onnx"')


def link_toml(folder: Path) -> None:
    shutil.move(folder / "bundle.toml", folder.parent)
    (folder / "bundle.toml").symlink_to(folder.parent / "bundle.toml")


def pipe(folder: Path) -> None:
    (folder / "image.onnx").unlink()
    os.mkfifo(folder / "image.onnx")


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def cut_short(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def lengthen(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + bytes(2))


def save_outside(folder: Path) -> None:
    onnx.save_model(
        loose_parts.scaled(1), folder / "image.onnx", save_as_external_data=True, size_threshold=0
    )


WRONG_FILES: list[tuple[Callable[[Path], object], str, str]] = [
    (lambda folder: (folder / "bundle.toml").unlink(), "it has no bundle.toml", "kinsight-export bundle"),
    (shutil.rmtree, "it has no bundle.toml", "kinsight-export bundle"),
    (write("bundle.toml", b"[bundle"), "bundle.toml is not TOML", "correct the file"),
    (write("bundle.toml", b"\xff\xfe["), "bundle.toml is not TOML", "correct the file"),
    (write("bundle.toml", b"x = " + b"[" * 100_000), "bundle.toml is not TOML", "correct the file"),
    (write("bundle.toml", b"x = " + b"9" * 100_000), "bundle.toml is not TOML", "correct the file"),
    (write("bundle.toml", b""), "'bundle' is missing", "add it"),
    (link_file, "image.onnx, which is a link", "put the file itself there"),
    (link_folder, "parts, which is a link", "put the file itself there"),
    (link_toml, "bundle.toml, which is a link", "put the file itself there"),
    (pipe, "image.onnx, which is not a file", "restore the file"),
    (lambda folder: (folder / "llm.gguf").unlink(), "llm.gguf, which cannot be read", "restore the file"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json, which cannot", "restore the file"),
    (write("labels.txt", b""), "labels.txt has no label in line 1", "one label in every line"),
    (write("labels.txt", b"dog\n\ncup\n"), "labels.txt has no label in line 2", "one label in every line"),
    (write("labels.txt", b"\xff\n"), "labels.txt is not a UTF-8 text", "restore the file"),
    (write("mmproj.gguf", b"GGU"), "mmproj.gguf is not a GGUF file", "restore the file"),
    (write("llm.gguf", b""), "llm.gguf is not a GGUF file", "restore the file"),
    (write("text.onnx", b""), "text.onnx is not a whole ONNX model", "restore the file"),
    (write("text.onnx", b"<html>Not found</html>"), "text.onnx is not a whole ONNX model", "restore"),
    (write("text.onnx", b"\x08\x09"), "text.onnx is not a whole ONNX model", "restore"),
    (write("text.onnx", b"\x3a" + b"\xff" * 11), "text.onnx is not a whole ONNX model", "restore"),
    (lengthen("detector.onnx"), "detector.onnx is not a whole ONNX model", "restore the file"),
    (cut_short("detector.onnx"), "detector.onnx is not a whole ONNX model", "restore the file"),
    (save_outside, "image.onnx keeps its weights in another file", "save the model as one file"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "name", "mend"), WRONG_FILES, ids=[row[1] for row in WRONG_FILES])
def test_a_wrong_file_is_refused_by_name(
    folder: Path, damage: Callable[[Path], object], name: str, mend: str
) -> None:
    damage(folder)
    problem, found, advice = refusal(folder).partition(name)
    assert found, problem
    assert mend in advice


def external(name: str) -> onnx.TensorProto:
    tensor = loose_parts.tensor(name, [1.0] * 4)
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def constant(value: onnx.TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["w"], value=value)


def hide_in_attribute() -> onnx.ModelProto:
    return loose_parts.model([constant(external("w"))], [])


def hide_in_subgraph() -> onnx.ModelProto:
    inner = helper.make_graph([constant(external("w"))], "inner", [], [])
    return loose_parts.model([helper.make_node("If", ["x"], ["y"], then_branch=inner)], [])


def hide_in_sparse() -> onnx.ModelProto:
    model = loose_parts.scaled(1)
    model.graph.sparse_initializer.add().values.CopyFrom(external("w"))
    return model


def hide_in_function() -> onnx.ModelProto:
    model = loose_parts.scaled(1)
    model.functions.add().node.append(constant(external("w")))
    return model


@pytest.mark.parametrize("hide", [hide_in_attribute, hide_in_subgraph, hide_in_sparse, hide_in_function])
def test_external_data_is_found_wherever_a_tensor_lies(
    tmp_path: Path, hide: Callable[[], onnx.ModelProto]
) -> None:
    model = hide()
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match="keeps its weights in another file"):
        check_onnx(path)
    inline = model.SerializeToString().replace(b"\x70\x01", b"\x70\x00")  # data_location = DEFAULT
    path.write_bytes(inline)
    check_onnx(path)


def test_the_walk_does_not_read_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    weights = loose_parts.tensor("w", [0.0] * 4)
    weights.raw_data = bytes(10_000_000)
    onnx.save(loose_parts.model([helper.make_node("Mul", ["x", "w"], ["y"])], [weights]), path)
    started = time.perf_counter()
    check_onnx(path)
    assert time.perf_counter() - started < 0.05


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), length=st.integers(0, 10_000))
def test_damaged_bytes_are_refused_or_read_but_never_crash(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, length: int
) -> None:
    data = bytearray(loose_parts.scaled(2).SerializeToString())
    data[at % len(data)] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(data[: length % (len(data) + 1)])
    try:
        check_onnx(path)
    except BundleError as error:
        assert str(path) in str(error)


def flip_byte(path: Path) -> None:
    """Same size; a later time than any clock tick can hide."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    later(path)


def later(path: Path) -> None:
    moment = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(moment, moment))


HASHED = ["detector.onnx", "image.onnx", "text.onnx", "llm.gguf", "mmproj.gguf"]


def test_a_whole_bundle_has_its_hashes(folder: Path) -> None:
    check_hashes(read_bundle(folder))


@pytest.mark.parametrize("name", HASHED)
def test_one_flipped_byte_is_caught(folder: Path, name: str) -> None:
    bundle = read_bundle(folder)
    flip_byte(folder / name)
    with pytest.raises(BundleError, match=rf"{name} is damaged.*: restore the file, or get"):
        check_hashes(bundle)


def test_a_start_hashes_only_what_has_changed_since_the_last_check(folder: Path, tmp_path: Path) -> None:
    bundle, stamps = read_bundle(folder), tmp_path / "stamps"
    assert verify_bundle(bundle, stamps)
    assert not verify_bundle(bundle, stamps)
    (stamp,) = stamps.iterdir()
    assert stamp.stat().st_mode & 0o777 == 0o600
    later(folder / "llm.gguf")
    assert verify_bundle(bundle, stamps)
    assert not verify_bundle(bundle, stamps)
    flip_byte(folder / "llm.gguf")
    for _ in range(2):
        with pytest.raises(BundleError, match=r"llm.gguf is damaged"):
            verify_bundle(bundle, stamps)


def test_another_hash_in_bundle_toml_is_a_change(folder: Path, tmp_path: Path) -> None:
    verify_bundle(read_bundle(folder), tmp_path)
    edit(folder, '^sha256 = ".*"', f'sha256 = "{"0" * 64}"')
    with pytest.raises(BundleError, match=r"detector.onnx is damaged"):
        verify_bundle(read_bundle(folder), tmp_path)


def test_every_bundle_has_its_own_stamp(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    assert verify_bundle(read_bundle(folder), tmp_path / "stamps")
    assert verify_bundle(read_bundle(other), tmp_path / "stamps")
    assert not verify_bundle(read_bundle(folder), tmp_path / "stamps")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_stamp_is_no_stamp(folder: Path, tmp_path: Path, content: bytes) -> None:
    bundle, stamps = read_bundle(folder), tmp_path / "stamps"
    verify_bundle(bundle, stamps)
    (stamp,) = stamps.iterdir()
    stamp.write_bytes(content)
    assert verify_bundle(bundle, stamps)
    assert not verify_bundle(bundle, stamps)


def test_without_a_place_for_stamps_every_start_hashes(folder: Path) -> None:
    nowhere = folder / "labels.txt" / "below a file, where even root cannot write"
    bundle = read_bundle(folder)
    assert verify_bundle(bundle, nowhere)
    assert verify_bundle(bundle, nowhere)
    flip_byte(folder / "image.onnx")
    with pytest.raises(BundleError, match=r"image.onnx is damaged"):
        verify_bundle(bundle, nowhere)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with bundles alpha and beta, one that is still being written, and a folder that is none."""
    for name in ("alpha", "beta", ".gamma.5f"):
        loose_parts.make_bundle(tmp_path / "bundles" / name)
    (tmp_path / "bundles" / "notes").mkdir()
    return tmp_path / "bundles"


def test_the_order_of_finding(installed: Path, folder: Path) -> None:
    pocket = folder
    assert find_bundle("alpha", "beta", installed, pocket) == (installed / "alpha", "asked for with --bundle")
    assert find_bundle(None, "beta", installed, pocket) == (installed / "beta", "named by the device config")
    for name in ("beta", "alpha"):
        os.utime(installed / name / "bundle.toml")
        found, reason = find_bundle(None, None, installed, pocket)
        assert found == installed / name and reason.startswith("of 2 the one installed last in")
    shutil.rmtree(installed / "beta")
    found, reason = find_bundle(None, None, installed, pocket)
    assert found == installed / "alpha" and reason.startswith("the only one in")
    shutil.rmtree(installed)
    found, reason = find_bundle(None, None, installed, pocket)
    assert found == pocket and reason.startswith("the built-in one, as no bundles are in")


def test_a_choice_is_a_name_or_a_path(installed: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_bundle(str(folder), None, installed, None)[0] == folder
    assert find_bundle("pocket", None, installed, folder)[0] == folder
    monkeypatch.chdir(folder.parent)
    assert find_bundle("./bundle", None, installed, None)[0] == Path("bundle")
    assert find_bundle("bundle", None, installed, None)[0] == Path("bundle")
    loose_parts.make_bundle(folder.parent / "alpha")
    assert find_bundle("alpha", None, installed, None)[0] == installed / "alpha"


@pytest.mark.parametrize("choice", ["delta", "notes", "/nowhere/at/all", "~nobody-at-all/a", "pocket"])
def test_a_choice_that_is_not_there_lists_what_is(installed: Path, choice: str) -> None:
    with pytest.raises(BundleError, match=rf"no bundle '{choice}': .*--bundle.*alpha, beta"):
        find_bundle(choice, None, installed, None)
    if "/" in choice:
        with pytest.raises(BundleError, match=r"alpha, beta"):
            find_bundle(None, choice, installed, None)


def test_a_bundle_of_the_device_that_is_not_installed_yet_is_passed_over(
    installed: Path, folder: Path
) -> None:
    found, reason = find_bundle(None, "small", installed, folder)
    assert found.parent == installed
    assert reason.endswith("; the device config names small, get it with `kinsight pull small`")
    with pytest.raises(BundleError, match=r"there is no bundle '\./small'"):
        find_bundle(None, "./small", installed, folder)


def test_no_bundle_at_all_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundles are in .*: get one with `kinsight pull`, or write"):
        find_bundle(None, None, tmp_path / "bundles", None)


def test_reading_a_bundle_needs_no_engine(folder: Path) -> None:
    program = (
        "import sys; from kinsight.bundle import read_bundle; read_bundle(sys.argv[1]);"
        "print(*{'cv2', 'numpy', 'onnx', 'onnxruntime', 'platformdirs'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""
