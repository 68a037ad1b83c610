"""`kinsight-export detector`: a detector as ONNX, proven, in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from kinsight_export.cli.options import A_FILE, PartWish, finish, verb_options

if TYPE_CHECKING:
    from kinsight_export.gate import Report
    from kinsight_export.making import Pictures
    from kinsight_export.parts import DetectorSpec
    from kinsight_export.sources import Vocabulary


@dataclass
class Wish(PartWish):
    """The options of this verb."""

    head: str | None = None
    labels: Path | None = None
    settings: tuple[str, ...] = ()
    score_threshold: float = 0.1
    iou_threshold: float = 0.5
    classes: str | None = None
    words: Path | None = None
    open_classes: bool = False


_OPTIONS = verb_options(
    Wish,
    {
        "--head": {"help": "Of an ONNX file, where it is not recognised: yolox | yolov8 | end2end | detr."},
        "--labels": {"type": A_FILE, "help": "Of an ONNX file: a text file, one label a line."},
        "--set settings": {
            "multiple": True,
            "metavar": "KEY=VALUE",
            "help": "Of an ONNX file: a preprocessing key.",
        },
        "--score-threshold": {"type": click.FloatRange(0, 1), "help": "Else 0.1."},
        "--iou-threshold": {"type": click.FloatRange(0, 1), "help": "Else 0.5."},
        "--classes": {"help": "For YOLO-World: what it is to look for, separated by commas."},
        "--words": {"type": A_FILE, "help": "The part of CLIP ViT-B/32 that puts --classes into vectors."},
        "--open-classes": {
            "is_flag": True,
            "help": "Its classes stay an input, so that it looks for the categories that you teach as well.",
        },
    },
)


@click.command(
    params=_OPTIONS,
    epilog="Examples: kinsight-export detector yolo11n.pt --accept AGPL-3.0 --out my-detector, or "
    "kinsight-export detector dfine-n-coco --photos ~/Pictures --out my-detector, or "
    "kinsight-export detector yolox_nano.onnx --labels coco.txt --out my-detector",
)
@click.argument("source")
@click.pass_context
def detector(context: click.Context, source: str) -> None:
    """Turn SOURCE into a detector for a bundle, and prove that it finds the same.

    SOURCE is a .pt file of Ultralytics' or one of its configs (yolo11n.yaml), a folder with a checkpoint of
    transformers (YOLOS, RT-DETR, D-FINE), or an ONNX file that you have (YOLOX, DEIMv2, ...).
    """
    from kinsight_export.gate.pictures import pictures_of
    from kinsight_export.making import Pictures
    from kinsight_export.parts import write_part

    wish = context.ensure_object(Wish)
    with TemporaryDirectory(prefix="kinsight-export-") as scratch:
        spec, report = _made(source, wish, Path(scratch), Pictures(*pictures_of(wish.photos)))
        finish([report], wish.plot)
        part = write_part(spec, {report.part: report.table()}, wish.out, wish.replace)
    click.echo(f"The detector is in {part.folder}: kinsight-export bundle --detector {part.folder} takes it.")


def _made(source: str, wish: Wish, scratch: Path, pictures: Pictures) -> tuple[DetectorSpec, Report]:
    """The part and what the gate says of it."""
    from dataclasses import replace

    from kinsight.bundle.files import check_onnx
    from kinsight.errors import ConfigError
    from kinsight_export.adopted import Thresholds, adopt, judge_adopted
    from kinsight_export.licences import ULTRALYTICS, licence_of, required_licence
    from kinsight_export.making import make_detector
    from kinsight_export.sources import need_libraries
    from kinsight_export.sources.processor import detector_type
    from kinsight_export.trial import GET_AGAIN, not_yet_bundled

    thresholds, path = Thresholds(wish.score_threshold, wish.iou_threshold), Path(source)
    if path.suffix in (".pt", ".yaml", ".yml"):
        required_licence(wish.licence, [ULTRALYTICS], wish.accept, f"{path.name} and what is made of it")
        need_libraries()
        from kinsight_export.sources.ultralytics_yolo import open_yolo

        yolo = open_yolo(source, wish.size, _vocabulary(wish))
        return make_detector(yolo, scratch, thresholds, pictures)
    if path.is_dir():
        detector_type(path)
        need_libraries()
        from kinsight_export.sources.transformers_detectors import open_checkpoint

        licence = required_licence(wish.licence, [licence_of(path)], wish.accept, path.name)
        return make_detector(open_checkpoint(path, wish.size, licence), scratch, thresholds, pictures)
    if path.suffix != ".onnx" or not path.is_file():
        raise ConfigError(
            f"{source} is no .pt, .yaml or .onnx file and no folder with a checkpoint", "check the path"
        )
    with not_yet_bundled(GET_AGAIN):
        check_onnx(path)
    if wish.labels is None:
        raise ConfigError("--labels is missing", "pass the labels of the ONNX file, one a line")
    settings = dict(pair.partition("=")[::2] for pair in wish.settings)
    if wish.size:
        settings["size_wh"] = ",".join(map(str, wish.size))
    spec = adopt(path, wish.head, wish.labels, settings, thresholds)
    licence, drawn = (
        required_licence(wish.licence, [spec.licence], wish.accept, path.name),
        wish.photos is None,
    )
    return replace(spec, licence=licence), judge_adopted(spec, pictures.pixels, pictures.words, drawn)


def _vocabulary(wish: Wish) -> Vocabulary | None:
    """--classes, which are put into vectors by --words."""
    from kinsight.embed import Embedder
    from kinsight.errors import ConfigError
    from kinsight_export.parts import EmbedderSpec, read_part
    from kinsight_export.sources import Vocabulary
    from kinsight_export.trial import WORKSTATION, embedder_part

    if wish.classes is None and wish.words is None and not wish.open_classes:
        return None
    if wish.words is None or not (wish.classes or wish.open_classes):
        asked = "--open-classes" if wish.open_classes else "--classes"
        raise ConfigError(f"{asked} and --words belong together", "pass both, or neither")
    spec = read_part(wish.words).spec
    if not isinstance(spec, EmbedderSpec) or not spec.text:
        raise ConfigError(f"{wish.words} has no words", "name the part of an embedder with a text tower")
    given = (wish.classes or "").split(",")
    labels = tuple(dict.fromkeys(label.strip() for label in given if label.strip()))
    return Vocabulary(
        labels, Embedder(embedder_part(spec), WORKSTATION).texts, spec.id, as_input=wish.open_classes
    )
