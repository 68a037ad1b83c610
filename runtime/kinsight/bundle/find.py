"""Finds the bundle to use: the one asked for, the device's, the one installed last, or pocket."""

from __future__ import annotations

from pathlib import Path

from kinsight.bundle.files import BUNDLE_TOML, is_bundle
from kinsight.errors import BundleError
from kinsight.home import expanded


def find_bundle(
    choice: str | None, device_bundle: str | None, bundles_folder: Path, pocket: Path | None
) -> tuple[Path, str]:
    """(folder of the bundle, the reason for it in words).

    `choice` and `device_bundle` are a path or a name in `bundles_folder`. A device's bundle that is a name
    and not installed yet is passed over, and the reason says so. BundleError lists what is there.
    """
    if choice:
        return _named(choice, bundles_folder, pocket), "asked for with --bundle"
    installed, wanted = installed_bundles(bundles_folder), ""
    if device_bundle:
        try:
            return _named(device_bundle, bundles_folder, pocket), "named by the device config"
        except BundleError:
            if device_bundle != expanded(device_bundle).name:
                raise
        wanted = f"; the device config names {device_bundle}, get it with `kinsight pull {device_bundle}`"
    if installed:
        last = max(installed, key=lambda name: (bundles_folder / name / BUNDLE_TOML).stat().st_mtime_ns)
        which = "the only one" if len(installed) == 1 else f"of {len(installed)} the one installed last"
        return bundles_folder / last, f"{which} in {bundles_folder}{wanted}"
    found = f"no bundles are in {bundles_folder}"
    if pocket:
        return pocket, f"the built-in one, as {found} and none was asked for{wanted}"
    raise BundleError(f"{found} and none was asked for{wanted}", _how_to_get(installed))


def pocket_folder() -> Path | None:
    """The built-in bundle, where this installation has one."""
    package = Path(__file__).parents[1]
    places = (package / "models" / "pocket", package.parents[1] / "models" / "pocket")
    return next((folder for folder in places if is_bundle(folder)), None)


def _named(choice: str, bundles_folder: Path, pocket: Path | None) -> Path:
    path = expanded(choice)
    candidates = [path]
    if choice == path.name:
        candidates = [bundles_folder / choice, *([pocket] if pocket and choice == "pocket" else []), path]
    for candidate in candidates:
        if is_bundle(candidate):
            return candidate
    raise BundleError(f"there is no bundle {choice!r}", _how_to_get(installed_bundles(bundles_folder)))


def installed_bundles(bundles_folder: Path) -> list[str]:
    """Names of the bundles, sorted; a hidden folder is one that is still being written."""
    return sorted(
        file.parent.name
        for file in bundles_folder.glob(f"*/{BUNDLE_TOML}")
        if not file.parent.name.startswith(".")
    )


def _how_to_get(installed: list[str]) -> str:
    if installed:
        return f"pass --bundle with a folder or one of these: {', '.join(installed)}"
    return "get one with `kinsight pull`, or write one with `kinsight-export bundle` and pass its folder"
