"""Makes the pocket bundle from seeds: trains its parts, exports them, compares, calibrates, measures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinsight import prompt
from kinsight.bundle import LlmPart, read_bundle
from kinsight.detect import Detector
from kinsight.drawn import KINDS
from kinsight.embed import Embedder
from kinsight.errors import ModelError
from kinsight.llm import Picture, Text, Turn
from kinsight_export.gguf_file import converter, quantise, to_gguf, to_mmproj
from kinsight_export.mllm.device import Device
from kinsight_export.parts import (
    BundleSpec,
    DetectorSpec,
    EmbedderSpec,
    LlmSpec,
    TextSpec,
    rewrite_calibration,
    write_bundle,
)
from kinsight_export.trial import WORKSTATION
from kinsight_train.calibrating import calibrate
from kinsight_train.detector import training as detector
from kinsight_train.detector.network import SHAPE, Network
from kinsight_train.embedder import training as embedder
from kinsight_train.embedder.data import CONTEXT, RULE
from kinsight_train.embedder.towers import DIM, Pair
from kinsight_train.mllm import training as mllm
from kinsight_train.mllm.model import Mllm, save_hf
from kinsight_train.mllm.parity import Parity, mllm_parity
from kinsight_train.mllm.sight import sight
from kinsight_train.mllm.sorts import lesson
from kinsight_train.mllm.tokenizer import END, MllmTokenizer

NAME, VERSION, LICENCE = "pocket", "4", "Apache-2.0"
FIGURES_FILE = "figures.json"
"""In the bundle: everything that was measured when it was made."""
UNQUANTISED = "unquantised"
"""Folder of the same bundle with the language model in float32, to compare with."""
_INDIVIDUALS = 500
_CALIBRATION_SEED = 7
_PARITY_PROMPTS = 100
LEAST_AGREEMENT, LEAST_SWAP_DIFFERENCE = 0.99, 0.1
"""Share of equal first tokens of unquantised model and torch; by how much swapped pictures change a logit."""
_SIGHT_SCENES = 160
MUST_SEE = ("presence", "position", "colour", "place")
_SMOKE = "A drawn scene with one named thing; the answer must contain the name."
Report = Callable[[str], None]


@dataclass(frozen=True)
class Workshop:
    """Where checkpoints and files in between are kept, whom to tell, how many processes draw."""

    folder: Path
    report: Report
    workers: int = 1

    def part(self, name: str) -> Path:
        """The folder of one part."""
        return self.folder / name


def train_detector(shop: Workshop) -> Network:
    """The detector's network, trained to its end from where it was stopped."""
    return detector.train_detector(
        shop.part("detector"), detector.DETECTOR_SCHEDULE, shop.report, shop.workers
    )


def train_embedder(shop: Workshop) -> Pair:
    """The pair of towers, likewise."""
    return embedder.train_embedder(
        shop.part("embedder"), embedder.EMBEDDER_SCHEDULE, shop.report, shop.workers
    )


def train_mllm(shop: Workshop) -> tuple[Mllm, MllmTokenizer]:
    """The language model with its vocabulary, likewise."""
    return mllm.train_mllm(shop.part("mllm"), shop.report, shop.workers)


@dataclass(frozen=True)
class Seeing:
    """Detector and embedder as they go into the bundle, and their figures."""

    detector: DetectorSpec
    embedder: EmbedderSpec  # without a calibration where it is still to be fitted
    figures: Mapping[str, Any]


def exported_seeing(shop: Workshop) -> Seeing:
    """Both in ONNX from their checkpoints; ModelError where one is not trained yet, or an export differs."""
    files = shop.part("files")
    files.mkdir(parents=True, exist_ok=True)
    shop.report("exporting the detector and both towers")
    (files / "labels.txt").write_text("".join(f"{kind}\n" for kind in KINDS), "utf-8")
    network = detector.load_detector(shop.part("detector"))
    pair = embedder.load_embedder(shop.part("embedder"))
    figures = {
        "detector_onnx": detector.export_detector(network, files / "detector.onnx"),
        "embedder_onnx": embedder.export_embedder(pair, files),
        "detector": vars(detector.evaluate(network, 7, 300)),
        "embedder": vars(embedder.evaluate(pair, 7)),
    }
    part = detector.part(files / "detector.onnx", SHAPE.size)
    text = TextSpec(files / embedder.TEXT_FILE, files / embedder.TOKENIZER_FILE, CONTEXT)
    return Seeing(
        DetectorSpec(
            part.file, files / "labels.txt", part.head, part.preprocess,
            part.score_threshold, part.iou_threshold,
        ),
        EmbedderSpec("pocket-clip-1", DIM, files / embedder.IMAGE_FILE, RULE, text),
        figures,
    )  # fmt: skip


def kept_seeing(folder: Path) -> Seeing:
    """Both as they are in a pocket bundle that is there already, with their figures.

    Raises BundleError where the bundle is none, ModelError where its figures are missing.
    """
    bundle = read_bundle(folder)
    part, towers, text = bundle.detector, bundle.embedder, bundle.embedder.text
    try:
        told = json.loads((folder / FIGURES_FILE).read_text("utf-8"))
        figures = {name: told[name] for name in ("detector_onnx", "embedder_onnx", "detector", "embedder")}
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} lacks figures of its parts ({error})", "make all of it anew") from error
    return Seeing(
        DetectorSpec(
            part.file, folder / "labels.txt", part.head, part.preprocess,
            part.score_threshold, part.iou_threshold,
        ),
        EmbedderSpec(
            towers.id, towers.dim, towers.image.file, towers.image.preprocess,
            TextSpec(text.file, text.tokenizer, text.context) if text else None, towers.calibration,
        ),
        figures,
    )  # fmt: skip


def make_bundle(shop: Workshop, seeing: Seeing) -> tuple[Path, dict[str, Any]]:
    """Convert and quantise the language model, compare it with torch, bundle it, calibrate; folder, figures.

    Raises ModelError where it is not trained yet, the converted one differs from it, or it does not look.
    """
    files = shop.part("files")
    files.mkdir(parents=True, exist_ok=True)
    shop.report("converting the language model")
    model, tokenizer = mllm.load_mllm(shop.part("mllm"))
    convert_mllm(model, tokenizer, shop)
    figures = dict(seeing.figures)
    for kind, suffix in {"unquantised": "f32", "q8_0": "q8_0"}.items():
        part = llm_part(files / f"llm-{suffix}.gguf", files / f"mmproj-{suffix}.gguf")
        parity = compare(model, tokenizer, part)
        shop.report(f"{kind}: the same first token after {parity.same_top} of {parity.prompts} prompts")
        figures[f"llm_{kind}"] = _flat(parity)
    refuse_other(figures["llm_unquantised"], figures["llm_q8_0"])
    shop.report("writing the bundle")
    out = shop.part(NAME)
    bundle = write_bundle(_spec(seeing, files, figures, "q8_0"), out, replace=True)
    write_bundle(_spec(seeing, files, figures, "f32"), shop.part(UNQUANTISED), replace=True)
    if bundle.embedder.calibration is None:
        pair = Detector(bundle.detector, WORKSTATION), Embedder(bundle.embedder, WORKSTATION)
        calibration = calibrate(*pair, _INDIVIDUALS, _CALIBRATION_SEED)
        for folder in (out, shop.part(UNQUANTISED)):
            rewrite_calibration(folder, calibration)
    megabytes = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    shop.report(f"{out} is written, {megabytes:.1f} MB")
    return out, {**figures, "megabytes": round(megabytes, 1)}


def measure_sight(shop: Workshop) -> dict[str, Any]:
    """How well the language model sees, on scenes and names of no training, and what it says blindly."""
    model, tokenizer = mllm.load_mllm(shop.part("mllm"))
    seen, blank = (sight(model, tokenizer, 7, _SIGHT_SCENES, blank=blank) for blank in (False, True))
    return {
        "pictures_only": {name: one.share for name, one in seen.items()},
        "pictures_blanked": {name: one.share for name, one in blank.items()},
        "pictures_asked": {name: len(one.right) for name, one in seen.items()},
        "chance": {name: one.chance for name, one in seen.items()},
    }


def convert_mllm(model: Mllm, tokenizer: MllmTokenizer, shop: Workshop) -> None:
    """GGUF and mmproj through llama.cpp's converter: in float32 for the comparison, in Q8_0 to ship."""
    files = shop.part("files")
    checkpoint = save_hf(model, tokenizer, shop.part("checkpoint"))
    tools = converter(shop.folder.parent / "converter")
    to_gguf(checkpoint, files / "llm-f32.gguf", "f32", tools)
    to_mmproj(checkpoint, files / "mmproj-f32.gguf", "f32", tools)
    to_mmproj(checkpoint, files / "mmproj-q8_0.gguf", "q8_0", tools)
    quantise(files / "llm-f32.gguf", files / "llm-q8_0.gguf", "Q8_0")


def compare(model: Mllm, tokenizer: MllmTokenizer, part: LlmPart) -> Parity:
    """llama.cpp against torch on prompts with pictures, as the runtime makes them."""
    device = Device(part, replace(WORKSTATION, threads=1))  # a tiny model is slower with more
    try:
        return mllm_parity(model, tokenizer, device, parity_prompts(_PARITY_PROMPTS))
    finally:
        device.close()


def parity_prompts(count: int, seed: int = 5) -> list[list[Turn]]:
    """Prompts about drawn photos and references, of no training.

    Every other one is as in a lesson; the others ask for what the pictures tell from the first word on.
    """
    prompts: list[list[Turn]] = []
    number = 0
    while len(prompts) < count:
        rng = np.random.default_rng((seed, number, 0, 4))
        number += 1
        each = lesson(rng, blocks=1)
        if sum(isinstance(part, Picture) for part in each.opened) < 2:
            continue
        names = [part.text for part in each.opened if isinstance(part, Text)]
        name = names[names.index("Name: ") + 1]
        blind = prompt.asking(f"Is {name} in the photo?", [], "")
        asked = blind if len(prompts) % 2 else each.talks[0][0][0]
        prompts.append(prompt.turns(each.opened, [], asked))
    return prompts


def llm_part(file: Path, mmproj: Path) -> LlmPart:
    """The files as a bundle has them."""
    return LlmPart(
        file,
        "",
        mmproj,
        "",
        "photo+references",
        mllm.SHAPE.context,
        3,
        mllm.SHAPE.picture_tokens,
        (END,),
        _SMOKE,
    )


def _spec(seeing: Seeing, files: Path, figures: Mapping[str, Any], kind: str) -> BundleSpec:
    compared = ("detector_onnx", "embedder_onnx", "llm_unquantised", "llm_q8_0")
    return BundleSpec(
        name=NAME,
        version=VERSION,
        world="drawn",
        licence=LICENCE,
        detector=seeing.detector,
        embedder=seeing.embedder,
        llm=LlmSpec(
            files / f"llm-{kind}.gguf", "photo+references", mllm.SHAPE.context, 3, (END,), _SMOKE,
            files / f"mmproj-{kind}.gguf", mllm.SHAPE.picture_tokens,
        ),
        parity={name: figures[name] for name in compared},
    )  # fmt: skip


def refuse_other(unquantised: Mapping[str, Any], quantised: Mapping[str, Any]) -> None:
    """ModelError where the converted model is not the trained one, or does not look at its pictures.

    Both are figures of a `Parity`. What pictures change must be more than what the quantisation changes.
    """
    agree = unquantised["same_top"] / unquantised["prompts"]
    if agree < LEAST_AGREEMENT:
        raise ModelError(
            f"llama.cpp agrees with torch after {agree:.1%} of the prompts",
            "see to the converter's version and the pictures' preprocessing",
        )
    least = max(LEAST_SWAP_DIFFERENCE, quantised["largest_difference"])
    swapped = [one["swapped_difference"] for one in (unquantised, quantised)]
    if not all(difference > least for difference in swapped):  # nan is not more
        raise ModelError(
            f"swapped pictures change a logit by {swapped[0]:.3f}, quantised by {swapped[1]:.3f}, which is "
            f"not more than {least:.3f}",
            "train the language model longer: it does not look",
        )


def refuse_blind(figures: Mapping[str, Any]) -> None:
    """ModelError where questions that only pictures answer are not answered better than blindly.

    `figures` are those of `measure_sight`; postures are told in the card and not asked for here. Blindly is
    with blank pictures, or with the best guess where that is better; better is by three standard errors of a
    share.
    """
    for name in MUST_SEE:
        seen, blank, guess = (figures[of][name] for of in ("pictures_only", "pictures_blanked", "chance"))
        asked, blind = figures["pictures_asked"][name], max(blank, guess)
        if seen - blind <= 3 * (blind * (1 - blind) / asked) ** 0.5:
            raise ModelError(
                f"{name} by pictures alone: {seen:.2f} of {asked} right, with blank ones {blank:.2f}, by the "
                f"best guess {guess:.2f}",
                "train the language model longer: it does not look",
            )


def _flat(parity: Parity) -> dict[str, Any]:
    return {name: round(value, 4) for name, value in vars(parity).items()}
