"""The verbs of the vault: encrypt the store, decrypt it, change its key, say how it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kinsight.cli.desk import AS_JSON, Desk, desk_options, on_terminal, pass_desk
from kinsight.cli.show import clean_line, print_json, say
from kinsight.errors import VaultError

if TYPE_CHECKING:
    from kinsight.store import Key

_FILE = click.Path(path_type=Path)


@click.group(invoke_without_command=True)
@click.pass_context
def vault(context: click.Context) -> None:
    """Encrypt what you taught with a passphrase or a key file, so that nobody else can open it."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@vault.command(epilog="Examples: kinsight vault on, kinsight vault on --key-file /media/stick/kinsight.key")
@pass_desk
def on(desk: Desk) -> None:
    """Encrypt the store, pictures and names and all; the passphrase is asked twice.

    With --key-file the key is what that file holds; it is made where it is absent. From then on nothing that
    is made from the store is kept on the disk in plain.
    """
    from kinsight.store import KEY_FILE, is_encrypted, sqlcipher_driver

    home = desk.opened_home()
    if is_encrypted(home.store):
        raise VaultError(f"the store {home.store} is encrypted already", "change its key with rekey")
    sqlcipher_driver()
    named = os.environ.get(KEY_FILE)
    _rewrite(desk, _new_key(desk, desk.key_file or (Path(named) if named else None), "--key-file"))
    say("The store is encrypted. Without its key nobody can open it, so keep that safe.")
    desk.note("backups and exports that were made before are as they were: delete them, or keep them safe")


@vault.command(epilog="Example: kinsight vault off")
@pass_desk
def off(desk: Desk) -> None:
    """Decrypt the store; its key is asked for a last time."""
    _require_encrypted(desk)
    _rewrite(desk, None)
    say("The store is no longer encrypted.")


@vault.command(epilog="Examples: kinsight vault rekey, kinsight vault rekey --new-key-file kinsight.key")
@click.option("--new-key-file", type=_FILE, help="File with the new key; it is made where it is absent.")
@pass_desk
def rekey(desk: Desk, new_key_file: Path | None) -> None:
    """Give the store another passphrase or key file; every page of it is encrypted anew.

    Backups that were made before keep the key that they have.
    """
    _require_encrypted(desk)
    path = desk.opened_home().store
    with desk.store():  # the key that it has is asked first
        pass
    _rewrite(desk, _new_key(desk, new_key_file, "--new-key-file"))
    say(clean_line(f"The store {path} has a new key; that of its backups is the old one still."))


@vault.command(epilog="Example: kinsight vault status")
@AS_JSON
@pass_desk
def status(desk: Desk) -> None:
    """Say whether the store is encrypted; this needs no key."""
    from kinsight.store import is_encrypted

    path = desk.opened_home().store
    encrypted = is_encrypted(path)
    if desk.as_json:
        print_json({"format": 1, "store": str(path), "encrypted": encrypted})
        return
    say(clean_line(f"{path} is {'encrypted' if encrypted else 'not encrypted: kinsight vault on does it'}."))


def _require_encrypted(desk: Desk) -> None:
    from kinsight.store import is_encrypted

    path = desk.opened_home().store
    if not is_encrypted(path):
        raise VaultError(f"the store {path} is not encrypted", "run `kinsight vault on` first")


def _rewrite(desk: Desk, new: Key | None) -> None:
    from kinsight.store import rewrite

    home = desk.opened_home()
    if new:
        home.drop_caches()
    rewrite(home.store, desk.key, new)
    if new:  # what another process has made in between
        home.drop_caches()


def _new_key(desk: Desk, file: Path | None, option: str) -> Key:
    """What the file holds, or what is typed twice without being shown."""
    from kinsight.store import Key, make_key_file

    if file is not None:
        file = file.expanduser().absolute()
        folder = desk.opened_home().folder
        if file.resolve().is_relative_to(folder.resolve()):
            raise VaultError(f"the key file {file} would lie beside what it locks", "keep it elsewhere")
        if not file.exists():
            make_key_file(file)
            desk.note(f"a new key is in {file}")
        return Key.of_file(file)
    if not on_terminal():
        raise VaultError(
            "nobody is there to type a passphrase", f"name a key file with {option}; it is made where absent"
        )
    return Key.of_passphrase(
        click.prompt("New passphrase", hide_input=True, confirmation_prompt="The same again", err=True)
    )


for _verb in vault.commands.values():
    _verb.params.extend(desk_options(hidden=True))
