"""The verbs that put right who is who: merge, split and move; each can be taken back with undo."""

from __future__ import annotations

import click

from kinsight.cli.desk import Desk, pass_desk
from kinsight.cli.keeping import say_card

_VIEWS = click.argument("views", nargs=-1, required=True, type=click.IntRange(min=1))


@click.command(epilog="Example: kinsight merge Lalita --into Lala")
@click.argument("name")
@click.option("--into", "kept", required=True, help="The concept that stays.")
@pass_desk
def merge(desk: Desk, name: str, kept: str) -> None:
    """Make NAME part of another concept: its views, its aliases and what is known go over.

    NAME becomes an alias of the one that stays.
    """
    with desk.store() as store:
        say_card(store.merge(name, kept))


@click.command(epilog="Example: kinsight split Lala 3 5 --into Momo")
@click.argument("name")
@_VIEWS
@click.option("--into", "new", required=True, help="The name of the new one.")
@pass_desk
def split(desk: Desk, name: str, views: tuple[int, ...], new: str) -> None:
    """Give some VIEWS of NAME a new name; their numbers are those of `kinsight show`."""
    with desk.store() as store:
        say_card(store.split(name, views, new))


@click.command(epilog="Example: kinsight move 3 5 --from Lala --to Tom")
@_VIEWS
@click.option("--from", "source", required=True, help="Whose views they are now.")
@click.option("--to", "target", required=True, help="Whose views they are in truth.")
@pass_desk
def move(desk: Desk, views: tuple[int, ...], source: str, target: str) -> None:
    """Give some VIEWS to another concept; their numbers are those of `kinsight show`."""
    with desk.store() as store:
        say_card(store.move(views, source, target))
