"""The verbs of the store: concepts, show, edit, forget, undo and history; they need no bundle."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import AS_JSON, Desk, into, on_terminal, pass_desk
from kinsight.cli.show import clean_line, columns, counted, print_json, say
from kinsight.errors import ConfigError

if TYPE_CHECKING:
    from kinsight.store import Changes, Forgotten, Owner, Store
    from kinsight.types import Concept, Kind, View

_KINDS: tuple[Kind, ...] = ("view", "negative")
_LISTED_INFO = 60  # characters of an info in the list; show has the rest


@click.command(epilog="Example: kinsight concepts")
@AS_JSON
@pass_desk
def concepts(desk: Desk) -> None:
    """List everybody and everything that you taught."""
    with desk.store() as store:
        known = store.concepts()
    if desk.as_json:
        print_json({"format": 1, "concepts": [_concept_json(concept) for concept in known]})
        return
    rows = [[concept.name, concept.category, _views(concept), _short(concept.info)] for concept in known]
    for line in columns(rows) or ["Nothing was remembered yet: kinsight remember PHOTO --name NAME."]:
        say(line)


@click.command(epilog="Example: kinsight show Lala --out lala-views.png")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Draw its views and negatives into this file.")
@AS_JSON
@pass_desk
def show(desk: Desk, name: str, out: Path | None) -> None:
    """Show what is known about NAME, and the numbers of its views and negatives."""
    with desk.store() as store:
        concept = store.concept(name)
        if out:
            _save_crops(store, concept, out)
    if desk.as_json:
        print_json({"format": 1, "concept": _concept_json(concept)})
    else:
        say_card(concept)
        _say_views(concept)
    if out:
        also = " and negatives" if concept.negatives else ""
        desk.note(f"its views{also} are in {out}")


@dataclass
class Edit:
    """What the user wants changed; None is left as it is."""

    rename: str | None = None
    category: str | None = None
    info: str | None = None
    alias: tuple[str, ...] = ()
    no_alias: tuple[str, ...] = ()
    no_view: tuple[int, ...] = ()
    no_negative: tuple[int, ...] = ()

    def changes(self) -> Changes:
        """The same for the store."""
        from kinsight.store import Changes

        names = self.rename, self.category, self.info, self.alias, self.no_alias
        return Changes(*names, self.no_view, self.no_negative)


def _edit_option(name: str, text: str, several: bool = False, number: bool = False) -> click.Option:
    kind = click.IntRange(min=1) if number else click.STRING
    callback = into(Edit)
    return click.Option([name], type=kind, multiple=several, help=text, expose_value=False, callback=callback)


@click.command(
    params=[
        _edit_option("--rename", "Its new name."),
        _edit_option("--category", "Its kind: dog, person, cup, ..."),
        _edit_option("--info", "What there is to know about it."),
        _edit_option("--alias", "Another name that it goes by; may come several times.", several=True),
        _edit_option("--no-alias", "A name that it no longer goes by.", several=True),
        _edit_option("--no-view", "A view that shows somebody else, as show numbers it.", True, True),
        _edit_option("--no-negative", "A negative that was said wrongly, as show numbers it.", True, True),
    ],
    epilog='Examples: kinsight edit Lala --alias Lalita --info "She loves the sea.", '
    "kinsight edit Lala --no-view 3",
)
@click.argument("name")
@click.make_pass_decorator(Edit, ensure=True)
@pass_desk
def edit(desk: Desk, wanted: Edit, name: str) -> None:
    """Change the name, the category, the info or the aliases of NAME, or take views and negatives away.

    All of it can be taken back with undo; `kinsight forget NAME --view N` deletes a view for good.
    """
    if wanted == Edit():
        raise click.UsageError(
            "nothing is to be changed, give --rename, --category, --info, an alias, a view or a negative"
        )
    with desk.store() as store:
        before = store.concept(name)
        after = store.edit(name, wanted.changes())
    say("It was so already." if before == after else "Changed.")
    say_card(after)


@click.command(epilog="Examples: kinsight forget Lala, kinsight forget Lala --view 3")
@click.argument("name")
@click.option("--view", type=click.IntRange(min=1), help="Only this view, as show numbers it.")
@click.option("--negative", type=click.IntRange(min=1), help="Only this negative, as show numbers it.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@pass_desk
def forget(desk: Desk, name: str, view: int | None, negative: int | None, yes: bool) -> None:
    """Delete NAME with all its views, for good; photos that may show it leave the album, their files stay.

    Changes of others that tell of NAME can then no longer be undone; how many is said before. With --view
    or --negative only that picture goes for good, also one that edit took away before; changes that hold it
    cannot be undone then, nor older ones of NAME. The photo that it was cut from stays in the album.
    """
    if view is not None and negative is not None:
        raise click.UsageError("--view and --negative both say what goes, give one of them")
    with desk.store() as store:
        concept = store.concept(name)
        if view is not None:
            _forget_crop(desk, store, concept.name, ("view", view), yes)
            return
        if negative is not None:
            _forget_crop(desk, store, concept.name, ("negative", negative), yes)
            return
        what = f"{clean_line(concept.name)} with {_views(concept)}"
        _ask_to_forget(what, "" if yes else _along(store.would_forget(name)), yes)
        desk.opened_home().drop_caches()
        forgotten = store.forget(concept.name)
        desk.opened_home().drop_caches()  # what another process made of it meanwhile
    say(f"{clean_line(concept.name)} is forgotten.")
    if forgotten.photos:
        say(f"{counted(forgotten.photos, 'photo')} that may show or name it left the album; the files stay.")
    if forgotten.changes:
        say(f"{counted(forgotten.changes, 'change')} of others can no longer be undone.")
    for other in map(clean_line, forgotten.mentioned_by):
        say(f'What you wrote about {other} still names it: kinsight edit "{other}" --info changes that.')


def _ask_to_forget(what: str, along: str, yes: bool) -> None:
    """`along` is what goes with it, in words, "" for nothing. Aborts where the user says no."""
    if yes:
        return
    if not on_terminal():
        raise ConfigError(
            f"forgetting {what} cannot be undone{along and f', and {along}'}",
            "pass --yes to do it without being asked",
        )
    if not click.confirm(f"Forget {what}? {along and f'With it, {along}. '}This cannot be undone.", err=True):
        raise click.Abort


def _forget_crop(desk: Desk, store: Store, name: str, owner: Owner, yes: bool) -> None:
    what = f"{owner[0]} {owner[1]} of {clean_line(name)}"
    would = store.would_forget_crop(name, owner)
    along = []
    if would.copies:
        go = "goes" if len(would.copies) == 1 else "go"
        along.append(f"{_numbers(owner[0], would.copies)} with the same picture {go} too")
    if would.changes:
        along.append(f"{counted(would.changes, 'change')} can no longer be undone")
    _ask_to_forget(what, " and ".join(along), yes)
    desk.opened_home().drop_caches()
    forgotten = store.forget_crop(name, owner)
    desk.opened_home().drop_caches()
    say(f"{what[0].upper()}{what[1:]} is forgotten.")
    if forgotten.copies:
        say(f"With it went {_numbers(owner[0], forgotten.copies)}, the same picture.")
    if forgotten.changes:
        say(f"{counted(forgotten.changes, 'change')} can no longer be undone.")
    if forgotten.photo:
        path = shlex.quote(forgotten.photo)
        say(f"The photo it is from stays in the album: `kinsight album remove {path}` takes it out.")


def _numbers(kind: Kind, crop_ids: Sequence[int]) -> str:
    """ "view 3", "views 3, 5"."""
    return f"{kind}{'s' * (len(crop_ids) > 1)} {', '.join(map(str, crop_ids))}"


def _along(forgotten: Forgotten) -> str:
    """What goes beside the concept, in words; "" where nothing does."""
    photos, changes = forgotten.photos, forgotten.changes
    parts = []
    if photos:
        leave = "leaves" if photos == 1 else "leave"
        parts.append(f"{counted(photos, 'photo')} that may show or name it {leave} the album")
    if changes:
        parts.append(f"{counted(changes, 'change')} of others can no longer be undone")
    return " and ".join(parts)


@click.command(epilog="Examples: kinsight undo, kinsight undo 3")
@click.argument("number", type=click.IntRange(min=1), default=1)
@AS_JSON
@pass_desk
def undo(desk: Desk, number: int) -> None:
    """Take the last change back, or the last NUMBER of them: all of these or none."""
    with desk.store() as store:
        summaries = store.undo_last(number)
    if desk.as_json:
        print_json({"format": 1, "undone": summaries})
        return
    for summary in summaries:
        say(f"Undone: {clean_line(summary)}.")


@click.command(epilog="Example: kinsight history --limit 5")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@AS_JSON
@pass_desk
def history(desk: Desk, limit: int) -> None:
    """List the last changes, newest first; undo takes back the newest."""
    with desk.store() as store:
        entries = store.history(limit)
    if desk.as_json:
        print_json({"format": 1, "history": [asdict(entry) for entry in entries]})
        return
    rows = [[_local(entry.at), entry.summary] for entry in entries]
    for line in columns(rows) or ["Nothing was changed yet."]:
        say(line)


def _local(at: str) -> str:
    """ "2026-11-28T02:07:55+00:00" -> "2026-11-28 03:07", as the clock of this place had it."""
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M")


def _concept_json(concept: Concept) -> dict[str, Any]:
    """All of a concept but the pictures; id and order of the keys as in `Concept`."""
    return asdict(concept)


def _save_crops(store: Store, concept: Concept, out: Path) -> None:
    """The views, then the negatives, with their numbers; a single view as it is."""
    from kinsight.image import contact_sheet, decode, save

    crops = [(kind, crop) for kind in _KINDS for crop in concept.crops(kind)]
    pictures = [decode(store.picture(kind, crop.id), concept.name).pixels for kind, crop in crops]
    if len(pictures) == 1:
        save(pictures[0], out)
        return
    captions = [f"{kind} {crop.id}, {crop.created[:10]}" for kind, crop in crops]
    save(contact_sheet(pictures, captions, min(4, len(pictures)), (320, 320)), out)


def _say_views(concept: Concept) -> None:
    """The number by which each view is chosen, when it was taught, and where in which photo it is."""
    for kind in _KINDS:
        rows = [
            (kind, str(crop.id), crop.created[:10], f"{_box(crop)} of photo {crop.photo_sha256[:8]}")
            for crop in concept.crops(kind)
        ]
        for line in columns(rows):
            say(line)


def _box(crop: View) -> str:
    return ",".join(f"{value:.0f}" for value in crop.xyxy)


def say_card(concept: Concept) -> None:
    """Name, aliases, kind, info and pictures, each on a line of its own."""
    rows = (
        ("name", concept.name),
        ("also", ", ".join(concept.aliases)),
        ("category", concept.category),
        ("info", concept.info),
        ("views", f"{_views(concept)}, since {concept.created[:10]}"),
    )
    for line in columns([row for row in rows if row[1]]):
        say(line)


def _short(text: str) -> str:
    line = clean_line(text)
    return line if len(line) <= _LISTED_INFO else f"{line[: _LISTED_INFO - 1]}…"


def _views(concept: Concept) -> str:
    negatives = f", {counted(len(concept.negatives), 'negative')}" if concept.negatives else ""
    return counted(len(concept.views), "view") + negatives
