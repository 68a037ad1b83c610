"""`kinsight-export all`: a whole bundle for a device, from names of the catalogue and photos of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import into, progress
from kinsight_export.cli.options import A_FILE

if TYPE_CHECKING:
    from kinsight.bundle import Bundle
    from kinsight.config import DeviceConfig
    from kinsight_export.parts import BundleSpec, PartSpec


@dataclass
class Wish:
    """The options of this verb."""

    out: Path = field(default_factory=Path)
    device: str | None = None
    name: str | None = None
    photos: Path | None = None
    detector: Path | None = None
    embedder: Path | None = None
    llm: Path | None = None
    accept: tuple[str, ...] = ()
    mirror: str | None = None
    source: Path | None = None
    catalogue: Path | None = None
    replace: bool = False


_A_PART = "A part's folder in place of the catalogue's."
_ROWS: dict[str, dict[str, Any]] = {
    "--out": {"type": A_FILE, "required": True, "help": "Folder of the new bundle."},
    "--device": {"help": "Name or .toml file of the device config for which it is made."},
    "--bundle name": {"help": "Of the catalogue; else the one that the device config names."},
    "--photos": {"type": A_FILE, "help": "A folder of photos per identity: fewer bits, and when to name."},
    "--detector": {"type": A_FILE, "help": _A_PART},
    "--embedder": {"type": A_FILE, "help": _A_PART},
    "--llm": {"type": A_FILE, "help": _A_PART},
    "--accept": {"multiple": True, "metavar": "LICENCE", "help": "You agree to this licence; repeatable."},
    "--mirror": {"help": "Takes the place of https://HOST in every address."},
    "--from source": {"type": A_FILE, "help": "A folder or archive that has the files: no network."},
    "--catalogue": {"type": A_FILE, "help": "Another catalogue.toml."},
    "--replace": {"is_flag": True, "help": "Replace a bundle that is there already."},
}


@click.command(
    "all",
    params=[
        click.Option(name.split(), expose_value=False, callback=into(Wish), **row)
        for name, row in _ROWS.items()
    ],
    epilog="Example: kinsight-export all --device raspberry-pi-5 --photos identities --out my-bundle",
)
@click.pass_context
def all_(context: click.Context) -> None:
    """Make a whole bundle for a device: download, assemble, quantise, calibrate, try.

    The parts come from the catalogue's bundle for that device, or from folders that the other verbs wrote.
    With --photos, what is faster in fewer bits and names the same is taken, and the bundle is calibrated.
    """
    from kinsight.config import load_device
    from kinsight.home import open_home
    from kinsight_export.cli.calibrate import calibrated
    from kinsight_export.cli.quantise import Wish as Limits
    from kinsight_export.cli.quantise import quantised
    from kinsight_export.parts import write_bundle

    wish = context.ensure_object(Wish)
    device = load_device(wish.device, open_home().cache)
    spec = _assembled(wish, device)
    bundle = write_bundle(replace(spec, name=wish.out.resolve().name), wish.out, wish.replace)
    click.echo(f"{bundle.name} for {device.name} is written to {bundle.folder}.")
    if wish.photos:
        quantised(bundle.folder, wish.photos, Limits())
        calibrated(bundle.folder, wish.photos)
    else:
        click.echo(f"It names nobody yet: run kinsight-export calibrate {bundle.folder} PHOTOS.")
    _try(bundle, device, wish.photos is not None)


def _assembled(wish: Wish, device: DeviceConfig) -> BundleSpec:
    """The catalogue's bundle, with the parts that were given in place of its own."""
    from kinsight.catalogue import Order, load_catalogue, pull
    from kinsight.errors import ConfigError
    from kinsight.home import open_home
    from kinsight_export.licences import PERMISSIVE, strictest
    from kinsight_export.parts import read_part, spec_of

    name = wish.name or device.bundle
    if not name:
        raise ConfigError(f"the device config {device.name} names no bundle", "pass --bundle NAME")
    entry = load_catalogue(wish.catalogue).entry(name)
    order = Order(wish.mirror, wish.source, wish.accept)
    pulled, _ = pull(entry, open_home(), order, progress)
    spec = spec_of(pulled.folder)
    for kind, folder in (("detector", wish.detector), ("embedder", wish.embedder), ("llm", wish.llm)):
        if folder:
            part = read_part(folder)
            spec = replace(_put(spec, part.spec, kind, folder), parity={**spec.parity, **part.parity})
    stricter = strictest(
        [spec.detector.licence, spec.embedder.licence, spec.llm.licence if spec.llm else None]
    )
    return spec if stricter in PERMISSIVE else replace(spec, licence=stricter)


def _put(spec: BundleSpec, part: PartSpec, kind: str, folder: Path) -> BundleSpec:
    """The bundle with one part in place of its own. ConfigError where it is a part of another kind."""
    from kinsight.errors import ConfigError
    from kinsight_export.parts import DetectorSpec, EmbedderSpec, LlmSpec

    if kind == "detector" and isinstance(part, DetectorSpec):
        return replace(spec, detector=part)
    if kind == "embedder" and isinstance(part, EmbedderSpec):
        return replace(spec, embedder=part)
    if kind == "llm" and isinstance(part, LlmSpec):
        return replace(spec, llm=part)
    raise ConfigError(f"{folder} holds another part", f"pass it where it belongs, not to --{kind}")


def _try(bundle: Bundle, device: DeviceConfig, calibrated: bool) -> None:
    """Runs every model once, as `kinsight pull` does. BundleError where one fails that could do better."""
    from kinsight.bundle import read_bundle
    from kinsight.catalogue import try_bundle
    from kinsight.errors import BundleError

    failed = []
    for trial in try_bundle(read_bundle(bundle.folder), device):
        click.echo(f"{trial.part}: {trial.state}, {trial.words}")
        failed += (
            [trial.part] if trial.state == "failed" and (calibrated or trial.part != "recognition") else []
        )
    if failed:
        raise BundleError(f"{', '.join(failed)} of {bundle.name} failed", "choose another bundle or part")
