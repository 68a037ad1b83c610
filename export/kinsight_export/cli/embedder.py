"""`kinsight-export embedder`: the towers of an embedder as ONNX, proven, in a folder of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from kinsight_export.cli.options import PartWish, finish, verb_options


@dataclass
class Wish(PartWish):
    """The options of this verb."""

    id: str | None = None
    stretch: bool = False


_OPTIONS = verb_options(
    Wish,
    {
        "--id": {"help": "Stored with every vector; else the folder's name."},
        "--stretch": {"is_flag": True, "help": "See all of a picture instead of its middle."},
    },
)


@click.command(
    params=_OPTIONS,
    epilog="Example: kinsight-export embedder clip-vit-base-patch32 --photos ~/Pictures --out my-embedder",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.pass_context
def embedder(context: click.Context, checkpoint: Path) -> None:
    """Turn CHECKPOINT into an embedder for a bundle, and prove that its vectors are the same.

    CHECKPOINT is a folder of transformers: CLIP, SigLIP or SigLIP2 (a tower for pictures and one for words),
    or DINOv2 (pictures alone). The preprocessing is read from its processor.
    """
    from kinsight.errors import ConfigError
    from kinsight_export.gate.pictures import pictures_of
    from kinsight_export.licences import licence_of, required_licence
    from kinsight_export.making import Pictures, make_embedder
    from kinsight_export.parts import write_part
    from kinsight_export.sources import need_libraries

    if not checkpoint.is_dir():
        raise ConfigError(f"there is no folder {checkpoint}", "check the path")
    need_libraries()
    from kinsight_export.sources.transformers_embedders import open_embedder

    wish = context.ensure_object(Wish)
    licence = required_licence(wish.licence, [licence_of(checkpoint)], wish.accept, checkpoint.name)
    source = open_embedder(checkpoint, wish.size, licence, wish.stretch)
    source = replace(source, id=wish.id or source.id)
    with TemporaryDirectory(prefix="kinsight-export-") as scratch:
        spec, report = make_embedder(source, Path(scratch), Pictures(*pictures_of(wish.photos)))
        finish([report], wish.plot)
        part = write_part(spec, {report.part: report.table()}, wish.out, wish.replace)
    click.echo(f"The embedder is in {part.folder}: kinsight-export bundle --embedder {part.folder} takes it.")
