"""The verbs that see: remember teaches from a photo, look says who is in one, not says who is not."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import AS_JSON, Desk, into, on_terminal, pass_desk
from kinsight.cli.show import clean_line, print_json, say, timings_line
from kinsight.errors import DuplicateName, PhotoError, RegionError, UnknownConcept

if TYPE_CHECKING:
    from kinsight.assistant import Assistant
    from kinsight.store import Store
    from kinsight.types import Box, Scene

FILE = click.Path(path_type=Path)
_SUGGESTED = 3


@dataclass
class Teaching:
    """What the user says when they teach."""

    name: str = ""
    category: str = ""
    info: str = ""
    box: Box | None = None
    region: int | None = None
    add: bool = False
    out: Path | None = None


pass_teaching = click.make_pass_decorator(Teaching, ensure=True)
_keep = into(Teaching)


def _keep_box(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    try:
        x0, y0, x1, y1 = (float(part) for part in value.split(","))
    except ValueError:
        wanted = "give four numbers x0,y0,x1,y1 in pixels, such as 10,20,200,240"
        raise click.BadParameter(wanted, context, option) from None
    _keep(context, option, (x0, y0, x1, y1))


def _teaching_option(name: str, text: str, kind: click.ParamType[object] = click.STRING) -> click.Option:
    callback = _keep_box if name == "--box" else _keep
    return click.Option(
        [name],
        type=kind,
        is_flag=kind is click.BOOL,
        help=text,
        required=name == "--name",
        expose_value=False,
        callback=callback,
    )


@click.command(
    params=[
        _teaching_option("--name", "What you call it."),
        _teaching_option("--category", "Its kind: dog, person, cup, ..."),
        _teaching_option("--info", "What there is to know about it."),
        _teaching_option("--box", "Where it is, x0,y0,x1,y1 in pixels."),
        _teaching_option("--region", "Where it is, as numbered by look; 0: the whole photo.", click.INT),
        _teaching_option("--add", "Add another view of one that is known already.", click.BOOL),
        _teaching_option("--out", "Draw what was learnt on the photo, into this file.", FILE),
    ],
    epilog='Example: kinsight remember lala.jpg --name Lala --category dog --info "She loves the sea."',
)
@click.argument("photo", type=FILE)
@AS_JSON
@pass_teaching
@pass_desk
def remember(desk: Desk, teaching: Teaching, photo: Path) -> None:
    """Teach who or what is in PHOTO."""
    if teaching.box is not None and teaching.region is not None:
        raise click.UsageError("--box and --region both say where it is, give one of them")
    with desk.assistant() as assistant:
        from kinsight.advice import telling_json
        from kinsight.assistant import Lesson
        from kinsight.image import Mark, annotate, save
        from kinsight.teach import choose

        _check_name(assistant.store, teaching)
        scene = assistant.look(photo)
        region = _region(scene, teaching)
        box = choose(scene, teaching.category, teaching.box, region)
        if teaching.out:
            save(annotate(scene.photo.pixels, [Mark(box, teaching.name, "accepted")]), teaching.out)
        lesson = Lesson(teaching.name, teaching.category, teaching.info, teaching.add)
        concept = assistant.remember(scene.photo, lesson, teaching.box, region)
        told = assistant.telling(concept)
        more = _album_photos(assistant, concept.name)
        if desk.as_json:
            print_json({"format": 1, **telling_json(told), "album": more})
            return
        views = f", {len(concept.views)} views now" if teaching.add else ""
        say(clean_line(f"{concept.name} is remembered{views}: {_spot(scene, box, region)}"))
        for line in (*told.lines(), *_album_lines(more, concept.name)):
            say(clean_line(line))
        desk.note(timings_line(scene.timings_ms, {}))
        with suppress(KeyboardInterrupt):  # nothing is lost: the first question does it else
            assistant.prepare(concept)


@click.command(
    epilog="Examples: kinsight look party.jpg --out party-named.jpg, kinsight look party.jpg --why why.png"
)
@click.argument("photo", type=FILE, required=False)
@click.option("--out", type=FILE, help="Draw names and boxes on the photo, into this file.")
@click.option(
    "--why",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Say of every region why it was or was not named; draw it beside the nearest views, into FILE.",
)
@AS_JSON
@pass_desk
def look(desk: Desk, photo: Path | None, out: Path | None, why: str | None) -> None:
    """Say who and what is in PHOTO."""
    if photo is None and why:  # `look --why party.jpg`
        photo, why = Path(why), ""
    if photo is None:
        raise click.UsageError("name the photo to look at, such as kinsight look party.jpg")
    if why is not None and desk.as_json:
        raise click.UsageError("--why is in words, leave out --json")
    with desk.assistant() as assistant:
        from kinsight.cli.words import scene_lines
        from kinsight.image import annotate, save
        from kinsight.marks import scene_marks
        from kinsight.types import scene_json
        from kinsight.why import why_lines, why_picture

        scene = assistant.look(photo)
        if out:
            save(annotate(scene.photo.pixels, scene_marks(scene)), out)
        if why:
            save(why_picture(scene, assistant.store), Path(why))
        if desk.as_json:
            print_json(scene_json(scene))
        else:
            reasons = [] if why is None else why_lines(scene, assistant.memory(), assistant.rules)
            for line in (*scene_lines(scene), *reasons):
                say(clean_line(line))
        for file in filter(None, (out, why)):
            desk.note(f"drawn in {file}")
        desk.note(timings_line(scene.timings_ms, {}))


@click.command(
    name="not", epilog="Examples: kinsight not party.jpg Lala, kinsight not party.jpg Lala --region 2"
)
@click.argument("photo", type=FILE)
@click.argument("name")
@click.option("--region", type=click.INT, help="What is not NAME, as numbered by look; 0: the whole photo.")
@pass_desk
def not_this(desk: Desk, photo: Path, name: str, region: int | None) -> None:
    """Say that something in PHOTO is not NAME, though it was taken for it; undo takes it back.

    Whatever is not clearly nearer to NAME's own pictures than to it, by a fifth of what sets these apart, is
    not called NAME any more.
    """
    with desk.assistant() as assistant:
        from kinsight.cli.words import scene_lines

        before = len(assistant.store.concept(name).negatives)
        concept, refused = assistant.refuse(photo, name, region)
        if len(concept.negatives) > before:
            say(clean_line(f"{concept.name} is not {refused}; undo takes this back."))
        else:
            say(clean_line(f"You said before that {concept.name} is not {refused}; nothing was changed."))
        if assistant.memory().says_little(concept.id):
            say(
                clean_line(
                    f"It looks just like a view of {concept.name}, so nothing but its copies loses the name."
                )
            )
        for line in scene_lines(assistant.look(photo)):
            say(clean_line(line))


def _album_photos(assistant: Assistant, name: str) -> list[dict[str, Any]]:
    """Photos of the album that may show it; nobody is kept waiting where the album is empty."""
    found = assistant.album.perhaps(name, _SUGGESTED) if assistant.store.album.generation() else []
    return [
        {"photo": one.photo.path, "region": region, "probability": round(one.score, 4)}
        for one, region in found
    ]


def _album_lines(photos: Sequence[dict[str, Any]], name: str) -> list[str]:
    if not photos:
        return []
    these = "This photo" if len(photos) == 1 else f"These {len(photos)} photos"
    add = f"--name {shlex.quote(name)} --add --region"
    lines = [f"  kinsight remember {shlex.quote(one['photo'])} {add} {one['region']}" for one in photos]
    return [f"{these} of the album may show {name}; if so, teach with", *lines]


def _check_name(store: Store, teaching: Teaching) -> None:
    """Before the user is asked anything else."""
    try:
        known = store.concept(teaching.name).name
    except UnknownConcept:
        if teaching.add:
            raise
    else:
        if not teaching.add:
            raise DuplicateName(
                f'"{known}" is in the store already', "add another photo of it with --add, or choose a name"
            )


def _region(scene: Scene, teaching: Teaching) -> int | None:
    """The region that is taught, as numbered by look, 0: the whole photo; None where a box was given."""
    from kinsight.teach import meant

    if teaching.box is not None or teaching.region is not None:
        return teaching.region
    rows = meant(scene, teaching.category)
    if len(rows) > 1:
        return _which(scene, rows, teaching)
    return rows[0] + 1 if rows else 0


def _spot(scene: Scene, box: Box, region: int | None) -> str:
    """What was taught, in words."""
    from kinsight.prompt import position
    from kinsight.teach import describe

    if region is None:
        return f"your box, {position(box, scene.photo.width, scene.photo.height)}"
    return describe(scene, region - 1) if region else "the whole photo"


def _which(scene: Scene, rows: list[int], teaching: Teaching) -> int:
    """The number of the region that the user means: asked on a terminal, else a RegionError."""
    from kinsight.teach import choose, describe

    drawn = _draw_numbers(scene, rows, teaching.out)
    if not on_terminal():
        try:
            choose(scene, teaching.category, None, None)
        except RegionError as several:
            raise RegionError(several.problem, f"{several.mend}{drawn and f'; {drawn}'}") from None
    for row in sorted(rows):
        click.echo(clean_line(describe(scene, row)), err=True)
    if drawn:
        click.echo(clean_line(drawn), err=True)

    def number(text: str) -> int:
        if text.strip().casefold() == "q":
            raise click.Abort
        if not (text.strip().isdecimal() and int(text) <= len(scene.regions)):
            raise click.BadParameter(f"give a number of 0 to {len(scene.regions)}, or q")
        return int(text)

    asked = f"Which one is {clean_line(teaching.name)}? (0: the whole photo, q: none of them)"
    chosen: int = click.prompt(asked, default=str(rows[0] + 1), value_proc=number, err=True)
    return chosen


def _draw_numbers(scene: Scene, rows: list[int], out: Path | None) -> str:
    """Says where the numbered picture is; "" where it cannot be written, since the words are enough."""
    from kinsight.image import annotate, save
    from kinsight.marks import numbered_marks

    file = out or Path(f"{Path(scene.photo.name).stem}-regions.png")
    try:
        save(annotate(scene.photo.pixels, numbered_marks(scene, rows)), file)
    except PhotoError:
        return ""
    return f"{file} shows the numbers"
