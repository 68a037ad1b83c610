"""From the options of `kinsight-export bundle` to the parts of a bundle, each of which has run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinsight.bundle import Preprocess
from kinsight.errors import ConfigError
from kinsight_export.families import DETECTORS, EMBEDDERS, preprocess
from kinsight_export.parts import BundleSpec, DetectorSpec, EmbedderSpec, LlmSpec, TextSpec
from kinsight_export.trial import input_size, try_detector, try_embedder, try_llm, vector_length

_IMAGE_SIZE = 224
_OF_AN_LLM = ("mmproj", "sees", "image_max_tokens", "stop")
Options = Mapping[str, Any]


def bundle_spec(options: Options) -> BundleSpec:
    """Reads the options and runs every part once.

    Raises ConfigError for options that contradict each other, ModelError for a part that does not run.
    """
    _check_files(options)
    _check_companions(options)
    out: Path = options["out"]
    return BundleSpec(
        name=options["name"] or out.resolve().name,
        version=options["version"],
        world=options["world"],
        licence=options["licence"],
        detector=_detector(options),
        embedder=_embedder(options),
        llm=_llm(options) if options["llm"] else None,
    )


def _detector(options: Options) -> DetectorSpec:
    row = _row(DETECTORS, options["head"], "--head")
    settings = _settings(options["detector_set"])
    size = input_size(options["detector"], settings, None)
    spec = DetectorSpec(
        options["detector"],
        options["labels"],
        options["head"],
        preprocess(row, size, settings),
        options["score_threshold"],
        options["iou_threshold"],
    )
    try_detector(spec)
    return spec


def _embedder(options: Options) -> EmbedderSpec:
    image: Path = options["embedder_image"]
    row = _row(EMBEDDERS, options["embedder_family"], "--embedder-family")
    settings = _settings(options["embedder_set"])
    rule: Preprocess = preprocess(row, input_size(image, settings, _IMAGE_SIZE), settings)
    spec = EmbedderSpec(options["embedder_id"] or image.stem, vector_length(image, rule.size_wh), image, rule)
    if options["embedder_text"]:
        text = TextSpec(options["embedder_text"], options["tokenizer"], options["text_context"])
        spec = replace(spec, text=text)
    try_embedder(spec)
    return spec


def _llm(options: Options) -> LlmSpec:
    mmproj = options["mmproj"]
    spec = LlmSpec(
        file=options["llm"],
        sees=options["sees"] or ("photo+references" if mmproj else "nothing"),
        context=options["context"],
        max_references=options["max_references"],
        stop=tuple(options["stop"]),
        smoke=options["smoke"],
        mmproj=mmproj,
        image_max_tokens=options["image_max_tokens"],
    )
    try_llm(spec)
    return spec


def _check_files(options: Options) -> None:
    for name in ("detector", "labels", "embedder_image", "embedder_text", "tokenizer", "llm", "mmproj"):
        if options[name] and not options[name].is_file():
            raise ConfigError(f"there is no file {options[name]}", f"check {_flag(name)}")


def _check_companions(options: Options) -> None:
    if bool(options["embedder_text"]) != bool(options["tokenizer"]):
        raise ConfigError("a text tower and its tokenizer belong together", "pass both, or neither")
    idle = [_flag(name) for name in _OF_AN_LLM if options[name] and not options["llm"]]
    if idle:
        raise ConfigError(f"{idle[0]} means nothing without --llm", "pass --llm, or leave it out")
    if options["mmproj"] and not options["image_max_tokens"]:
        raise ConfigError("a model that sees needs a limit", "pass --image-max-tokens, say 64")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _row(rows: Mapping[str, Mapping[str, Any]], name: str, option: str) -> Mapping[str, Any]:
    if name not in rows:
        raise ConfigError(f"{option} {name} is not known", f"choose one of {', '.join(rows)}")
    return rows[name]


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    return {key.strip(): value.strip() for key, _, value in split}
