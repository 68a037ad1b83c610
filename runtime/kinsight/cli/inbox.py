"""The inbox: things without a name that recur in the album, in groups that can be named or dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import AS_JSON, Desk, desk_options, into, pass_desk
from kinsight.cli.show import clean_line, columns, counted, print_json, say

if TYPE_CHECKING:
    from kinsight.album import Group, Member

FILE = click.Path(path_type=Path)


@click.group(invoke_without_command=True)
@click.pass_context
def inbox(context: click.Context) -> None:
    """Things without a name that recur in the album: name a group, or drop it."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@inbox.command("list", epilog="Example: kinsight inbox list --sheet inbox.jpg")
@click.option("--sheet", type=FILE, help="Draw some of every group into this file.")
@AS_JSON
@pass_desk
def list_(desk: Desk, sheet: Path | None = None) -> None:
    """List the groups, the largest first. A group's id stays as long as its members do."""
    with desk.assistant(looks=False) as assistant:
        groups = assistant.album.groups()
        if sheet and groups:
            from kinsight.image import save

            save(assistant.album.groups_sheet(groups), sheet)
    if desk.as_json:
        print_json({"format": 1, "groups": [_group_json(group) for group in groups]})
    else:
        rows = [[group.id, f"{counted(len(group.members), 'photo')} of a {group.label}"] for group in groups]
        for line in columns(rows) or ["Nothing without a name recurs in the album."]:
            say(line)
    if groups and sheet:
        desk.note(f"drawn in {sheet}")
    if groups:
        desk.note(
            "next: kinsight inbox show GROUP, kinsight inbox name GROUP NAME or kinsight inbox drop GROUP"
        )


@inbox.command(epilog="Example: kinsight inbox show 86e53b --sheet group.jpg")
@click.argument("group")
@click.option("--sheet", type=FILE, help="Draw its members with their numbers into this file.")
@AS_JSON
@pass_desk
def show(desk: Desk, group: str, sheet: Path | None) -> None:
    """List the members of GROUP with the numbers that --only of `kinsight inbox name` takes."""
    with desk.assistant(looks=False) as assistant:
        found = assistant.album.group(group)
        if sheet:
            from kinsight.image import save

            save(assistant.album.group_sheet(found), sheet)
    if desk.as_json:
        print_json({"format": 1, "group": _group_json(found)})
    else:
        for line in columns([_row(number, member) for number, member in enumerate(found.members, 1)]):
            say(line)
    if sheet:
        desk.note(f"drawn in {sheet}")


@dataclass
class Christening:
    """What the user says of a group."""

    category: str = ""
    info: str = ""
    only: tuple[int, ...] = ()
    add: bool = False


_keep = into(Christening)


def _keep_numbers(context: click.Context, option: click.Parameter, value: str | None) -> None:
    try:
        _keep(context, option, tuple(int(part) for part in value.split(",")) if value else ())
    except ValueError:
        raise click.BadParameter("give numbers such as 1,3", context, option) from None


@inbox.command(
    params=[
        click.Option(
            ["--only"],
            help="These members alone, such as 1,3; the others are kept as not this one.",
            expose_value=False,
            callback=_keep_numbers,
        ),
        click.Option(["--category"], help="Its kind.", expose_value=False, callback=_keep),
        click.Option(["--info"], help="What there is to know about it.", expose_value=False, callback=_keep),
        click.Option(
            ["--add"],
            is_flag=True,
            help="NAME is known already and gets more views.",
            expose_value=False,
            callback=_keep,
        ),
    ],
    epilog='Examples: kinsight inbox name 86e53b Momo --info "The cat of the neighbours.", '
    "kinsight inbox name 86e53b Momo --only 1,3",
)
@click.argument("group")
@click.argument("name")
@click.make_pass_decorator(Christening, ensure=True)
@pass_desk
def name(desk: Desk, said: Christening, group: str, name: str) -> None:
    """Teach NAME from GROUP, which names it in all photos of the album at once; undo takes it back."""
    with desk.assistant() as assistant:
        from kinsight.store import Naming

        naming = Naming(name, (), (), said.category, said.info, said.add)
        concept = assistant.album.name(group, naming, said.only)
        photos = len(assistant.album.find_names([concept.name], limit=len(assistant.album.shots().photos)))
    views = counted(len(concept.views), "view")
    say(clean_line(f"{concept.name} is remembered, {views}; recognised in {counted(photos, 'photo')}."))


@inbox.command(epilog="Example: kinsight inbox drop 86e53b")
@click.argument("group")
@pass_desk
def drop(desk: Desk, group: str) -> None:
    """Ask no more about GROUP, nor about what joins it later; undo takes it back."""
    with desk.assistant(looks=False) as assistant:
        dropped = assistant.album.drop(group)
    say(f"The group {dropped.id} is hidden.")


def _row(number: int, member: Member) -> Sequence[str]:
    return [str(number), member.label, member.photo.path]


def _group_json(group: Group) -> dict[str, Any]:
    members = [
        {
            "photo": member.photo.path,
            "sha256": member.photo.sha256,
            "xyxy": [round(v, 1) for v in member.xyxy],
        }
        for member in group.members
    ]
    return {"id": group.id, "label": group.label, "members": members}


for _verb in inbox.commands.values():
    _verb.params.extend(desk_options(hidden=True))
