"""The verbs of `models`: list, show, add, try and remove bundles."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import AS_JSON, Desk, desk_options, pass_desk
from kinsight.cli.pulling import A_FILE, CATALOGUE, fit_of, say_calibration, say_what_is_used, tried
from kinsight.cli.show import columns, print_json, say

if TYPE_CHECKING:
    from kinsight.catalogue import Catalogue, Entry, Fit, Recipe


@click.group(invoke_without_command=True)
@CATALOGUE
@AS_JSON
@pass_desk
@click.pass_context
def models(context: click.Context, desk: Desk) -> None:
    """Bundles of models: what can be pulled, what fits this machine, what is installed."""
    if context.invoked_subcommand is None:
        _list(desk)


@models.command("list", epilog="Example: kinsight models list --json")
@CATALOGUE
@AS_JSON
@pass_desk
def list_(desk: Desk) -> None:
    """List the bundles of the catalogue: size, licence, devices, whether they fit, whether they are there."""
    _list(desk)


@models.command(epilog="Example: kinsight models show tiny")
@click.argument("name")
@CATALOGUE
@AS_JSON
@pass_desk
def show(desk: Desk, name: str) -> None:
    """Show where every file of NAME comes from, with its hash; or how a part without such files is made."""
    from kinsight.catalogue import load_catalogue

    catalogue = load_catalogue(desk.catalogue)
    if name in catalogue.recipes:
        _show_recipe(desk, catalogue.recipes[name])
        return
    entry = catalogue.entry(name)
    if desk.as_json:
        print_json({"format": 1, **_entry_json(entry), "files": [asdict(file) for file in entry.files]})
        return
    say(f"{entry.name}: {entry.summary}. {entry.size / 1e6:.0f} MB, {entry.licence}.")
    for part in entry.parts:
        say(f"\n{part.role}: {part.name}, {part.licence}")
        for file in part.files:
            say(f"  {file.name}, {file.size / 1e6:.1f} MB\n    {file.url}\n    sha256 {file.sha256}")


def _show_recipe(desk: Desk, recipe: Recipe) -> None:
    if desk.as_json:
        print_json({"format": 1, **_recipe_json(recipe), "steps": list(recipe.steps)})
        return
    say(f"{recipe.name}: {recipe.summary}. {recipe.licence}; it takes the place of a bundle's {recipe.part}.")
    say(f"\nOn a workstation, with {recipe.weights}:\n")
    for step in recipe.steps:
        say(f"  {step}")
    say("\nThen, on the device: kinsight models add my-bundle")


@models.command(epilog="Example: kinsight models add my-bundle.zip")
@click.argument("path", type=A_FILE)
@click.option("--replace", is_flag=True, help="Replace a bundle of that name.")
@click.option("--no-try", "untried", is_flag=True, help="Do not ask its smoke question afterwards.")
@pass_desk
@click.pass_context
def add(context: click.Context, desk: Desk, path: Path, replace: bool, untried: bool) -> None:
    """Install the bundle in PATH, which is a folder, a zip or a tar archive; no network is used."""
    from kinsight.catalogue import add as bring

    bundle = bring(path, desk.opened_home(), replace)
    say(f"{bundle.name} is installed in {bundle.folder}.")
    well = untried or tried(desk, bundle)
    say_what_is_used(desk, bundle)
    say_calibration(desk, bundle)
    context.exit(0 if well else 1)


@models.command("try", epilog="Example: kinsight models try tiny")
@click.argument("name", required=False)
@AS_JSON
@pass_desk
@click.pass_context
def try_(context: click.Context, desk: Desk, name: str | None) -> None:
    """Run every model of a bundle once, and ask its smoke question; ends with 1 where one fails.

    NAME is an installed bundle or a folder; without it the one that would be used is tried.
    """
    from kinsight.bundle import find_bundle, pocket_folder, read_bundle
    from kinsight.catalogue import try_bundle
    from kinsight.config import load_device

    home = desk.opened_home()
    device = load_device(desk.device, home.cache)
    folder, reason = find_bundle(name or desk.bundle, device.bundle, home.bundles, pocket_folder())
    desk.choice(f"bundle {folder.name}: {reason}; device {device.name}: {device.reason}")
    trials = []
    for trial in try_bundle(read_bundle(folder), device):
        trials.append(trial)
        if not desk.as_json:
            say(f"{trial.part}: {trial.state}, {trial.words}")
    well = all(trial.state != "failed" for trial in trials)
    if desk.as_json:
        print_json({"format": 1, "well": well, "trials": [asdict(trial) for trial in trials]})
    context.exit(0 if well else 1)


@models.command(epilog="Example: kinsight models remove tiny")
@click.argument("name")
@pass_desk
def remove(desk: Desk, name: str) -> None:
    """Delete the installed bundle NAME; what you taught stays, and is embedded anew for another bundle."""
    from kinsight.catalogue import remove as delete

    freed = delete(name, desk.opened_home())
    say(f"{name} is removed, {freed / 1e6:.0f} MB are free again.")


@models.command(epilog="Example: kinsight models clean")
@pass_desk
def clean(desk: Desk) -> None:
    """Delete the downloads that no bundle was made of yet; `pull` would go on with them."""
    from kinsight.catalogue import clean as clear

    say(f"{clear(desk.opened_home()) / 1e6:.0f} MB are free again.")


for _verb in models.commands.values():
    _verb.params.extend(desk_options(hidden=True))


def _list(desk: Desk) -> None:
    from kinsight.bundle import installed_bundles
    from kinsight.catalogue import load_catalogue
    from kinsight.config import load_device

    home, catalogue = desk.opened_home(), load_catalogue(desk.catalogue)
    device, installed = load_device(desk.device, home.cache), installed_bundles(home.bundles)
    fits = {name: fit_of(entry, device, home) for name, entry in catalogue.entries.items()}
    if desk.as_json:
        print_json(_list_json(catalogue, fits, installed, device.name))
        return
    head = [
        "name",
        "size",
        "licence",
        "made for",
        f"fits {'this machine' if device.shares else device.name}?",
        "installed",
        "",
    ]
    rows = [
        [
            entry.name,
            f"{entry.size / 1e6:.0f} MB",
            entry.licence,
            ", ".join(entry.devices),
            fits[name].words,
            "yes" if name in installed else "no",
            entry.summary,
        ]
        for name, entry in catalogue.entries.items()
    ]
    for line in columns([head, *rows]):
        say(line)
    if own := [name for name in installed if name not in catalogue.entries]:
        say(f"\nInstalled, not from this catalogue: {', '.join(own)}.")
    if catalogue.recipes:
        say(
            "\nTo be made on a workstation of weights that you download (kinsight models show NAME says how):"
        )
        made = [[each.name, each.part, each.licence, each.summary] for each in catalogue.recipes.values()]
        for line in columns(made):
            say(line)
    desk.note(f"device {device.name}: {device.reason}; get one with kinsight pull NAME")


def _list_json(
    catalogue: Catalogue, fits: dict[str, Fit], installed: list[str], device: str
) -> dict[str, Any]:
    bundles = [
        {**_entry_json(entry), "installed": name in installed, "fits": fits[name].fits, **asdict(fits[name])}
        for name, entry in catalogue.entries.items()
    ]
    own = [name for name in installed if name not in catalogue.entries]
    recipes = [_recipe_json(recipe) for recipe in catalogue.recipes.values()]
    return {"format": 1, "device": device, "bundles": bundles, "other_installed": own, "recipes": recipes}


def _recipe_json(recipe: Recipe) -> dict[str, Any]:
    names = ("name", "summary", "part", "licence", "weights", "bundle")
    return {name: getattr(recipe, name) for name in names}


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "version": entry.version,
        "summary": entry.summary,
        "bytes": entry.size,
        "licence": entry.licence,
        "to_accept": list(entry.to_accept),
        "devices": list(entry.devices),
    }
