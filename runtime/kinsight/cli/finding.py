"""The verb that finds photos of the album: by name, by words and by likeness."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import AS_JSON, Desk, into, pass_desk
from kinsight.cli.show import columns, counted, print_json, say

if TYPE_CHECKING:
    from kinsight.album import Album, Found

FILE = click.Path(path_type=Path)


@dataclass
class Wanted:
    """What the user looks for."""

    like: Path | None = None
    region: int | None = None
    name: str = ""
    together: tuple[str, ...] = ()
    limit: int = 20
    sheet: Path | None = None


_keep = into(Wanted)


@click.command(
    params=[
        click.Option(["--name"], help="Whoever has this name.", expose_value=False, callback=_keep),
        click.Option(
            ["--with", "together"],
            multiple=True,
            help="Together with this one; may come several times.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--like"],
            type=FILE,
            help="What is most like the thing in this photo.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--region"],
            type=click.IntRange(0),
            help="Of the photo, as numbered by look; 0: the whole photo.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--limit"],
            type=click.IntRange(1),
            default=20,
            show_default=True,
            help="At most so many photos.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--sheet"],
            type=FILE,
            help="Draw what was found, with boxes, into this file.",
            expose_value=False,
            callback=_keep,
        ),
    ],
    epilog='Examples: kinsight find --name Lala --with Tom, kinsight find "a red mug" --sheet mugs.jpg, '
    "kinsight find --like lala.jpg",
)
@click.argument("text", required=False)
@AS_JSON
@click.make_pass_decorator(Wanted, ensure=True)
@pass_desk
def find(desk: Desk, wanted: Wanted, text: str | None) -> None:
    """Find photos of the album by name, by TEXT or by likeness, the best ones first.

    Somebody is found by name in all photos, older ones as well. Words and likeness always find something: the
    score tells how well it fits.
    """
    _check(wanted, text)
    with desk.assistant(looks=wanted.like is not None) as assistant:
        album = assistant.album
        found = _found(album, wanted, text)
        if wanted.sheet and found:
            from kinsight.image import save

            save(album.sheet(found), wanted.sheet)
        if desk.as_json:
            print_json({"format": 1, "results": [_result_json(one) for one in found]})
        else:
            _say_found(found, len(assistant.store.album.photos()))
        if unseen := album.unseen():
            desk.note(
                f"{counted(unseen, 'photo')} must be added anew for this bundle: run kinsight album add"
            )
        if wanted.sheet and found:
            desk.note(f"drawn in {wanted.sheet}")


def _check(wanted: Wanted, text: str | None) -> None:
    ways = [bool(text and text.strip()), wanted.like is not None, bool(wanted.name)]
    if sum(ways) != 1:
        raise click.UsageError("say what to find: a text, --like PHOTO or --name NAME, one of them")
    if wanted.together and not wanted.name:
        raise click.UsageError("--with goes with --name")
    if wanted.region is not None and wanted.like is None:
        raise click.UsageError("--region goes with --like")


def _found(album: Album, wanted: Wanted, text: str | None) -> list[Found]:
    if wanted.name:
        return album.find_names([wanted.name, *wanted.together], wanted.limit)
    if wanted.like:
        from kinsight.image import load

        return album.find_like(load(wanted.like), wanted.region, wanted.limit)
    return album.find_text(text or "", wanted.limit)


def _say_found(found: list[Found], photos: int) -> None:
    rows = [[f"{one.score:.2f}", one.photo.path, ", ".join(one.concepts)] for one in found]
    nothing = f"Nothing was found in {counted(photos, 'photo')}."
    for line in columns(rows) or [nothing if photos else "The album is empty: kinsight album add FOLDER."]:
        say(line)


def _result_json(found: Found) -> dict[str, Any]:
    """One box for each thing that was asked for, [] where it is the whole photo."""
    return {
        "photo": found.photo.path,
        "sha256": found.photo.sha256,
        "score": round(found.score, 4),
        "concepts": list(found.concepts),
        "xyxy": [[round(v, 1) for v in box or ()] for box in found.boxes],
    }
