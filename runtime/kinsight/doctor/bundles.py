"""Examines the device config and the bundle: what runs where, what is whole, what fits into the memory."""

from __future__ import annotations

from collections.abc import Iterator

from kinsight.bundle import (
    Bundle,
    check_hashes,
    find_bundle,
    installed_bundles,
    pocket_folder,
    read_bundle,
    verify_bundle,
)
from kinsight.catalogue import fit, load_catalogue
from kinsight.catalogue.fit import gigabytes
from kinsight.catalogue.install import missing_bytes
from kinsight.catalogue.staging import Shelf
from kinsight.config import DeviceConfig
from kinsight.doctor.findings import Finding
from kinsight.home import Home
from kinsight.machine import this_machine

OPTIONAL = ("XnnpackExecutionProvider",)
"""No wheel of the package index has them, and what they do faster is small: nothing is to be mended."""
_NVIDIA = (
    "install NVIDIA's onnxruntime-gpu for your JetPack in the place of onnxruntime (docs/install/jetson.md)"
)
WHEELS = {"TensorrtExecutionProvider": _NVIDIA, "CUDAExecutionProvider": _NVIDIA}
"""Execution provider -> where it comes from."""


def examine_device(config: DeviceConfig) -> Finding:
    """Which device config, why that one, and what ONNX Runtime can do of what it asks for."""
    from kinsight.session import choose_providers

    chosen, reason = choose_providers(config.providers)
    threads = f"{config.threads} threads" if config.threads else "one thread per core"
    words = f"{config.name} ({config.reason}), {threads}, {config.memory_mb} MiB allowed, {reason}"
    missing = [name for name in config.providers if name not in chosen and name not in OPTIONAL]
    if missing:
        mend = f"install the onnxruntime that has {', '.join(missing)}, or use another device config"
        if known := next((WHEELS[name] for name in missing if name in WHEELS), ""):
            mend = known
        return Finding("device", "note", words, mend)
    return Finding("device", "well", words)


def examine_bundle(home: Home, config: DeviceConfig, choice: str | None, verify: bool) -> Iterator[Finding]:
    """The bundle that would be used, whole or damaged, calibrated or not, and whether it fits."""
    yield from _of_the_device(home, config, choice)
    folder, reason = find_bundle(choice, config.bundle, home.bundles, pocket_folder())
    bundle = read_bundle(folder)
    if verify:
        check_hashes(bundle)
    else:
        verify_bundle(bundle, home.cache)
    checked = "every file hashed" if verify else "files as when they were last hashed"
    words = f"{bundle.name} {bundle.version} in {folder}, {reason}; knows {bundle.world}, {checked}"
    if bundle.embedder.calibration is None:
        mend = f"kinsight-export calibrate {folder} PHOTOS"
        yield Finding("bundle", "broken", f"{words}, but was never calibrated, so it names nobody", mend)
    elif bundle.embedder.calibration.estimated:
        mend = f"kinsight-export calibrate {folder} PHOTOS"
        yield Finding("bundle", "note", f"{words}; when it names somebody is a cautious estimate", mend)
    elif bundle.llm is None:
        mend = "use another bundle for ask, caption and chat"
        yield Finding("bundle", "note", f"{words}, but has no language model", mend)
    else:
        yield Finding("bundle", "well", f"{words}, its language model sees {bundle.llm.sees}")
    yield _memory(bundle, config)


def _of_the_device(home: Home, config: DeviceConfig, choice: str | None) -> Iterator[Finding]:
    """The bundle that the device config names, where it is not installed yet, and whether it fits.

    Where it does not, the largest one that does.
    """
    if choice or not config.bundle or config.bundle in (*installed_bundles(home.bundles), "pocket"):
        return
    entries = load_catalogue().entries
    if config.bundle not in entries:
        return
    fits = {
        name: fit(entry.size, missing_bytes(entry, home), config, home.folder)
        for name, entry in entries.items()
    }
    named = fits[config.bundle]
    words = f"{config.bundle}, which is made for this device, is not installed; does it fit? {named.words}"
    small_enough = [name for name, one in fits.items() if one.fits]
    best = max(small_enough, key=lambda name: entries[name].size, default="")
    if named.fits or not best:
        mend = f"kinsight pull {config.bundle}" if named.fits else "free some space, or allow more memory"
        yield Finding("bundle to pull", "note", words, mend)
    else:
        yield Finding("bundle to pull", "note", f"{words}; {best} does", f"kinsight pull {best}")


def examine_downloads(home: Home) -> Iterator[Finding]:
    """What was downloaded and not installed."""
    size = Shelf(home).size()
    if size:
        words = f"{gigabytes(size)} of a pull that was not ended"
        mend = "kinsight pull NAME goes on with it, kinsight models clean deletes it"
        yield Finding("downloads", "note", words, mend)


def _memory(bundle: Bundle, config: DeviceConfig) -> Finding:
    """The files of a bundle are about what its models take."""
    models = sum(path.stat().st_size for path, _ in bundle.hashes())
    allowed = config.memory_mb << 20
    total = this_machine().memory
    has = f"this machine has {gigabytes(total)}, " if total else ""
    words = (
        f"{has}the device config allows {gigabytes(allowed)}, the bundle's models have {gigabytes(models)}"
    )
    if models > min(allowed, total or allowed):
        return Finding("memory", "note", words, "use a smaller bundle, or allow more in the device config")
    return Finding("memory", "well", words)
