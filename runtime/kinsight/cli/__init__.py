"""The command line `kinsight`: a thin door to the assistant, the store and the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import click

from kinsight import __version__
from kinsight.cli.album import album
from kinsight.cli.asking import ask, caption, chat
from kinsight.cli.benching import bench
from kinsight.cli.desk import Desk, desk_options
from kinsight.cli.door import enter
from kinsight.cli.finding import find
from kinsight.cli.inbox import inbox
from kinsight.cli.keeping import concepts, edit, forget, history, show, undo
from kinsight.cli.measuring import evaluate
from kinsight.cli.models import models
from kinsight.cli.pulling import pull
from kinsight.cli.regrouping import merge, move, split
from kinsight.cli.storing import store
from kinsight.cli.teaching import look, not_this, remember
from kinsight.cli.tending import demo, doctor
from kinsight.cli.vaulting import vault


class Verbs(click.Group):
    """Lists the verbs in the order of a user's first day."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they were added."""
        return list(self.commands)


@click.group(
    cls=Verbs,
    params=desk_options(),
    invoke_without_command=True,
    epilog='Begin with: kinsight remember lala.jpg --name Lala, then kinsight ask party.jpg "Where is Lala?"',
)
@click.version_option(__version__, message="kinsight %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """An assistant that knows your people, pets and things, on your own machine."""
    context.ensure_object(Desk)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _verb in (
    *(remember, look, not_this, ask, caption, chat),
    *(concepts, show, edit, merge, split, move, forget, undo, history),
    *(find, pull, doctor, demo),
):
    _verb.params.extend(desk_options(hidden=True))
    cli.add_command(_verb)
for _group in (album, inbox, store, vault, models):
    cli.add_command(_group)
cli.add_command(evaluate)
cli.add_command(bench)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command line, by default that of this process, and leaves with its exit code."""
    enter(cli, "kinsight", arguments)
