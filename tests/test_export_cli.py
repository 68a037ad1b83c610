"""`kinsight-export`: bundles from the options of a command line, their calibration, and every refusal."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest

from identities import draw_identities
from kinsight.bundle import Preprocess, check_hashes, read_bundle
from kinsight.errors import ConfigError
from kinsight.faces import load_faces
from kinsight_export.cli import main
from kinsight_export.licences import required_licence
from kinsight_export.parts import (
    DetectorSpec,
    EmbedderSpec,
    TextSpec,
    read_part,
    rewrite,
    spec_of,
    write_part,
)
from sabotage import kept_elsewhere
from talkers import NEEDS_LLAMA_CPP
from terminal import Said, Terminal, fine
from tiny import (
    Blob,
    BlobPhoto,
    constant_tower,
    draw,
    make_bundle,
    make_image_tower,
    make_text_tower,
)
from tiny_detector import FAMILIES, Family, make_detector
from tiny_faces import FACES, make_face_detector, make_face_recogniser

Export = Callable[..., Said]

VISION = "--detector end2end.onnx --head end2end --labels labels.txt --embedder-image image.onnx"
TEXT = "--embedder-text text.onnx --tokenizer tokenizer.json --text-context 8"
LLM = "--llm text.gguf"
SEES = "--llm llm.gguf --mmproj mmproj.gguf --image-max-tokens 4"


def needs_llama_cpp(test: Callable[..., None]) -> Callable[..., None]:
    for mark in NEEDS_LLAMA_CPP:
        test = mark(test)
    return test


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every part that the options below name."""
    folder = tmp_path_factory.mktemp("parts")
    for family in FAMILIES:
        make_detector(folder / f"{family}.onnx", family)
    (folder / "labels.txt").write_text("box\nball\ncone\n", encoding="utf-8")
    (folder / "latin.txt").write_bytes("bo\u00eete\n".encode("latin-1"))
    make_image_tower(folder / "image.onnx")
    make_text_tower(folder)
    constant_tower(folder / "blind.onnx", "float[n, 3, 32, 32] pixel_values")
    constant_tower(folder / "deaf.onnx", "int64[n, m] input_ids")
    constant_tower(folder / "any-size.onnx", "float[n, 3, h, w] pixel_values")
    (folder / "one.txt").write_text("box\n", encoding="utf-8")
    (folder / "broken.gguf").write_bytes(b"GGUF" + bytes(50))
    model = onnx.load(str(folder / "end2end.onnx"))
    model.metadata_props.add(key="license", value="AGPL-3.0 License (https://ultralytics.com/license)")
    onnx.save(model, str(folder / "agpl.onnx"))
    draw_identities(folder / "photos", ["red"], photos=3)
    return folder


@pytest.fixture(scope="session")
def ggufs(parts: Path) -> Path:
    """The language models beside them."""
    from tiny_gguf import make_text_gguf, make_vision_pair

    make_text_gguf(parts / "text.gguf", seed=3)
    make_vision_pair(parts)
    return parts


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "place" / "tiny"


@pytest.fixture
def export(parts: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Export:
    """Runs `kinsight-export WORDS` in the folder of the parts; a text is split at its spaces."""
    monkeypatch.chdir(parts)

    def run(*words: str | Path) -> Said:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(
                [part for word in words for part in ([str(word)] if isinstance(word, Path) else word.split())]
            )
        said = capfd.readouterr()
        assert isinstance(left.value.code, int)
        return Said(left.value.code, said.out, said.err)

    return run


def refused(said: Said, code: int = 1) -> str:
    """The one sentence of a command that failed."""
    assert (said.code, said.out, said.err.count("\n")) == (code, "", 1), said
    return said.err


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.iterdir() if file.is_file())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_help_says_what_there_is(export: Export) -> None:
    assert fine(export()).out == fine(export("--help")).out
    for verb in ("bundle", "calibrate"):
        assert f"Example: kinsight-export {verb} " in fine(export(verb, "--help")).out


@needs_llama_cpp
@pytest.mark.usefixtures("ggufs")
def test_a_bundle_of_every_part(export: Export, parts: Path, out: Path) -> None:
    words = "--stop <|end|> --context 512 --score-threshold 0.2 --embedder-id blobs-1 --licence MIT"
    said = fine(export("bundle", VISION, TEXT, LLM, words, "--out", out))
    assert said.out.splitlines() == [
        f"tiny is written to {out}.",
        f"It names nobody yet: run kinsight-export calibrate {out} PHOTOS.",
    ]
    found = read_bundle(out)
    check_hashes(found)
    assert (found.name, found.version, found.world, found.licence) == ("tiny", "1", "photos", "MIT")
    assert (found.detector.head, found.detector.score_threshold) == ("end2end", 0.2)
    assert found.detector.labels == ("box", "ball", "cone")
    assert (found.embedder.id, found.embedder.dim, found.embedder.calibration) == ("blobs-1", 32, None)
    assert found.embedder.text and found.embedder.text.context == 8
    assert found.llm and found.llm.licence == "Apache-2.0"  # as the file states
    assert (found.llm.sees, found.llm.context, found.llm.stop) == ("nothing", 512, ("<|end|>",))
    sources = {"detector.onnx": "end2end.onnx", "llm.gguf": "text.gguf"}
    copies = digests(out)
    assert copies.pop("bundle.toml")
    assert copies == {name: digests(parts)[sources.get(name, name)] for name in copies}
    assert [file.name for file in out.parent.iterdir()] == ["tiny"]


@needs_llama_cpp
@pytest.mark.usefixtures("ggufs")
def test_a_model_that_sees(export: Export, out: Path) -> None:
    fine(export("bundle", VISION, SEES, "--out", out))
    llm = read_bundle(out).llm
    assert llm and llm.mmproj and (llm.sees, llm.image_max_tokens) == ("photo+references", 4)
    fine(export("bundle", VISION, SEES, "--sees photo --replace --out", out))
    llm = read_bundle(out).llm
    assert llm and llm.sees == "photo"


def test_a_bundle_that_sees_faces(export: Export, parts: Path, out: Path, tmp_path: Path) -> None:
    finder = make_face_detector(tmp_path / "yunet.onnx")
    teller = make_face_recogniser(tmp_path / "sface.onnx")
    pair = ("--face-detector", finder, "--face-embedder", teller)
    said = fine(export("bundle", VISION, *pair, "--face-licence CC-BY-4.0 --out", out))
    assert said.out.endswith("When two faces are one person's is an estimate: what OpenCV says of SFace.\n")
    found = read_bundle(out)
    check_hashes(found)
    assert found.faces and (found.faces.id, found.faces.dim) == ("sface", 128)
    assert (found.faces.score_threshold, found.faces.licence) == (0.9, "CC-BY-4.0")
    assert found.faces.calibration.estimated and len(digests(out)) == 6
    picture = draw([Blob(FACES["ann"], (200, 200, 296, 296))])
    faces = load_faces(found.faces).faces(picture)
    assert faces and faces[0].vector.shape == (128,)
    again = rewrite(spec_of(out), out).faces  # as quantise does
    assert again == found.faces
    for words, sentence in (
        (("--face-detector", finder), "--face-detector and --face-embedder belong together: pass both"),
        (
            ("--face-detector", teller, "--face-embedder", teller),
            "give models of the shapes of YuNet and SFa",
        ),
        (("--face-detector", finder, "--face-embedder", parts / "labels.txt"), "cannot be loaded"),
        (("--face-detector", finder, "--face-embedder", tmp_path / "no.onnx"), "there is no file"),
    ):
        assert sentence in refused(export("bundle", VISION, *words, "--out", tmp_path / "other"))
        assert not (tmp_path / "other").exists()


def test_a_bundle_of_parts_in_folders(export: Export, parts: Path, out: Path, tmp_path: Path) -> None:
    rule = Preprocess((64, 64), "rgb", 1.0, (0.0,) * 3, (1.0,) * 3, "letterbox", "centre")
    eyes = DetectorSpec(parts / "end2end.onnx", parts / "labels.txt", "end2end", rule, licence="AGPL-3.0")
    write_part(eyes, {"detector": {"source": "x"}}, tmp_path / "eyes")
    crop = Preprocess((32, 32), "rgb", 1 / 255, (0.0,) * 3, (1.0,) * 3, "stretch")
    text = TextSpec(parts / "text.onnx", parts / "tokenizer.json", 8)
    write_part(EmbedderSpec("blobs-2", 32, parts / "image.onnx", crop, text), {}, tmp_path / "mind")
    words = ("--detector", tmp_path / "eyes", "--embedder", tmp_path / "mind", "--out", out)
    fine(export("bundle", *words))
    found = read_bundle(out)
    assert (found.detector.preprocess, found.embedder.id, found.licence) == (rule, "blobs-2", "AGPL-3.0")
    assert found.embedder.text and found.parity == {"detector": {"source": "x"}}
    said = refused(export("bundle", *words, "--head yolov8 --replace"))
    assert "--head means nothing with the folder of a part: leave it out" in said
    said = refused(export("bundle", *words, "--replace --embedder", tmp_path / "eyes"))
    assert "eyes holds the part detector: name the folder of the part embedder" in said
    refused(export("bundle --detector end2end.onnx --embedder-image image.onnx --out", out.with_name("x")))
    refused(export("bundle", "--detector", tmp_path / "eyes", "--out", out.with_name("x")))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_with_its_own_preprocessing(export: Export, out: Path, family: Family) -> None:
    words = f"--detector {family}.onnx --head {FAMILIES[family]}"
    fine(export("bundle", VISION, words, "--name my-eyes --world drawn --out", out))
    found = read_bundle(out)
    rule = found.detector.preprocess
    assert (found.name, found.world, rule.size_wh) == ("my-eyes", "drawn", (64, 64))
    expected = {"yolox": ("bgr", 1.0, "letterbox"), "detr": ("rgb", 1 / 255, "stretch")}
    assert (rule.colour, rule.scale, rule.resize) == expected.get(
        FAMILIES[family], ("rgb", 1 / 255, "letterbox")
    )
    assert rule.resize != "letterbox" or (rule.anchor == "top-left") == (family == "yolox")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_that_is_there_is_taken_over(export: Export, out: Path, family: Family) -> None:
    """Its head is seen from its outputs."""
    words = f"detector {family}.onnx --labels labels.txt --licence MIT --set scale=0.0039"
    if family == "yolox":
        words += " --set scale=1.0 --set colour=rgb"  # on drawn scenes, the others on photos
    else:
        words += " --photos photos"
    said = fine(export(words, "--out", out)).out
    part = read_part(out)
    assert isinstance(part.spec, DetectorSpec) and part.spec.licence == "MIT"
    assert part.spec.head == FAMILIES[family]
    assert "finds something" in said and f"kinsight-export bundle --detector {out} takes it" in said


ADOPTIONS = {
    "no such file": (
        "gone.onnx",
        r"gone.onnx is no .pt, .yaml or .onnx file and no folder with a checkpoint",
    ),
    "labels in latin-1": (
        "yolox.onnx --labels latin.txt",
        r"latin.txt is not a UTF-8 text: give a text file with the labels",
    ),
    "no labels": ("yolox.onnx", r"--labels is missing: pass the labels of the ONNX file, one a line"),
    "other labels": (
        "yolov8.onnx --labels one.txt",
        r"with 1 labels are of no head that is known: give the r",
    ),
    "wrong head": (
        "end2end.onnx --labels labels.txt --head yolov8",
        r"which is not a yolov8 head: name another head with --head, or give",
    ),
    "unknown head": (
        "end2end.onnx --labels labels.txt --head ssd",
        r"--head ssd is not known: choose one of",
    ),
    "not a model": (
        "junk.onnx --labels labels.txt",
        r"junk.onnx is not a whole ONNX model: get the file again, or",
    ),
    "external data": (
        "outside.onnx --labels labels.txt",
        r"keeps its weights in another file .*: save the m",
    ),
    "other size": (
        "end2end.onnx --labels labels.txt --licence MIT --size 32",
        r"end2end.onnx takes pictures of 64 x 64, not of 32 x 32: leave the size out, or export the",
    ),
    "other licence": (
        "agpl.onnx --labels labels.txt --licence Apache-2.0 --accept AGPL-3.0",
        r"agpl.onnx says of itself that it is under AGPL-3.0, and --licence says Apache-2.0: leave --lic",
    ),
    "other licence of Ultralytics'": (
        "x.yaml --accept AGPL-3.0 --licence MIT",
        r"x.yaml .* says of itself that it is under AGPL-3.0, and --licence says MIT: leave --lic",
    ),
    "no licence": ("end2end.onnx --labels labels.txt", r"nobody says under which licence end2end.onnx is"),
    "strict licence": ("agpl.onnx --labels labels.txt", r"agpl.onnx is under AGPL-3.0, which asks for more"),
    "blind": (
        "end2end.onnx --labels labels.txt --licence MIT --set scale=0.00001",
        r"finds something, share of pictures with a box 0, must be at least 0.5: probably its pict",
    ),
    "blind on drawn scenes": (
        "end2end.onnx --labels labels.txt --licence MIT --set scale=0.00001 --photos",
        r"probably the drawn scenes hold little that it knows: pass --photos FOLDER with photos",
    ),
    "no photos": ("end2end.onnx --labels labels.txt --licence MIT --photos gone", r"there is no folder gone"),
    "a checkpoint": (
        ". --licence MIT",
        r"(is no checkpoint, it has no config.json|is not installed: pip ins)",
    ),
    "a size": ("end2end.onnx --size 0", r"'0' is no size: write 640 or 640,480"),
    "words alone": (
        "x.yaml --accept AGPL-3.0 --classes dog",
        r"(belong together|is not installed: pip inst)",
    ),
}


@pytest.mark.parametrize("case", ADOPTIONS)
def test_what_is_not_taken_over(export: Export, parts: Path, out: Path, case: str) -> None:
    words, sentence = ADOPTIONS[case]
    (parts / "junk.onnx").write_bytes(b"<html>" * 9)
    kept_elsewhere(parts / "end2end.onnx", parts / "outside.onnx")
    words = words.removesuffix("--photos") if words.endswith("--photos") else f"--photos photos {words}"
    said = export("detector", words, "--out", out)
    assert said.code and not out.exists()
    assert re.search(rf"^kinsight-export: .*{sentence}.*\n$", said.err, re.M), said


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
@pytest.mark.parametrize("words", ["mllm .", "mllm --gguf x --mmproj x", "shape smolvlm-256m", "embedder ."])
def test_without_torch_the_mend_is_said(export: Export, out: Path, words: str) -> None:
    said = refused(export(words, "--out", out))
    assert said == "kinsight-export: torch is not installed: pip install 'kinsight[export]'.\n"


def test_every_setting_can_be_another(export: Export, out: Path) -> None:
    settings = (
        "size_wh=64,64", "colour=bgr", "scale=0.5", "mean=1,2.5,3", "std=4,5,6", "anchor=centre", "pad=0"
    )  # fmt: skip
    words = " ".join(f"--detector-set {setting}" for setting in settings)
    crop = "--embedder-family siglip --embedder-set resize=shortest-side-centre-crop"
    fine(export("bundle", VISION, words, crop, "--out", out))
    found = read_bundle(out)
    mean, std = (1.0, 2.5, 3.0), (4.0, 5.0, 6.0)
    assert found.detector.preprocess == Preprocess((64, 64), "bgr", 0.5, mean, std, "letterbox", "centre", 0)
    half = (0.5, 0.5, 0.5)
    kept = Preprocess((32, 32), "rgb", 1 / 255, half, half, "shortest-side-centre-crop")
    assert found.embedder.image.preprocess == kept


REFUSALS = {
    "no such file": ("--labels gone.txt", r"there is no file gone.txt: check --labels"),
    "unknown head": ("--head ssd", r"--head ssd is not known: choose one of yolox, yolov8, end2end, detr"),
    "wrong head": ("--head yolox", r"end2end.onnx gives an output of .* which is not a yolox head: name "),
    "wrong labels": ("--detector yolov8.onnx --head yolov8 --labels one.txt", r"7 numbers a box inst"),
    "labels in latin-1": ("--labels latin.txt", r"latin.txt is not a UTF-8 text: "),
    "other licence": (
        "--detector agpl.onnx --licence Apache-2.0",
        r"a part is under AGPL-3.0, and --licence says Apache-2.0: leave --licence out, or pass 'AGPL-3.0'",
    ),
    "no detector": ("--detector labels.txt", r"labels.txt cannot be loaded \(.*\): get the file again"),
    "unknown family": ("--embedder-family vgg", r"--embedder-family vgg is not known: choose one of clip, "),
    "unknown setting": ("--detector-set sizes=3", r"sizes is no setting of a preprocessing: choose one of "),
    "no value": ("--detector-set colour", r'colour= is no such setting: it must be "bgr" or "rgb"'),
    "huge input": ("--embedder-set size_wh=9999,9", r"each a whole number from 1 to 4096"),
    "std of 0": ("--embedder-set std=0,1,1", r"std=0,1,1 is no such setting: .* a number other than 0"),
    "not finite": ("--detector-set scale=inf", r"scale=inf is no such setting: it must be a number above 0"),
    "pad": ("--detector-set pad=300", r"pad=300 is no such setting: it must be a whole number from 0 to 255"),
    "idle pad": ("--embedder-set pad=3", r"pad means nothing with resize=stretch: leave it out"),
    "wrong size": ("--detector-set size_wh=32,32", r"takes pictures of 64 x 64, not of 32 x 32: leave the"),
    "any size": ("--detector any-size.onnx", r"any-size.onnx takes pictures of any size: say which with "),
    "blind tower": ("--embedder-image blind.onnx", r"blind.onnx gives the same vector for different pictu"),
    "no pooling": ("--embedder-image yolox.onnx", r"the shape \(1, 84, 8\) for one picture: export the tow"),
    "no tokenizer": ("--embedder-text text.onnx", r"a text tower and its tokenizer belong together: pass "),
    "no text tower": ("--tokenizer tokenizer.json", r"a text tower and its tokenizer belong together"),
    "bad tokenizer": (TEXT + " --tokenizer labels.txt", r"labels.txt is no tokenizer \(.*\): get the file"),
    "deaf tower": (TEXT + " --embedder-text deaf.onnx", r"deaf.onnx gives the same vector for different te"),
    "mmproj alone": ("--mmproj mmproj.gguf", r"--mmproj means nothing without --llm: pass --llm, or leav"),
    "stop alone": ("--stop </s>", r"--stop means nothing without --llm"),
    "no limit": ("--llm llm.gguf --mmproj mmproj.gguf", r"a model that sees needs a limit: pass --image-max"),
    "broken GGUF": ("--llm broken.gguf", r"broken.gguf cannot be loaded \(.*\): get the file aga"),
    "sees without eyes": (LLM + " --sees photo", r"'llm.sees' is 'photo' without an mmproj in .*bundle.toml"),
    "no such sees": (SEES + " --sees all", r"'llm.sees' is 'all' in .*: it must be \"photo\+references\" or"),
    "name": ("--name Lala's", r"it must be a name of letters, digits, dots, dashes and underscores"),
    "world": ("--world real", r'\'bundle.world\' is \'real\' in .*: it must be "drawn" or "photos"'),
}  # fmt: skip
NEED_LLAMA_CPP = {"broken GGUF", "sees without eyes", "no such sees"}


@pytest.mark.usefixtures("ggufs")
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=NEEDS_LLAMA_CPP if case in NEED_LLAMA_CPP else ()) for case in REFUSALS]
)
def test_a_refusal_is_one_sentence_and_leaves_nothing(
    export: Export, parts: Path, out: Path, case: str
) -> None:
    words, sentence = REFUSALS[case]
    out.parent.mkdir()
    before = digests(parts)
    said = refused(export("bundle", VISION, words, "--out", out))
    assert re.search(rf"^kinsight-export: .*{sentence}", said), said
    assert (list(out.parent.iterdir()), digests(parts)) == ([], before)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--score-threshold 2", "invalid value for '--score-threshold': 2.0 is not in the range 0<=x<=1"),
        ("--text-context 0", "invalid value for '--text-context': 0 is not in the range x>=1"),
        ("--lab labels.txt", "no such option '--lab'"),
    ],
)
def test_what_click_refuses_is_one_sentence_too(export: Export, out: Path, words: str, sentence: str) -> None:
    assert refused(export("bundle", VISION, words, "--out", out), 2).startswith(
        f"kinsight-export: {sentence}"
    )


def test_a_bundle_is_under_the_licence_that_its_files_state(export: Export, out: Path) -> None:
    fine(export("bundle", VISION, "--detector agpl.onnx --out", out))
    assert read_bundle(out).licence == read_bundle(out).detector.licence == "AGPL-3.0"
    words = "--detector agpl.onnx --replace --name x --licence"
    refused(export("bundle", VISION, words, "MIT --out", out))
    main_words = ["bundle", *VISION.split(), *words.split(), "AGPL-3.0 AND MIT", "--out", str(out)]
    with pytest.raises(SystemExit) as left:
        main(main_words)
    assert not left.value.code and read_bundle(out).licence == "AGPL-3.0 AND MIT"


def test_a_taken_place(export: Export, out: Path) -> None:
    fine(export("bundle", VISION, "--out", out))
    before = digests(out)
    said = refused(export("bundle", VISION, "--version 2 --out", out))
    assert said.endswith("is there already and not empty: choose another folder, or pass --replace.\n")
    refused(export("bundle", VISION, "--detector image.onnx --replace --out", out))
    assert digests(out) == before
    fine(export("bundle", VISION, "--version 2 --replace --out", out))
    assert read_bundle(out).version == "2"
    assert list(out.parent.iterdir()) == [out]


def test_calibrate_makes_recall_work(
    export: Export, out: Path, home: Path, blob_photo: BlobPhoto, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = "--embedder-set mean=0,0,0 --embedder-set std=1,1,1"
    fine(export("bundle", VISION, TEXT, plain, "--out", out))
    kinsight = Terminal(home, out, capfd)
    lala = blob_photo([Blob("red", (60, 200, 220, 420))])
    said = refused(kinsight("-q", "look", lala))
    assert f"nobody can be recognised: run `kinsight-export calibrate {out} PHOTOS` with a folder" in said
    before, folder = digests(out), home.with_name("blobs")
    photos = draw_identities(folder, ["orange", "yellow", "green", "blue", "purple", "pink"])
    said = fine(export("calibrate", out, photos)).out
    found = read_bundle(out)
    calibration = found.embedder.calibration
    assert calibration and re.fullmatch(
        r"blobs, 6 identities, 24 photos, \d{4}-\d\d-\d\d", calibration.fitted_on
    )
    assert said == (
        f"tiny accepts from probability {calibration.accept_probability:.2f} on and says maybe from "
        f"{calibration.unsure_probability:.2f}; fitted on {calibration.fitted_on}.\n"
    )
    assert [name for name, digest in digests(out).items() if before[name] != digest] == ["bundle.toml"]
    fine(kinsight("remember", lala, "--name", "Lala"))
    party = blob_photo([Blob("red", (380, 60, 560, 300)), Blob("cyan", (40, 300, 240, 560))])
    regions = fine(kinsight("look", party, "--json")).json["regions"]
    named = {tuple(round(v) for v in r["xyxy"]): r["matches"][0]["decision"] for r in regions}
    assert named == {(380, 60, 560, 300): "accepted", (40, 300, 240, 560): "unknown"}


NOT_ON_A_DEVICE = """
import sys
for name in ("torch", "transformers", "optimum", "onnx", "ultralytics", "gguf", "matplotlib"):
    sys.modules[name] = None  # an import of it fails, as where it is not installed
from kinsight_export.cli import main
main(sys.argv[1:])
"""


@pytest.mark.stress
def test_calibrate_needs_no_more_than_a_device_has(eyes: Path, tmp_path: Path) -> None:
    photos = draw_identities(tmp_path / "blobs", ["red", "green", "blue", "yellow"])
    command = [sys.executable, "-c", NOT_ON_A_DEVICE, "calibrate", str(eyes), str(photos)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and "accepts from probability" in run.stdout, run.stderr
    assert read_bundle(eyes).embedder.calibration
    command[3:4] = ["quantise"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1 and run.stderr.count("\n") == 1, run.stderr
    assert run.stderr.endswith("pip install 'kinsight[export]'.\n")


@pytest.fixture(scope="module")
def never_calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", calibrated=False).folder


@pytest.fixture
def eyes(never_calibrated: Path, out: Path) -> Path:
    """A bundle of one's own."""
    return Path(shutil.copytree(never_calibrated, out))


def few(folder: Path) -> str:
    draw_identities(folder, ["red", "blue"], photos=2)
    return (
        r"4 photos of 2 identities are too few to fit on \(.*\): give more identities, or more photos of each"
    )


def one_identity(folder: Path) -> str:
    draw_identities(folder, ["red"])
    return (
        r"blobs holds 1 folders with two photos or more: give a folder that holds one folder of photos per "
    )


def nothing(folder: Path) -> str:
    return r"there is no folder .*blobs: give a folder that holds one folder per identity"


def no_picture(folder: Path) -> str:
    draw_identities(folder, ["red", "blue"])
    (folder / "red" / "01.png").write_text("Not at home today.", encoding="utf-8")
    return r"red/01.png is a text file"


def bad_boxes(folder: Path) -> str:
    draw_identities(folder, ["red", "blue"])
    (folder / "reference_boxes.json").write_text("[]", encoding="utf-8")
    return r"reference_boxes.json cannot be read as hand-drawn boxes"


@pytest.mark.parametrize("draw", [few, one_identity, nothing, no_picture, bad_boxes])
def test_what_cannot_be_fitted_on(
    export: Export, eyes: Path, tmp_path: Path, draw: Callable[[Path], str]
) -> None:
    sentence, before = draw(tmp_path / "blobs"), digests(eyes)
    said = refused(export("calibrate", eyes, tmp_path / "blobs"))
    assert re.search(rf"^kinsight-export: .*{sentence}", said), said
    assert digests(eyes) == before


def test_a_damaged_bundle_is_not_calibrated(export: Export, eyes: Path, tmp_path: Path) -> None:
    data = bytearray((eyes / "image.onnx").read_bytes())
    data[-1] ^= 1
    (eyes / "image.onnx").write_bytes(data)
    photos = draw_identities(tmp_path / "blobs", ["red", "blue"])
    assert "image.onnx is damaged" in refused(export("calibrate", eyes, photos))
    assert "is not a bundle" in refused(export("calibrate", photos, photos))


@pytest.mark.parametrize(
    ("named", "stated", "accept", "licence"),
    [
        (None, ["apache-2.0"], (), "Apache-2.0"),
        ("mit", [None, ""], (), "MIT"),
        ("Gemma", ["gemma"], ("gemma",), "gemma"),
        ("MIT", ["other"], (), "MIT"),  # a card that says no name
        (None, ["apache-2.0", "gemma"], ("gemma",), "gemma"),  # a file of somebody else's beside the card
        (None, ["apache-2.0", "gemma"], (), "it is under gemma, which asks for more"),
        ("MIT", ["gemma"], ("gemma",), "it says of itself that it is under gemma, and --licence says MIT"),
        ("MIT", ["mit", "gemma"], (), "it says of itself that it is under gemma, and --licence says MIT"),
        ("MIT", ["Apache-2.0"], (), "it says of itself that it is under Apache-2.0, and --licence says M"),
        (None, ["", None], (), "nobody says under which licence it is"),
    ],
)
def test_the_licence_that_is_stated_holds(
    named: str | None, stated: list[str | None], accept: tuple[str, ...], licence: str
) -> None:
    if " " not in licence:
        assert required_licence(named, stated, accept, "it") == licence
        return
    with pytest.raises(ConfigError, match=licence):
        required_licence(named, stated, accept, "it")


def test_what_no_library_is_asked_about(export: Export, tmp_path: Path) -> None:
    """A name or a file that is wrong is refused before anything large is loaded."""
    (tmp_path / "page.onnx").write_text("<html>" * 100, encoding="utf-8")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    out, bert = tmp_path / "out", tmp_path / "bert"
    for words, sentence in (
        (("detector", tmp_path / "page.onnx"), "page.onnx is not a whole ONNX model"),
        (("detector", bert, "--licence", "MIT"), "bert holds a model of the type bert, no detector that is"),
        (("embedder", tmp_path / "nowhere"), "nowhere: check the path"),
        (("shape", "nope"), "'nope' is not one of 'smolvlm-256m'"),
    ):
        assert sentence in export(*words, "--out", out).err
