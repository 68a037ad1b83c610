"""From the options of `kinsight-export bundle` to the parts of a bundle, each of which has run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from kinsight.bundle import Calibration, Preprocess
from kinsight.errors import ConfigError
from kinsight.llm.header import read_header
from kinsight_export.adopted import licence_inside
from kinsight_export.families import DETECTORS, EMBEDDERS, preprocess
from kinsight_export.licences import licence_of_all, spdx
from kinsight_export.parts import (
    BundleSpec,
    DetectorSpec,
    EmbedderSpec,
    FacesSpec,
    LlmSpec,
    Part,
    TextSpec,
    read_part,
)
from kinsight_export.trial import (
    ANOTHER_HEAD,
    GET_AGAIN,
    face_vector_length,
    input_size,
    not_yet_bundled,
    refuse_other_size,
    try_classes,
    try_detector,
    try_embedder,
    try_faces,
    try_llm,
    vector_length,
)

_IMAGE_SIZE = 224
_Spec = TypeVar("_Spec", DetectorSpec, EmbedderSpec, LlmSpec)
_OF_FILES = {
    "detector": ("head", "labels", "detector_set"),
    "embedder": ("embedder_image", "embedder_set", "embedder_text", "tokenizer", "embedder_id"),
    "llm": ("mmproj", "sees", "image_max_tokens", "stop"),
}
"""Options that say of a file what the folder of a part says itself."""
_FILES = (
    *("detector", "labels", "embedder_image", "embedder_text", "tokenizer"),
    *("face_detector", "face_embedder", "llm", "mmproj"),
)
_OF_FACES = ("face_detector", "face_embedder")
_OF_SFACE = Calibration(
    curve=((0.2, 0.01), (0.363, 0.5), (0.45, 0.9), (0.6, 0.99)),
    accept_probability=0.9,
    unsure_probability=0.5,
    margin=0.05,
    fitted_on="not measured; .363 is the cosine from which OpenCV takes two faces of SFace for one person's",
    estimated=True,
)
_OF_AN_LLM = ("mmproj", "sees", "image_max_tokens", "stop")
Options = Mapping[str, Any]


def bundle_spec(options: Options) -> BundleSpec:
    """Reads the options and runs every part once.

    Raises ConfigError for options that contradict each other, ModelError for a part that does not run.
    """
    folders = _part_folders(options)
    _check_files(options, folders)
    _check_companions(options)
    parts = {kind: read_part(folder) for kind, folder in folders.items()}
    out: Path = options["out"]
    detector = _kept(parts.get("detector"), DetectorSpec) or _detector(options)
    embedder = _kept(parts.get("embedder"), EmbedderSpec) or _embedder(options)
    try_classes(detector, embedder)
    llm = _kept(parts.get("llm"), LlmSpec) or (_llm(options) if options["llm"] else None)
    faces = _faces(options) if options["face_detector"] else None
    return BundleSpec(
        name=options["name"] or out.resolve().name,
        version=options["version"],
        world=options["world"],
        licence=licence_of_all(
            options["licence"], [part.licence for part in (detector, embedder, llm, faces) if part]
        ),
        detector=detector,
        embedder=embedder,
        llm=llm,
        faces=faces,
        parity={name: rows for part in parts.values() for name, rows in part.parity.items()},
    )


def _part_folders(options: Options) -> dict[str, Path]:
    """Kind of part -> folder, where a folder was given in place of files."""
    folders = {kind: Path(options[kind]) for kind in ("detector", "embedder", "llm") if options[kind]}
    folders = {kind: path for kind, path in folders.items() if kind == "embedder" or path.is_dir()}
    for kind in folders:
        if idle := [_flag(name) for name in _OF_FILES[kind] if options[name]]:
            raise ConfigError(f"{idle[0]} means nothing with the folder of a part", "leave it out")
    return folders


def _kept(part: Part | None, kind: type[_Spec]) -> _Spec | None:
    """What a part's folder holds, if one was given; ConfigError where it holds another kind of part."""
    if part and not isinstance(part.spec, kind):
        there, wanted = (name.__name__.removesuffix("Spec").lower() for name in (type(part.spec), kind))
        raise ConfigError(f"{part.folder} holds the part {there}", f"name the folder of the part {wanted}")
    return part.spec if part and isinstance(part.spec, kind) else None


def _detector(options: Options) -> DetectorSpec:
    if idle := [name for name in ("head", "labels") if not options[name]]:
        raise ConfigError(f"{_flag(idle[0])} is missing", f"pass it, as {options['detector']} is a file")
    row = _row(DETECTORS, options["head"], "--head")
    settings = _settings(options["detector_set"])
    with not_yet_bundled(GET_AGAIN):
        size = input_size(options["detector"], settings, None)
    rule = preprocess(row, size, settings)
    refuse_other_size(options["detector"], rule.size_wh)
    spec = DetectorSpec(
        options["detector"],
        options["labels"],
        options["head"],
        rule,
        options["score_threshold"],
        options["iou_threshold"],
        licence_inside(options["detector"]),
    )
    with not_yet_bundled(ANOTHER_HEAD):
        try_detector(spec)
    return spec


def _embedder(options: Options) -> EmbedderSpec:
    image: Path = options["embedder_image"]
    row = _row(EMBEDDERS, options["embedder_family"], "--embedder-family")
    settings = _settings(options["embedder_set"])
    with not_yet_bundled(GET_AGAIN):
        rule: Preprocess = preprocess(row, input_size(image, settings, _IMAGE_SIZE), settings)
        refuse_other_size(image, rule.size_wh)
        dim = vector_length(image, rule.size_wh)
    spec = EmbedderSpec(options["embedder_id"] or image.stem, dim, image, rule)
    if options["embedder_text"]:
        text = TextSpec(options["embedder_text"], options["tokenizer"], options["text_context"])
        spec = replace(spec, text=text)
    with not_yet_bundled(GET_AGAIN):
        try_embedder(spec)
    return spec


def _faces(options: Options) -> FacesSpec:
    """The models for faces, with a calibration that is an estimate and says so."""
    recogniser: Path = options["face_embedder"]
    spec = FacesSpec(
        id=recogniser.stem,
        dim=face_vector_length(recogniser),
        detector=options["face_detector"],
        recogniser=recogniser,
        score_threshold=options["face_threshold"],
        calibration=_OF_SFACE,
        licence=options["face_licence"],
    )
    try_faces(spec)
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
    with not_yet_bundled(GET_AGAIN):
        try_llm(spec)
        stated = read_header(spec.file).values.get("general.license")
    return replace(spec, licence=spdx(str(stated or "")))


def _check_files(options: Options, folders: Mapping[str, Path]) -> None:
    if not options["embedder"] and not options["embedder_image"]:
        raise ConfigError("there is no embedder", "pass --embedder FOLDER, or --embedder-image FILE")
    for name in _FILES:
        if name not in folders and options[name] and not options[name].is_file():
            raise ConfigError(f"there is no file {options[name]}", f"check {_flag(name)}")


def _check_companions(options: Options) -> None:
    if bool(options["embedder_text"]) != bool(options["tokenizer"]):
        raise ConfigError("a text tower and its tokenizer belong together", "pass both, or neither")
    idle = [_flag(name) for name in _OF_AN_LLM if options[name] and not options["llm"]]
    if idle:
        raise ConfigError(f"{idle[0]} means nothing without --llm", "pass --llm, or leave it out")
    if bool(options["face_detector"]) != bool(options["face_embedder"]):
        raise ConfigError("--face-detector and --face-embedder belong together", "pass both, or neither")
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
