"""Examines the installation, the user's data and the bundle; says what is broken and how to mend it."""

from __future__ import annotations

import platform
import shutil
import stat
from pathlib import Path

from kinsight.catalogue.fit import gigabytes
from kinsight.config import load_device
from kinsight.doctor.board import examine_machine
from kinsight.doctor.bundles import examine_bundle, examine_device, examine_downloads
from kinsight.doctor.findings import Finding, State, broken, skipped
from kinsight.doctor.packages import PACKAGES, Package, packages, twins
from kinsight.errors import ConfigError, KinsightError, VaultError
from kinsight.home import Home, open_home
from kinsight.machine import Machine, this_machine

__all__ = ["PACKAGES", "Finding", "Package", "State", "examine", "packages", "twins"]

_LEAST_FREE = 500_000_000  # bytes on the disk of the home


def examine(home: Path | None, bundle: str | None, device: str | None, verify: bool) -> list[Finding]:
    """Everything, in the order in which it is needed; the arguments are those of the command line."""
    machine = this_machine()
    name = _name_of(device, machine)
    findings = [
        _python(),
        *examine_machine(machine),
        *packages(PACKAGES, name),
        *twins(device=name),
    ]
    loaded = {finding.what for finding in findings if finding.state == "well"}
    opened = config = None
    try:
        opened = open_home(home)
        findings.append(_home(opened))
        findings.append(_store(opened) if {"sqlite-utils", "numpy"} <= loaded else skipped("store"))
    except KinsightError as error:
        findings.append(broken("home" if opened is None else "store", error))
    try:
        config = load_device(device, machine=machine)
        findings.append(examine_device(config) if {"onnxruntime", "numpy"} <= loaded else skipped("device"))
        if opened:
            findings += examine_downloads(opened)
            findings += examine_bundle(opened, config, bundle, verify)
    except KinsightError as error:
        findings.append(broken("device" if config is None else "bundle", error))
    return findings


def _name_of(device: str | None, machine: Machine) -> str:
    """Of the device config; "" where there is no such one, which is told later."""
    try:
        return load_device(device, machine=machine).name
    except ConfigError:
        return ""


def _python() -> Finding:
    return Finding("python", "well", f"{platform.python_version()}, {platform.system()} {platform.machine()}")


def _home(home: Home) -> Finding:
    mode = stat.S_IMODE(home.folder.stat().st_mode)
    free = shutil.disk_usage(home.folder).free
    words = f"{home.folder}, permissions {mode:03o}, can be written, {gigabytes(free)} free"
    if free < _LEAST_FREE:
        return Finding(
            "home", "note", words, f"free some space on that disk, {gigabytes(_LEAST_FREE)} at least"
        )
    return Finding("home", "well", words)


def _store(home: Home) -> Finding:
    """Opens it and has SQLite read every page."""
    from kinsight.store import Store, is_encrypted

    if not home.store.exists():
        return Finding("store", "well", "nothing was remembered yet")
    encrypted = is_encrypted(home.store)
    try:
        with Store.open(home.store) as store:
            wrong, size = store.check(), store.size()
    except VaultError as error:
        return Finding("store", "note", error.problem, error.mend)
    if wrong:
        mend = "put a backup of store.db in its place"
        return Finding("store", "broken", f"{home.store} is damaged ({'; '.join(wrong[:3])})", mend)
    counted = ", ".join(f"{table}s: {size[table]}" for table in ("concept", "view", "negative"))
    vault = "encrypted; " if encrypted else ""
    return Finding("store", "well", f"{counted}; {vault}every page was read and is in order")
