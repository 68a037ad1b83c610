"""The verbs of the album: add, list and remove its photos."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import AS_JSON, Desk, desk_options, on_terminal, pass_desk, steady_progress
from kinsight.cli.show import columns, counted, print_json, say
from kinsight.errors import ConfigError

if TYPE_CHECKING:
    from kinsight.album import Added
    from kinsight.store import AlbumPhoto

PATH = click.Path(path_type=Path)


@click.group(invoke_without_command=True)
@click.pass_context
def album(context: click.Context) -> None:
    """Look at your photos once, to find them again by name, by words and by likeness."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@album.command(epilog="Example: kinsight album add ~/Pictures")
@click.argument("paths", nargs=-1, required=True, type=PATH)
@AS_JSON
@pass_desk
@click.pass_context
def add(context: click.Context, desk: Desk, paths: tuple[Path, ...]) -> None:
    """Look at all photos in PATHS, which are files and folders with all that is below.

    Your files stay where they are; the album keeps a small copy of each. What it knows already is passed
    over, so the same command goes on after a stop. Ends with 1 where a file could not be read.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"there is no file or folder {path}", "check the path")
    with desk.assistant() as assistant, steady_progress() as progress:
        started = time.monotonic()
        report = assistant.album.add(paths, progress)
        spent = time.monotonic() - started
    if desk.as_json:
        print_json(_added_json(report))
    else:
        _say_added(report)
    if report.added:
        desk.note(f"{spent:.0f} s, {report.added / spent:.1f} photos a second")
    context.exit(1 if report.skipped else 0)


@album.command("list", epilog="Example: kinsight album list --json")
@AS_JSON
@pass_desk
def list_(desk: Desk) -> None:
    """List the photos of the album, in the order in which they were added."""
    with desk.store() as store:
        photos = store.album.photos()
    if desk.as_json:
        print_json({"format": 1, "photos": [_photo_json(photo) for photo in photos]})
        return
    rows = [
        [
            photo.path,
            f"{photo.width} x {photo.height}",
            counted(photo.things, "thing"),
            f"added {photo.added[:10]}",
        ]
        for photo in photos
    ]
    for line in columns(rows) or ["The album is empty: kinsight album add FOLDER."]:
        say(line)


@album.command(epilog="Examples: kinsight album remove ~/Pictures/2019, kinsight album remove --missing")
@click.argument("paths", nargs=-1, type=PATH)
@click.option("--missing", is_flag=True, help="Remove all photos whose files are gone.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@pass_desk
def remove(desk: Desk, paths: tuple[Path, ...], missing: bool, yes: bool) -> None:
    """Take the photos at PATHS, files or folders, out of the album; the files stay where they are.

    There is no undo: add them again.
    """
    if bool(paths) == missing:
        raise click.UsageError("give files or folders, or --missing")
    with desk.store() as store:
        photos = store.album.photos()
        gone = [p for p in photos if (not Path(p.path).exists() if missing else _is_below(p, paths))]
        if not gone:
            raise ConfigError(
                "no file of the album is missing" if missing else "none of these is in the album",
                "see what is with `kinsight album list`",
            )
        what = counted(len(gone), "photo")
        if not yes and on_terminal() and not click.confirm(f"Take {what} out of the album?", err=True):
            raise click.Abort
        store.album.remove(photo.id for photo in gone)
    say(f"{what} removed from the album; {counted(len(photos) - len(gone), 'photo')} in it now.")


def _say_added(report: Added) -> None:
    parts = [f"{counted(report.added, 'photo')} added"]
    parts += [f"{report.known} known already"] if report.known else []
    parts += [f"{report.moved} found in another place"] if report.moved else []
    say(f"{', '.join(parts)}.")
    if report.skipped:
        say(f"{counted(len(report.skipped), 'file')} could not be read:")
        rows = [[file.path, file.reason.removeprefix(f"{file.path} ")] for file in report.skipped]
        for line in columns(rows):
            say(f"  {line}")


def _added_json(report: Added) -> dict[str, Any]:
    skipped = [{"photo": file.path, "reason": file.reason} for file in report.skipped]
    counts = {"added": report.added, "known": report.known, "moved": report.moved}
    return {"format": 1, **counts, "skipped": skipped}


def _photo_json(photo: AlbumPhoto) -> dict[str, Any]:
    return {
        "photo": photo.path,
        "sha256": photo.sha256,
        "width": photo.width,
        "height": photo.height,
        "things": photo.things,
        "added": photo.added,
    }


def _is_below(photo: AlbumPhoto, paths: Sequence[Path]) -> bool:
    at = Path(photo.path)
    return any(at.is_relative_to(path.resolve()) or at.is_relative_to(path.absolute()) for path in paths)


for _verb in album.commands.values():
    _verb.params.extend(desk_options(hidden=True))
