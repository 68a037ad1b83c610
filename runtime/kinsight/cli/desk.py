"""What the options before every verb ask for: which home, bundle and device, and how much is said beside."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from kinsight.cli.show import clean_line

if TYPE_CHECKING:
    from kinsight.assistant import Assistant
    from kinsight.home import Home
    from kinsight.store import Key, Store

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""
DRAWN = (
    "this bundle only knows drawn scenes; run `kinsight pull NAME` for photos, `kinsight models` lists them"
)
ESTIMATED = (
    "when this bundle names somebody was not measured, it is a cautious estimate; "
    "`kinsight-export calibrate` fits it on photos of yours"
)
"""Said whenever a picture of the user's own may be looked at."""


@dataclass
class Desk:
    """One call of `kinsight`."""

    home: Path | None = None
    bundle: str | None = None
    device: str | None = None
    key_file: Path | None = None
    quiet: bool = False
    as_json: bool = False
    worker: bool = False
    catalogue: Path | None = None
    _keys: dict[Path, Key] = field(default_factory=dict)

    def assistant(self, looks: bool = True) -> Assistant:
        """An open assistant; what was chosen automatically is said, and what it sees if it is to look."""
        from kinsight.assistant import Assistant, Choices

        choices = Choices(self.home, self.bundle, self.device, self.key, self.worker)
        assistant = Assistant.open(choices)
        self.choice("; ".join(assistant.reasons))
        if looks:
            self.warn(assistant)
        return assistant

    def newcomer(self, scratch: Path) -> Assistant:
        """An open assistant with the same bundle in a throw-away home, who knows nobody yet."""
        from kinsight.assistant import Assistant, Choices
        from kinsight.demo import throw_away

        choices, reason = throw_away(Choices(self.home, self.bundle, self.device), scratch)
        assistant = Assistant.open(choices)
        self.choice(f"bundle {assistant.bundle.name}: {reason}; {assistant.reasons[-1]}")
        return assistant

    def warn(self, assistant: Assistant) -> None:
        """Of a bundle that is not made for pictures of the user's own."""
        if assistant.bundle.world == "drawn":
            self.note(DRAWN)
        calibration = assistant.bundle.embedder.calibration
        if calibration and calibration.estimated:
            self.note(ESTIMATED)

    def store(self) -> Store:
        """The open store, for verbs that need no bundle."""
        from kinsight.store import Store

        return Store.open(self.opened_home().store, key=self.key)

    def key(self, path: Path) -> Key:
        """Of an encrypted store or backup: from the key file, else typed; asked once for every path.

        VaultError where there is neither key file nor terminal, or the key file cannot be read.
        """
        from kinsight.store import KEY_FILE, Key, key_from_environment

        if path not in self._keys:
            if self.key_file is not None:
                self._keys[path] = Key.of_file(self.key_file)
            elif os.environ.get(KEY_FILE) or not on_terminal():
                self._keys[path] = key_from_environment(path)
            else:
                what = f"Passphrase of {clean_line(str(path))}"
                self._keys[path] = Key.of_passphrase(click.prompt(what, hide_input=True, err=True))
        return self._keys[path]

    def opened_home(self) -> Home:
        """The home folder, made where it is absent."""
        from kinsight.home import open_home

        return open_home(self.home)

    def choice(self, line: str) -> None:
        """What was chosen automatically, which nobody wants to read beside JSON."""
        if not self.as_json:
            self.note(line)

    def note(self, line: str) -> None:
        """One dim line on standard error, unless --quiet."""
        if line and not self.quiet:
            click.echo(click.style(clean_line(line), dim=True), err=True)


def on_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def progress(what: str, done: int, total: int) -> None:
    """One line on a terminal, rewritten in place; nothing where the output goes elsewhere."""
    if sys.stderr.isatty():
        _rewrite(sys.stderr, what, done, total)


@contextmanager
def steady_progress() -> Iterator[Progress]:
    """`progress` beside threads that decode pictures: these now and then hold standard error."""
    if not sys.stderr.isatty():
        yield progress
        return
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal:
        yield partial(_rewrite, terminal)


def _rewrite(terminal: TextIO, what: str, done: int, total: int) -> None:
    click.echo(f"\r{what}: {done} of {total}", terminal, nl=done == total)


Callback = Callable[[click.Context, click.Parameter, Any], None]


def into(kind: type) -> Callback:
    """A callback of options whose values go into the fields of one `kind` object instead of parameters."""

    def keep(context: click.Context, option: click.Parameter, value: Any) -> None:
        given = not (value is None or value is False or value == ())
        if given and option.name:
            setattr(context.ensure_object(kind), option.name, value)

    return keep


def desk_options(hidden: bool = False) -> list[click.Parameter]:
    """What every verb takes; these options may stand before the verb or behind it."""
    path = click.Path(path_type=Path)
    rows: tuple[tuple[list[str], click.ParamType[Any], str], ...] = (
        (["--home"], path, "Folder of your data; else $KINSIGHT_HOME, else the usual place."),
        (["--bundle"], click.STRING, "Folder or name of a bundle of models."),
        (["--device"], click.STRING, "Name or .toml file of a device config."),
        (
            ["--key-file"],
            path,
            "File with the store's key; else $KINSIGHT_KEY_FILE, else asked.",
        ),
        (["--quiet", "-q"], click.BOOL, "Only the answer: no stage times, no automatic choices."),
    )
    return [
        click.Option(
            names,
            type=kind,
            is_flag=kind is click.BOOL,
            help=text,
            hidden=hidden,
            expose_value=False,
            callback=into(Desk),
        )
        for names, kind, text in rows
    ]


pass_desk = click.make_pass_decorator(Desk, ensure=True)
AS_JSON = click.option(
    "--json",
    "as_json",
    is_flag=True,
    expose_value=False,
    callback=into(Desk),
    help="One line of JSON instead of words.",
)
WORKER = click.option(
    "--worker",
    is_flag=True,
    expose_value=False,
    callback=into(Desk),
    help="The language model in a process of its own: its crash ends one answer only.",
)
