"""The verbs of models: `pull` gets a bundle, `models` lists, shows, adds, tries and removes them."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import AS_JSON, Desk, desk_options, into, pass_desk
from kinsight.cli.show import clean_line, columns, print_json, say

if TYPE_CHECKING:
    from kinsight.bundle import Bundle
    from kinsight.catalogue import Catalogue, Entry, Fit
    from kinsight.config import DeviceConfig
    from kinsight.home import Home

_FILE = click.Path(path_type=Path)
_CATALOGUE = click.option(
    "--catalogue",
    type=_FILE,
    expose_value=False,
    callback=into(Desk),
    help="Another catalogue than that of kinsight.",
)
_EVERY = 0.2  # seconds between two lines of progress on a terminal


@dataclass
class Pulling:
    """The options of `pull`."""

    mirror: str | None = None
    source: Path | None = None
    accept: tuple[str, ...] = ()
    again: bool = False
    untried: bool = False


_pulling = partial(click.option, expose_value=False, callback=into(Pulling))


@click.command(
    epilog="Examples: kinsight pull tiny, kinsight pull small --mirror https://models.example.org, "
    "kinsight pull small --from /media/usb"
)
@click.argument("name")
@_pulling(
    "--mirror",
    help="Takes the place of https://HOST in every address; its paths are the same.",
)
@_pulling(
    "--from",
    "source",
    type=_FILE,
    help="A folder or an archive that has the files: nothing is downloaded.",
)
@_pulling(
    "--accept",
    multiple=True,
    metavar="LICENCE",
    help="You agree to this licence; repeatable.",
)
@_pulling(
    "--again",
    is_flag=True,
    help="Even where it is installed already.",
)
@_pulling(
    "--no-try",
    "untried",
    is_flag=True,
    help="Do not ask its smoke question afterwards.",
)
@_CATALOGUE
@AS_JSON
@pass_desk
@click.pass_context
def pull(context: click.Context, desk: Desk, name: str) -> None:
    """Get the bundle NAME of the catalogue (`kinsight models` lists it).

    Every file is checked against its hash. Run the same command again after a stop: it goes on where it was.
    The bundle is put in place whole, and then tried; ends with 1 where that fails.
    """
    from kinsight.catalogue import Order, load_catalogue
    from kinsight.catalogue import pull as get
    from kinsight.config import load_device

    asked = context.ensure_object(Pulling)
    home, entry = desk.opened_home(), load_catalogue(desk.catalogue).entry(name)
    fits = _fit(entry, load_device(desk.device, home.cache), home)
    if not fits.fits:
        desk.note(f"does {name} fit this machine? {fits.words}")
    order = Order(asked.mirror, asked.source, asked.accept, asked.again)
    with Meter(desk) as meter:
        bundle, fresh = get(entry, home, order, meter.told)
    well = asked.untried or _tried(desk, bundle)
    if desk.as_json:
        shape = {"format": 1, "bundle": bundle.name, "folder": str(bundle.folder), "fresh": fresh}
        print_json({**shape, "tried": None if asked.untried else well})
    else:
        say(f"{bundle.name} is {'installed' if fresh else 'installed already'} in {bundle.folder}.")
        _say_calibration(desk, bundle)
    context.exit(0 if well else 1)


@click.group(invoke_without_command=True)
@_CATALOGUE
@AS_JSON
@pass_desk
@click.pass_context
def models(context: click.Context, desk: Desk) -> None:
    """Bundles of models: what can be pulled, what fits this machine, what is installed."""
    if context.invoked_subcommand is None:
        _list(desk)


@models.command("list", epilog="Example: kinsight models list --json")
@_CATALOGUE
@AS_JSON
@pass_desk
def list_(desk: Desk) -> None:
    """List the bundles of the catalogue: size, licence, devices, whether they fit, whether they are there."""
    _list(desk)


@models.command(epilog="Example: kinsight models show tiny")
@click.argument("name")
@_CATALOGUE
@AS_JSON
@pass_desk
def show(desk: Desk, name: str) -> None:
    """Show where every file of NAME comes from, with its hash, to bring them without a network."""
    from kinsight.catalogue import load_catalogue

    entry = load_catalogue(desk.catalogue).entry(name)
    if desk.as_json:
        print_json({"format": 1, **_entry_json(entry), "files": [asdict(file) for file in entry.files]})
        return
    say(f"{entry.name}: {entry.summary}. {entry.size / 1e6:.0f} MB, {entry.licence}.")
    for part in entry.parts:
        say(f"\n{part.role}: {part.name}, {part.licence}")
        for file in part.files:
            say(f"  {file.name}, {file.size / 1e6:.1f} MB\n    {file.url}\n    sha256 {file.sha256}")


@models.command(epilog="Example: kinsight models add my-bundle.zip")
@click.argument("path", type=_FILE)
@click.option("--replace", is_flag=True, help="Replace a bundle of that name.")
@click.option("--no-try", "untried", is_flag=True, help="Do not ask its smoke question afterwards.")
@pass_desk
@click.pass_context
def add(context: click.Context, desk: Desk, path: Path, replace: bool, untried: bool) -> None:
    """Install the bundle in PATH, which is a folder, a zip or a tar archive; no network is used."""
    from kinsight.catalogue import add as bring

    bundle = bring(path, desk.opened_home(), replace)
    say(f"{bundle.name} is installed in {bundle.folder}.")
    well = untried or _tried(desk, bundle)
    _say_calibration(desk, bundle)
    context.exit(0 if well else 1)


@models.command("try", epilog="Example: kinsight models try tiny")
@click.argument("name", required=False)
@AS_JSON
@pass_desk
@click.pass_context
def try_(context: click.Context, desk: Desk, name: str | None) -> None:
    """Run every model of a bundle once, and ask its smoke question; ends with 1 where one fails.

    NAME is an installed bundle or a folder; without it the one that would be used is tried.
    """
    from kinsight.bundle import find_bundle, pocket_folder, read_bundle
    from kinsight.catalogue import try_bundle
    from kinsight.config import load_device

    home = desk.opened_home()
    device = load_device(desk.device, home.cache)
    folder, reason = find_bundle(name or desk.bundle, device.bundle, home.bundles, pocket_folder())
    desk.choice(f"bundle {folder.name}: {reason}; device {device.name}: {device.reason}")
    trials = []
    for trial in try_bundle(read_bundle(folder), device):
        trials.append(trial)
        if not desk.as_json:
            say(f"{trial.part}: {trial.state}, {trial.words}")
    well = all(trial.state != "failed" for trial in trials)
    if desk.as_json:
        print_json({"format": 1, "well": well, "trials": [asdict(trial) for trial in trials]})
    context.exit(0 if well else 1)


@models.command(epilog="Example: kinsight models remove tiny")
@click.argument("name")
@pass_desk
def remove(desk: Desk, name: str) -> None:
    """Delete the installed bundle NAME; what you taught stays, and is embedded anew for another bundle."""
    from kinsight.catalogue import remove as delete

    freed = delete(name, desk.opened_home())
    say(f"{name} is removed, {freed / 1e6:.0f} MB are free again.")


for _verb in models.commands.values():
    _verb.params.extend(desk_options(hidden=True))


class Meter:
    """Says how far a download is: rewritten in place on a terminal, else a line when a file is done."""

    def __init__(self, desk: Desk) -> None:
        self._quiet = desk.quiet or desk.as_json
        self._terminal = sys.stderr.isatty()
        self._file, self._at, self._done, self._said = "", 0.0, 0, 0.0
        self._open = False

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            click.echo(err=True)

    def told(self, file: str, done: int, total: int) -> None:
        """As `Told`."""
        now = time.monotonic()
        if file != self._file:
            self._file, self._at, self._done, self._said = file, now, done, 0.0
        if self._quiet or (done < total and (not self._terminal or now - self._said < _EVERY)):
            return
        self._said = now
        line = f"{file}: {done / 1e6:.0f} of {total / 1e6:.0f} MB{self._pace(now, done, total)}"
        self._open = self._terminal and done < total
        start = "\r\x1b[K" if self._terminal else ""
        click.echo(f"{start}{clean_line(line)}", err=True, nl=not self._open)

    def _pace(self, now: float, done: int, total: int) -> str:
        spent = now - self._at
        if spent < 1 or done <= self._done:
            return ""
        rate = (done - self._done) / spent
        left = (total - done) / rate
        until = f", {left / 60:.0f} min left" if left >= 90 else f", {left:.0f} s left"
        return f", {rate / 1e6:.1f} MB/s{until if done < total else ''}"


def _list(desk: Desk) -> None:
    from kinsight.bundle import installed_bundles
    from kinsight.catalogue import load_catalogue
    from kinsight.config import load_device

    home, catalogue = desk.opened_home(), load_catalogue(desk.catalogue)
    device, installed = load_device(desk.device, home.cache), installed_bundles(home.bundles)
    fits = {name: _fit(entry, device, home) for name, entry in catalogue.entries.items()}
    if desk.as_json:
        print_json(_list_json(catalogue, fits, installed, device.name))
        return
    head = [
        "name",
        "size",
        "licence",
        "made for",
        f"fits {'this machine' if device.shares else device.name}?",
        "installed",
        "",
    ]
    rows = [
        [
            entry.name,
            f"{entry.size / 1e6:.0f} MB",
            entry.licence,
            ", ".join(entry.devices),
            fits[name].words,
            "yes" if name in installed else "no",
            entry.summary,
        ]
        for name, entry in catalogue.entries.items()
    ]
    for line in columns([head, *rows]):
        say(line)
    if own := [name for name in installed if name not in catalogue.entries]:
        say(f"\nInstalled, not from this catalogue: {', '.join(own)}.")
    desk.note(f"device {device.name}: {device.reason}; get one with kinsight pull NAME")


def _fit(entry: Entry, device: DeviceConfig, home: Home) -> Fit:
    from kinsight.catalogue import fit
    from kinsight.catalogue.install import missing_bytes

    return fit(entry.size, missing_bytes(entry, home), device, home.folder)


def _list_json(
    catalogue: Catalogue, fits: dict[str, Fit], installed: list[str], device: str
) -> dict[str, Any]:
    bundles = [
        {**_entry_json(entry), "installed": name in installed, "fits": fits[name].fits, **asdict(fits[name])}
        for name, entry in catalogue.entries.items()
    ]
    own = [name for name in installed if name not in catalogue.entries]
    return {"format": 1, "device": device, "bundles": bundles, "other_installed": own}


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "version": entry.version,
        "summary": entry.summary,
        "bytes": entry.size,
        "licence": entry.licence,
        "to_accept": list(entry.to_accept),
        "devices": list(entry.devices),
    }


def _tried(desk: Desk, bundle: Bundle) -> bool:
    """Tries it in a process of its own: a model that kills its process must not kill this one."""
    command = [sys.executable, "-m", "kinsight", "models", "try", str(bundle.folder), "--quiet"]
    if desk.device:
        command += ["--device", desk.device]
    desk.note(f"trying {bundle.name}")
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if run.returncode < 0:
        desk.note(f"{bundle.name} failed its trial: a model killed the process (signal {-run.returncode})")
    for line in (*run.stdout.splitlines(), *(run.stderr.splitlines() if run.returncode else ())):
        if desk.as_json:
            desk.note(line)
        else:
            say(f"  {line}")
    if run.returncode:
        desk.note(f"it stays installed; `kinsight models remove {bundle.name}` removes it")
    return run.returncode == 0


def _say_calibration(desk: Desk, bundle: Bundle) -> None:
    calibration = bundle.embedder.calibration
    if calibration is None or calibration.estimated:
        desk.note(
            "when to name somebody is not measured for it: "
            f"kinsight-export calibrate {bundle.folder} PHOTOS fits it on a folder per person, pet or thing"
        )
