"""The verbs that take the store elsewhere: `store` export, import, backup and restore, without any bundle."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kinsight.cli.desk import AS_JSON, Desk, desk_options, on_terminal, pass_desk, progress
from kinsight.cli.show import clean_line, print_json, say
from kinsight.errors import ConfigError

if TYPE_CHECKING:
    from kinsight.store import Arrival, OnConflict

_PATH = click.Path(path_type=Path)
_CONFLICTS = ("refuse", "skip", "rename")
_FORMAT = click.option(
    "--format",
    "layout",
    type=click.Choice(["kinsight", "rap"]),
    default="kinsight",
    show_default=True,
    help="The open folder of kinsight, or RAP's database.json.",
)


@click.group(invoke_without_command=True)
@click.pass_context
def store(context: click.Context) -> None:
    """Take what you taught elsewhere, bring it in, keep it safe."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@store.command(name="export", epilog="Example: kinsight store export my-concepts")
@click.argument("folder", type=_PATH)
@_FORMAT
@pass_desk
def export_(desk: Desk, folder: Path, layout: str) -> None:
    """Write all concepts with their pictures into a new FOLDER that any program can read.

    JSON, JPEG files and a list of hashes. RAP's layout has no place for aliases, negatives, boxes and
    dates.
    """
    from kinsight.exchange import export_folder, export_rap

    with desk.store() as opened:
        write = export_rap if layout == "rap" else export_folder
        number = write(opened, folder, progress)
        negatives = opened.size()["negative"]
        if layout == "rap" and negatives:
            left = "negative was" if negatives == 1 else "negatives were"
            desk.note(f"{negatives} {left} not exported: RAP's layout has no place for them")
        if opened.encrypted:
            desk.note("what was exported is not encrypted: whoever has the folder can read it")
    say(clean_line(f"{_concepts(number)} exported into {folder}"))


@store.command(name="import", epilog="Example: kinsight store import my-concepts --on-conflict rename")
@click.argument("folder", type=_PATH)
@_FORMAT
@click.option(
    "--on-conflict",
    type=click.Choice(_CONFLICTS),
    default="refuse",
    show_default=True,
    help="With names that are taken: bring nothing in, leave those out, or give them a number.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@AS_JSON
@pass_desk
def import_(desk: Desk, folder: Path, layout: str, on_conflict: OnConflict, dry_run: bool) -> None:
    """Bring in the concepts of an exported FOLDER, all at once; undo takes them back.

    Every file is checked against its hash first. Pictures are embedded at the next look.
    """
    from kinsight.exchange import read_folder, read_rap

    incoming = (read_rap if layout == "rap" else read_folder)(folder, progress)
    with desk.store() as opened:
        act = opened.arrivals if dry_run else opened.bring
        arrivals = act(incoming, on_conflict)
    if desk.as_json:
        shape = {"format": 1, "dry_run": dry_run, "concepts": [asdict(arrival) for arrival in arrivals]}
        print_json(shape)
        return
    for line in _arrival_lines(arrivals):
        say(clean_line(line))
    kept = sum(arrival.kept_as is not None for arrival in arrivals)
    say(f"{_concepts(kept)} would be brought in." if dry_run else f"{_concepts(kept)} brought in.")


@store.command(epilog="Example: kinsight store backup kinsight-2026-11-23.zip")
@click.argument("file", type=_PATH)
@click.option("--replace", is_flag=True, help="Replace a file that is there already.")
@pass_desk
def backup(desk: Desk, file: Path, replace: bool) -> None:
    """Write the whole store with its history into one archive FILE; it may be in use meanwhile.

    The archive is encrypted where the store is, with the same key.
    """
    from kinsight.store import backup as write

    with desk.store() as opened:
        write(opened, file, replace)
        number = opened.size()["concept"]
    say(clean_line(f"{_concepts(number)} backed up in {file}"))


@store.command(epilog="Example: kinsight store restore kinsight-2026-11-23.zip")
@click.argument("file", type=_PATH)
@click.option("--backup-key-file", type=_PATH, help="File with the key of FILE, where that is another one.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@pass_desk
def restore(desk: Desk, file: Path, backup_key_file: Path | None, yes: bool) -> None:
    """Put the content of a backup FILE in the place of the whole store.

    An encrypted store keeps its key, whichever FILE has; where there is no store, it is that of FILE.
    """
    from kinsight.store import Key, Keys
    from kinsight.store import restore as put_back

    path = desk.opened_home().store
    if path.exists() and not yes:
        problem = "everything that is in the store now would be replaced"
        if not on_terminal():
            raise ConfigError(problem, "pass --yes to do it without being asked")
        if not click.confirm("Replace everything that is in the store now? It cannot be undone.", err=True):
            raise click.Abort
    of_backup = desk.key if backup_key_file is None else lambda _: Key.of_file(backup_key_file)
    restored = put_back(path, file, keys=Keys(desk.key, of_backup))
    say(f"{_concepts(restored.concepts)} restored.")
    if restored.aside:
        aside = restored.aside
        say(
            clean_line(
                f"The damaged store is {aside} now; forget does not reach it, so delete it when you can."
            )
        )


def _arrival_lines(arrivals: list[Arrival]) -> list[str]:
    """One line for whatever does not come in as it is."""
    lines = []
    for arrival in arrivals:
        if arrival.kept_as is None:
            lines.append(f"{arrival.name}: left out, the name is taken")
        elif arrival.kept_as != arrival.name:
            lines.append(f"{arrival.name}: as {arrival.kept_as}, the name is taken")
        if arrival.kept_as is not None and arrival.dropped_aliases:
            dropped = ", ".join(arrival.dropped_aliases)
            lines.append(f"{arrival.kept_as}: without what is taken, {dropped}")
    return lines


def _concepts(number: int) -> str:
    return "1 concept" if number == 1 else f"{number} concepts"


for _verb in store.commands.values():
    _verb.params.extend(desk_options(hidden=True))
