"""Detectors and embedders from the libraries' own configs: exported, judged; every sabotage caught."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

from safetensors.torch import load_file, save_file

import sabotage
import tiny_vision
from kinsight.bundle import Preprocess
from kinsight.embed import Embedder
from kinsight.errors import KinsightError, ModelError, ParityError
from kinsight.image.resize import prepare as runtime_prepare
from kinsight.session import Session
from kinsight.types import Floats, Pixels
from kinsight_export.adopted import Thresholds
from kinsight_export.cli import main
from kinsight_export.gate import Report
from kinsight_export.gate.compare import lowest_cosine
from kinsight_export.gate.detector import judge_detector
from kinsight_export.gate.embedder import judge_embedder
from kinsight_export.gate.pictures import scenes, smooth_pictures
from kinsight_export.making import Pictures, check_size, make_detector, make_embedder
from kinsight_export.onnx_file import Names, export_onnx
from kinsight_export.parts import DetectorSpec, EmbedderSpec
from kinsight_export.sources import DetectorSource, EmbedderSource
from kinsight_export.sources.transformers_detectors import open_checkpoint
from kinsight_export.sources.transformers_embedders import open_embedder
from kinsight_export.trial import WORKSTATION

pytestmark = pytest.mark.train

PICTURES = Pictures(scenes(5), "5 drawn scenes")
SMOOTH = Pictures(smooth_pictures(), "4 smooth pictures")
EMBEDDERS = {
    "clip": tiny_vision.clip,
    "siglip": tiny_vision.siglip,
    "siglip2": tiny_vision.siglip2,
    "dinov2": tiny_vision.dinov2,
}
DETECTORS: dict[str, Callable[[Path], Path]] = {
    "yolos": tiny_vision.yolos,
    "rt_detr": lambda folder: tiny_vision.rt_detr(folder, seed=1),
    "d_fine": lambda folder: tiny_vision.d_fine(folder, seed=1),
}


def made(folder: Path, name: str, make: Callable[[Path], Path]) -> Path:
    (folder / name).mkdir()
    return make(folder / name)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmbedderSource, EmbedderSpec]:
    """A CLIP pair and its part."""
    folder = tmp_path_factory.mktemp("pair")
    source = open_embedder(made(folder, "clip", tiny_vision.clip), None, "MIT", stretch=False)
    spec, report = make_embedder(source, folder, PICTURES)
    report.require()
    return source, spec


@pytest.mark.parametrize("name", EMBEDDERS)
def test_an_embedder_is_what_its_checkpoint_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path, name, EMBEDDERS[name])
    with pytest.raises(SystemExit) as left:
        main(["embedder", str(folder), "--out", str(tmp_path / "part"), "--plot", str(tmp_path / "gate.png")])
    assert left.value.code == 0 and (tmp_path / "gate.png").stat().st_size > 10_000
    toml = (tmp_path / "part" / "part.toml").read_text(encoding="utf-8")
    assert 'licence = "Apache-2.0"' in toml and "[parity.embedder.picture_vectors]" in toml
    assert ("[embedder.text]" in toml) == (name != "dinov2")
    assert ('resize = "stretch"' in toml) == name.startswith("siglip")


def test_pictures_of_another_size_than_the_checkpoint_s(tmp_path: Path) -> None:
    source = open_embedder(made(tmp_path, "dinov2", tiny_vision.dinov2), (56, 42), "MIT", stretch=True)
    spec, report = make_embedder(source, tmp_path, PICTURES)
    assert report.require() and spec.preprocess.size_wh == (56, 42)
    with pytest.raises(ModelError, match=r"does not take pictures of 40 x 40 .*: pass another --size"):
        open_embedder(made(tmp_path, "clip", tiny_vision.clip), (40, 40), "MIT", stretch=True)


def test_siglip2_reads_small_letters(tmp_path: Path) -> None:
    """As it learnt them; the tokenizer that its checkpoints name leaves capitals as they are."""
    from kinsight_export.sources.tokenizer import open_tokenizer

    words = open_tokenizer(made(tmp_path, "siglip2", tiny_vision.siglip2))
    assert words.own("A Red Mug")["input_ids"] != words.own("a red mug")["input_ids"]
    assert words.fast.encode("A Red Mug").ids == words.fast.encode("a red mug").ids
    small, capital = words.ids(["a red mug", "A Red Mug"], 24)
    assert (small == capital).all() and small[-1] == 0


class _Grid(torch.nn.Module):
    """A small detector without anchors: one box a cell of 8 pixels, three classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first = torch.nn.Conv2d(3, 12, 8, stride=8)
        self.second = torch.nn.Conv2d(12, 7, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(1, 3, 64, 64) -> (1, 7, 64): centre and size in pixels, scores."""
        raw = self.second(torch.relu(self.first(pictures) * 3) * 4).flatten(2)
        y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        centre = torch.stack([x.flatten(), y.flatten()])[None] * 8 + 8 * raw[:, :2].sigmoid()
        return torch.cat([centre, 16 + 24 * raw[:, 2:4].sigmoid(), raw[:, 4:].sigmoid()], dim=1)


RULE = Preprocess((64, 64), "rgb", 1 / 255, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), "letterbox", "centre", 114)


def letterboxed(pixels: Pixels) -> Floats:
    """The same rule by other means: every pixel by the nearest, on grey."""
    height, width = pixels.shape[:2]
    scale = min(64 / width, 64 / height)
    inner_w, inner_h = round(width * scale), round(height * scale)
    rows = ((np.arange(inner_h) + 0.5) / scale).astype(int).clip(0, height - 1)
    columns = ((np.arange(inner_w) + 0.5) / scale).astype(int).clip(0, width - 1)
    out = np.full((64, 64, 3), 114, np.float32)
    top, left = (64 - inner_h) // 2, (64 - inner_w) // 2
    out[top : top + inner_h, left : left + inner_w] = pixels[rows][:, columns]
    scaled = (out / 255 - np.array(RULE.mean)) / np.array(RULE.std)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def grid_source() -> DetectorSource:
    module = _Grid().eval()

    def boxes(pixels: Pixels, threshold: float) -> tuple[Floats, Floats, NDArray[np.int64]]:
        with torch.no_grad():
            rows = module(torch.from_numpy(letterboxed(pixels))[None])[0].T.numpy()
        scale = min(64 / pixels.shape[1], 64 / pixels.shape[0])
        left, top = ((64 - round(side * scale)) // 2 for side in pixels.shape[1::-1])
        kept = rows[rows[:, 4:].max(axis=1) >= threshold]
        corners = np.concatenate([kept[:, :2] - kept[:, 2:4] / 2, kept[:, :2] + kept[:, 2:4] / 2], axis=1)
        placed = (corners - np.array([left, top] * 2)) / scale
        return placed, kept[:, 4:].max(axis=1), kept[:, 4:].argmax(axis=1)

    labels = ("box", "ball", "cone")
    return DetectorSource("a grid", "MIT", "yolov8", RULE, labels, module, ("output0",), letterboxed, boxes)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[DetectorSource, DetectorSpec, Report]:
    source = grid_source()
    folder = tmp_path_factory.mktemp("grid")
    spec, report = make_detector(source, folder, Thresholds(0.3, 0.6), SMOOTH)
    return source, spec, report


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_is_what_its_checkpoint_is(name: str, tmp_path: Path) -> None:
    folder = made(tmp_path, name, DETECTORS[name])
    source = open_checkpoint(folder, None, "MIT")
    spec, report = make_detector(source, tmp_path, Thresholds(), PICTURES)
    assert {check.name for check in report.require().checks} == {
        "preprocessing",
        "picture numbers",
        "raw outputs",
        "labels",
        "boxes",
    }
    assert spec.head == "detr" and len(source.labels) == 5


def test_words_and_pictures_run_in_the_runtime(pair: tuple[EmbedderSource, EmbedderSpec]) -> None:
    from kinsight_export.trial import embedder_part

    source, spec = pair
    embedder = Embedder(embedder_part(spec), WORKSTATION)
    vectors = embedder.images(PICTURES.pixels)
    assert vectors.shape == (5, source.dim) and spec.text and spec.text.context == 20
    assert embedder.texts(["a dog", "a mug"]).shape == (2, source.dim)


def test_both_towers_have_the_candidates_of_transformers(
    pair: tuple[EmbedderSource, EmbedderSpec], tmp_path: Path
) -> None:
    """Nothing static for the one convolution that cuts the picture; each candidate nearly says the same."""
    from kinsight_export.quantise.candidates import make_candidates
    from kinsight_export.trial import embedder_part

    _, spec = pair
    embedder, texts = Embedder(embedder_part(spec), WORKSTATION), ["a dog", "Two red mugs!"]
    assert spec.text
    names = ["int8 dynamic", "8-bit weights", "4-bit weights"]
    for file, feeds, more in (
        (spec.image, embedder.feeds(PICTURES.pixels), []),
        (spec.text.file, [embedder.text_feeds(texts)], ["int8 dynamic, tables too"]),
    ):
        (wanted,) = Session(file, WORKSTATION).run(feeds[0]).values()
        made = dict(make_candidates(file, feeds, tmp_path))
        assert list(made) == names + more
        for name, candidate in made.items():
            (given,) = Session(candidate, WORKSTATION).run(feeds[0]).values()
            assert 0.9 < lowest_cosine(given, wanted) < 0.9999999, name
            assert candidate.stat().st_size < 0.9 * file.stat().st_size, name


def broken(report: Report) -> dict[str, str]:
    """Check -> cause, of what the gate refuses."""
    with pytest.raises(ParityError):
        report.require()
    return {check.name: check.cause for check in report.broken()}


def with_rule(spec: DetectorSpec, **keys: object) -> DetectorSpec:
    return dataclasses.replace(spec, preprocess=dataclasses.replace(spec.preprocess, **keys))


HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def test_the_gate_lets_a_good_detector_pass(grid: tuple[DetectorSource, DetectorSpec, Report]) -> None:
    report = grid[2].require()
    names = ["preprocessing", "picture numbers", "raw outputs", "labels", "boxes"]
    assert [check.name for check in report.checks] == names
    assert next(fact.figure for fact in report.facts if fact.name == "boxes compared") > 20


@pytest.mark.parametrize(
    ("keys", "cause"),
    [
        ({"colour": "bgr"}, "red and blue are swapped: change `colour`"),
        (HALF, "`mean`, `std` or `scale` is another: red is off by a factor of"),
        ({"scale": 1.0}, "`mean`, `std` or `scale` is another"),
        ({"pad": 0}, "the border of a letterbox has another value or place: change `pad`"),
        ({"resize": "stretch"}, "the picture is fitted in another way: change `resize`"),
    ],
    ids=["colour", "mean", "scale", "pad", "resize"],
)
def test_a_wrong_preprocessing_is_caught(
    grid: tuple[DetectorSource, DetectorSpec, Report], keys: dict[str, object], cause: str
) -> None:
    source, spec, _ = grid
    found = broken(judge_detector(source, with_rule(spec, **keys), SMOOTH.pixels, SMOOTH.words))
    assert cause in found["preprocessing"]


@pytest.mark.parametrize(
    ("keys", "cause"),
    [
        ({"std": (0.51, 0.612, 0.714)}, "red is off by a factor of 1.02 and by"),
        ({"std": (0.5, 0.6, 0.686)}, "another: blue is off by a factor of 0.98 and by"),
        ({"mean": (0.11, 0.21, 0.31)}, "red is off by a factor of 1 and by 0.02, green"),
        ({"scale": 1 / 256}, "red is off by a factor of 1 and by"),
    ],
    ids=["std", "one channel", "mean", "scale"],
)
def test_a_preprocessing_that_is_wrong_by_a_hundredth_is_caught(
    grid: tuple[DetectorSource, DetectorSpec, Report], keys: dict[str, object], cause: str
) -> None:
    source, spec, report = grid
    found = broken(judge_detector(source, with_rule(spec, **keys), SMOOTH.pixels, SMOOTH.words))
    assert cause in found["picture numbers"]
    figures = {check.name: check.figure for check in report.checks}
    assert figures["picture numbers"] < 1e-5


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (sabotage.zeroed, r"a layer is lost: first.weight holds nothing but zeros"),
        (sabotage.swapped_inside, "red and blue are swapped inside the file"),
        (sabotage.suppressed_inside, "boxes are suppressed twice: the file holds NonMaxSuppression itself"),
    ],
)
def test_a_spoiled_file_is_caught(
    grid: tuple[DetectorSource, DetectorSpec, Report],
    tmp_path: Path,
    spoil: Callable[[Path, Path], Path],
    cause: str,
) -> None:
    source, spec, _ = grid
    spoiled = dataclasses.replace(spec, file=spoil(spec.file, tmp_path / "spoiled.onnx"))
    report = judge_detector(source, spoiled, SMOOTH.pixels, SMOOTH.words)
    found = broken(report)
    assert cause in found.pop("raw outputs")
    assert "boxes" in found or spoil is sabotage.swapped_inside
    assert not any(found.values())  # what follows from it is no cause


@pytest.mark.parametrize("later", [False, True], ids=["every picture", "a later picture"])
def test_scores_that_are_no_numbers_are_caught(
    grid: tuple[DetectorSource, DetectorSpec, Report], tmp_path: Path, later: bool
) -> None:
    source, spec, _ = grid
    means = [float(source.prepare(pixels).mean()) for pixels in SMOOTH.pixels]
    above = means[0] + 1e-3 if later else min(means) - 1
    assert (means[0] > above) is not later and max(means) > above
    file = sabotage.no_numbers(spec.file, tmp_path / "nan.onnx", (0, 4), above)
    spoiled = dataclasses.replace(spec, file=file, score_threshold=0.9999)
    report = judge_detector(source, spoiled, SMOOTH.pixels, SMOOTH.words)
    (raw,) = report.broken()
    assert raw.name == "raw outputs" and raw.figure == np.inf
    assert report.unjudged == ("boxes: none found on either side",)


@pytest.mark.parametrize("output", [0, 1], ids=["logits", "boxes"])
def test_an_output_that_is_no_number_is_caught(tmp_path: Path, output: int) -> None:
    source = open_checkpoint(made(tmp_path, "yolos", tiny_vision.yolos), None, "MIT")
    spec, _ = make_detector(source, tmp_path, Thresholds(), PICTURES)
    file = sabotage.no_numbers(spec.file, tmp_path / "nan.onnx", (output, 0))
    report = judge_detector(source, dataclasses.replace(spec, file=file), PICTURES.pixels, PICTURES.words)
    assert next(check for check in report.broken() if check.name == "raw outputs").figure == np.inf


def test_labels_in_another_order_are_caught(
    grid: tuple[DetectorSource, DetectorSpec, Report], tmp_path: Path
) -> None:
    source, spec, _ = grid
    other = tmp_path / "labels.txt"
    other.write_text("ball\ncone\nbox\n", encoding="utf-8")
    found = broken(judge_detector(source, dataclasses.replace(spec, labels=other), SMOOTH.pixels, ""))
    assert found["labels"].endswith("another model's: row 0 is 'ball', there 'box'")
    assert set(found) == {"labels", "boxes"} and not found["boxes"]


LOST = "a layer is lost: "


def test_a_lost_layer_of_a_transformer_is_named_by_its_place(tmp_path: Path) -> None:
    """Not by the number that the exporter gave its weight, nor by what follows from it."""
    source = open_checkpoint(made(tmp_path, "yolos", tiny_vision.yolos), None, "MIT")
    spec, _ = make_detector(source, tmp_path, Thresholds(), PICTURES)
    file = sabotage.zeroed(spec.file, tmp_path / "zeroed.onnx", ("MatMul",))
    found = broken(
        judge_detector(source, dataclasses.replace(spec, file=file), PICTURES.pixels, PICTURES.words)
    )
    place = r"the weight of \S+\.\w+ holds nothing but zeros"
    assert re.match(LOST + place, found.pop("raw outputs")), found
    assert found == {"boxes": ""}


def test_spoiled_towers_are_caught(pair: tuple[EmbedderSource, EmbedderSpec], tmp_path: Path) -> None:
    source, spec = pair

    def causes(spoiled: EmbedderSpec) -> dict[str, str]:
        return broken(judge_embedder(source, spoiled, PICTURES.pixels, PICTURES.words))

    other = dataclasses.replace(spec.preprocess, colour="bgr")
    assert "red and blue" in causes(dataclasses.replace(spec, preprocess=other))["preprocessing"]
    other = dataclasses.replace(spec.preprocess, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert "`mean`, `std`" in causes(dataclasses.replace(spec, preprocess=other))["preprocessing"]
    hundredth = tuple(1.02 * value for value in spec.preprocess.std)
    spoiled = dataclasses.replace(spec, preprocess=dataclasses.replace(spec.preprocess, std=hundredth))
    assert list(found := causes(spoiled)) == ["picture numbers"]
    assert "`mean`, `std` or `scale` is another: red is off by a factor of 1.02" in found["picture numbers"]
    file = sabotage.zeroed(spec.image, tmp_path / "image.onnx")
    found = causes(dataclasses.replace(spec, image=file))["picture vectors"]
    assert re.match(LOST + r"model\.vision_model\.embeddings\.patch_embedding\.weight holds", found)
    file = sabotage.zeroed(spec.image, tmp_path / "image1.onnx", ("MatMul",))
    found = causes(dataclasses.replace(spec, image=file))["picture vectors"]
    assert re.match(LOST + r"the weight of \S*vision_model\.encoder\.layers\.\d\.mlp\.fc\d holds", found)
    file = sabotage.swapped_inside(spec.image, tmp_path / "image2.onnx")
    assert (
        "red and blue are swapped inside" in causes(dataclasses.replace(spec, image=file))["picture vectors"]
    )
    assert spec.text
    file = sabotage.zeroed(spec.text.file, tmp_path / "text.onnx")
    text = dataclasses.replace(spec.text, file=file)
    found = causes(dataclasses.replace(spec, text=text))
    place = r"the weight of \S*text_model\.encoder\.layers\.\d\.mlp\.fc\d holds"
    assert list(found) == ["word vectors"] and re.match(LOST + place, found["word vectors"])
    settings = json.loads(spec.text.tokenizer.read_text(encoding="utf-8"))
    vocabulary = settings["model"]["vocab"]
    vocabulary["d</w>"], vocabulary["g</w>"] = vocabulary["g</w>"], vocabulary["d</w>"]
    (tmp_path / "other.json").write_text(json.dumps(settings), encoding="utf-8")
    text = dataclasses.replace(spec.text, tokenizer=tmp_path / "other.json")
    found = causes(dataclasses.replace(spec, text=text))
    assert set(found) == {"tokens", "word vectors"}
    assert "the tokenizer is another one, or pads with another token: 'a photo of a dog'" in found["tokens"]


class _Plain(torch.nn.Module):
    """Vectors that hardly differ from each other; what little they do, each seed does in its own way."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.eye = torch.nn.Linear(3 * 64, 16)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, 32, 32) -> (n, 16)."""
        small = torch.nn.functional.avg_pool2d(pictures, 4).flatten(1)
        return torch.ones(16) + 0.002 * self.eye(small)


def test_pictures_in_another_order_are_caught(tmp_path: Path) -> None:
    """Every vector is as near to the source's as asked, and others are the nearest."""
    rule = Preprocess((32, 32), "rgb", 1 / 255, (0.5,) * 3, (0.5,) * 3, "stretch")

    def prepare(pixels: Pixels) -> Floats:
        chw, _ = runtime_prepare(pixels, rule)
        return chw

    def source(seed: int) -> EmbedderSource:
        net = _Plain(seed).eval()

        def write(out: Path) -> None:
            export_onnx(net, torch.zeros(1, 3, 32, 32), out, Names(("pixel_values",), ("embeds",)), True)

        return EmbedderSource("plain", "plain", "MIT", 16, rule, net, write, prepare)

    spec, report = make_embedder(source(1), tmp_path, PICTURES)
    report.require()
    assert list(broken(judge_embedder(source(2), spec, PICTURES.pixels, PICTURES.words))) == ["picture order"]


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def changed(values: dict[str, object], name: str = "config.json") -> Callable[[Path], object]:
    """Other values in a JSON file; a table is added to the one that is there."""

    def change(folder: Path) -> None:
        config = json.loads((folder / name).read_text(encoding="utf-8"))
        whole = {
            key: {**config[key], **value} if isinstance(value, dict) else value
            for key, value in values.items()
        }
        (folder / name).write_text(json.dumps({**config, **whole}), encoding="utf-8")

    return change


def of_type(kind: str) -> Callable[[Path], object]:
    return changed({"model_type": kind})


def of_eyes(**values: object) -> Callable[[Path], object]:
    return changed({"vision_config": values})


def of_pictures(**values: object) -> Callable[[Path], object]:
    return changed(values, "preprocessor_config.json")


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def one_weight_less(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def no_words(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")


def without_words(folder: Path) -> None:
    for path in folder.iterdir():
        if "token" in path.name or path.name in ("vocab.json", "merges.txt"):
            path.unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without("preprocessor_config.json"), "has no preprocessor_config.json, so nobody knows how it want"),
        (without("config.json"), "is no checkpoint, it has no config.json that can be read: name a folder"),
        (without("model.safetensors"), "cannot be loaded"),
        (of_type("bert"), "holds a model of the type bert, no embedder that is known here: use one of clip"),
        (without("tokenizer.json"), ""),
        (without_words, "has no tokenizer that can be read"),
        (no_words, "has no tokenizer that can be read"),
        (cut_weights, "cannot be loaded .*: get the checkpoint again"),
        (one_weight_less, r"lacks weights, visual_projection.weight: get the checkpoint again"),
        (of_eyes(num_hidden_layers=1), r"has layers that its config.json does not know, vision_model\.enc"),
        (of_eyes(num_hidden_layers=3), r"lacks weights, vision_model.encoder.layers.2.\S+ and 15 more: "),
        (of_eyes(num_attention_heads="x"), "cannot be loaded"),
        (of_eyes(hidden_size=128), "cannot be loaded .*: get the checkpoint again"),
        (of_eyes(hidden_size=10**7, intermediate_size=10**7), "cannot be loaded .*: close other programs"),
        (of_pictures(image_mean=["a", 0, 0]), r"image_mean in .* is \['a', 0, 0\], not three numbers"),
        (of_pictures(image_mean=[float("nan"), 0, 0]), r"image_mean in .* is \[nan, 0, 0\], not three num"),
        (of_pictures(image_std=[0, 0, 0]), "image_std in .*, and nothing is divided by 0: get it again"),
        (of_pictures(rescale_factor="x"), "rescale_factor in .* is 'x', not a number other than 0"),
        (of_pictures(crop_size={"height": 10**6}), "gives no size of pictures from 1 to 4096: pass one with"),
        (of_pictures(crop_size="x"), "gives no size of pictures from 1 to 4096: pass one with --size"),
    ],
)
def test_a_bad_checkpoint_is_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    folder = made(tmp_path, "clip", tiny_vision.clip)
    spoil(folder)
    if not sentence:  # the vocabulary is enough
        assert open_embedder(folder, None, "MIT", stretch=False).text
        return
    with pytest.raises(KinsightError, match=sentence) as refused:
        open_embedder(folder, None, "MIT", stretch=False)
    assert "\n" not in str(refused.value) and refused.value.mend


def test_what_is_no_detector(tmp_path: Path) -> None:
    folder = made(tmp_path, "clip", tiny_vision.clip)
    with pytest.raises(
        ModelError, match="of the type clip, no detector that is known here: use one of detr, "
    ):
        open_checkpoint(folder, None, "MIT")


def test_no_room(tmp_path: Path) -> None:
    """What is asked for is more than any machine has: weights that are there in shape alone."""
    with torch.device("meta"):
        big, huge = torch.nn.Linear(20_000, 20_000, bias=False), torch.nn.Linear(2**15, 2**15, bias=False)
    with pytest.raises(ModelError, match=r"its weights are 4.3 GB, and one ONNX file holds no more than 2.0"):
        check_size([huge], tmp_path)
    with pytest.raises(ModelError, match=r"an export needs \d+.\d GB on the disk of .*: make room, or name"):
        check_size([big] * 100_000, tmp_path)


class _Greedy(torch.nn.Module):
    """Asks for more than any machine has while it is traced."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Never returns."""
        return pictures + torch.zeros(2**45)


def test_memory_that_runs_out_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        export_onnx(_Greedy(), torch.zeros(1), tmp_path / "x.onnx", Names(("a",), ("b",)), False)
    assert str(refused.value).endswith("): close other programs, or use a machine with more memory")


def test_a_licence_is_known_and_accepted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path, "dinov2", tiny_vision.dinov2)
    words = ["embedder", str(folder), "--out", str(tmp_path / "part")]
    (folder / "README.md").write_text("# no licence", encoding="utf-8")
    for more, sentence in (
        ([], "nobody says under which licence dinov2 is: pass --licence NAME"),
        (["--licence", "CC-BY-NC-4.0"], "dinov2 is under CC-BY-NC-4.0, which asks for more than to be named"),
        (["--licence", "CC-BY-NC-4.0", "--accept", "MIT"], "pass --accept CC-BY-NC-4.0 if you will keep it"),
        (["license: gemma"], "dinov2 is under gemma, which asks for more"),
        (["license: gemma", "--licence", "MIT"], "dinov2 says of itself that it is under gemma, and --lic"),
    ):
        if more and more[0].startswith("license:"):
            (folder / "README.md").write_text(f"---\n{more.pop(0)}\n---\n# A model", encoding="utf-8")
        with pytest.raises(SystemExit):
            main([*words, *more])
        assert sentence in capfd.readouterr().err
    assert not (tmp_path / "part").exists()
