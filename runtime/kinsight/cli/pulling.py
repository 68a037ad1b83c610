"""`pull` gets a bundle of the catalogue; and what it shares with the verbs of `models`."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kinsight.cli.desk import AS_JSON, Desk, into, pass_desk
from kinsight.cli.show import clean_line, print_json, say

if TYPE_CHECKING:
    from kinsight.bundle import Bundle
    from kinsight.catalogue import Entry, Fit
    from kinsight.config import DeviceConfig
    from kinsight.home import Home

A_FILE = click.Path(path_type=Path)
CATALOGUE = click.option(
    "--catalogue",
    type=A_FILE,
    expose_value=False,
    callback=into(Desk),
    help="Another catalogue than that of kinsight.",
)
_EVERY = 0.2  # seconds between two lines of progress on a terminal
_EVERY_LINE = 15.0  # elsewhere


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
    type=A_FILE,
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
@CATALOGUE
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
    fits = fit_of(entry, load_device(desk.device, home.cache), home)
    if not fits.fits:
        desk.note(f"does {name} fit this machine? {fits.words}")
    order = Order(asked.mirror, asked.source, asked.accept, asked.again)
    with Meter(desk) as meter:
        bundle, fresh = get(entry, home, order, meter.told)
    well = asked.untried or tried(desk, bundle)
    if desk.as_json:
        shape = {"format": 1, "bundle": bundle.name, "folder": str(bundle.folder), "fresh": fresh}
        print_json({**shape, "tried": None if asked.untried else well})
    else:
        say(f"{bundle.name} is {'installed' if fresh else 'installed already'} in {bundle.folder}.")
        say_what_is_used(desk, bundle)
        say_calibration(desk, bundle)
    context.exit(0 if well else 1)


class Meter:
    """Says how far a download is: rewritten in place on a terminal, else a line now and then."""

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
            self._file, self._at, self._done = file, now, done
            self._said = 0.0 if self._terminal else now
        if self._quiet or (done < total and now - self._said < (_EVERY if self._terminal else _EVERY_LINE)):
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


def fit_of(entry: Entry, device: DeviceConfig, home: Home) -> Fit:
    """What the bundle asks of this machine, less what is on its disk already."""
    from kinsight.catalogue import fit
    from kinsight.catalogue.install import missing_bytes

    return fit(entry.size, missing_bytes(entry, home), device, home.folder)


def tried(desk: Desk, bundle: Bundle) -> bool:
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


def say_what_is_used(desk: Desk, bundle: Bundle) -> None:
    """Says where another bundle than this one is used unless it is asked for."""
    from kinsight.bundle import find_bundle, pocket_folder
    from kinsight.config import load_device

    home = desk.opened_home()
    used, reason = find_bundle(
        None, load_device(desk.device, home.cache).bundle, home.bundles, pocket_folder()
    )
    if used != bundle.folder:
        desk.note(
            f"{used.name} is used where none is asked for ({reason}): this one with --bundle {bundle.name}"
        )


def say_calibration(desk: Desk, bundle: Bundle) -> None:
    """Says where nobody has measured when the bundle is to name somebody."""
    calibration = bundle.embedder.calibration
    if calibration is None or calibration.estimated:
        desk.note(
            "when to name somebody is not measured for it: "
            f"kinsight-export calibrate {bundle.folder} PHOTOS fits it on a folder per person, pet or thing"
        )
