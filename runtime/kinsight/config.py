"""Reads a device config: one TOML with what this machine has and how much of it kinsight may take."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from kinsight.errors import ConfigError
from kinsight.home import expanded
from kinsight.machine import Machine, this_machine
from kinsight.tomlread import FLAG, Key, Kind, StrictToml, Table, literal, optional, several, text, whole

KvType = Literal["f16", "q8_0"]
Options = Mapping[str, Mapping[str, str]]
"""Execution provider -> option -> value, as ONNX Runtime takes them."""
DEFAULT_DEVICE = "laptop-cpu"
_CACHE = "{cache}"
_LEAST_MB, _UNKNOWN_MB = 64, 4096


@dataclass(frozen=True)
class DeviceConfig:
    """What one machine offers."""

    name: str
    providers: tuple[str, ...]  # ONNX Runtime execution providers, the preferred one first
    threads: int  # 0: one per physical core
    memory_mb: int  # MiB for models and caches together
    bundle: str | None = None  # a path or the name of one, installed or in the catalogue
    gpu_layers: int = 0  # of the language model; -1: all
    kv_type: KvType = "f16"  # of the language model's KV cache
    flash_attention: bool = False
    image_max_tokens: int | None = None  # no picture may cost more here, whatever the bundle allows
    mmap: bool | None = None  # weights are mapped from their file; None: where that is faster
    provider_options: Options = field(default_factory=dict, hash=False)
    reason: str = field(default="", compare=False)  # why this one, in words
    shares: bool = field(default=False, compare=False)  # its memory is a share of this machine's


_PROVIDER = text('the name of an "...ExecutionProvider"', lambda value: value.endswith("ExecutionProvider"))


def _option(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


_OPTIONS = Kind(
    "tables that are named as execution providers, with a text, a number, true or false for every option",
    lambda value: (
        isinstance(value, dict)
        and all(
            _PROVIDER.fits(name)
            and isinstance(options, dict)
            and all(isinstance(option, str | int | float) for option in options.values())
            for name, options in value.items()
        )
    ),
    lambda value: {name: {k: _option(v) for k, v in options.items()} for name, options in value.items()},
)
_DEVICE = Table(
    {
        "name": Key(text()),
        "boards": optional(several(text()), ()),
        "providers": Key(several(_PROVIDER, least=1)),
        "threads": Key(whole(0, 1024)),
        "memory_mb": Key(
            Kind(
                f"0, or a whole number from {_LEAST_MB} to {1 << 24}",
                lambda value: type(value) is int and (value == 0 or _LEAST_MB <= value <= 1 << 24),
            )
        ),
        "bundle": optional(text(), DeviceConfig.bundle),
    }
)
_LLM = Table(
    {
        "gpu_layers": optional(whole(-1, 1000), DeviceConfig.gpu_layers),
        "kv_type": optional(literal(KvType), DeviceConfig.kv_type),
        "flash_attention": optional(FLAG, DeviceConfig.flash_attention),
        "image_max_tokens": optional(whole(1, 65536), DeviceConfig.image_max_tokens),
        "mmap": optional(FLAG, DeviceConfig.mmap),
    },
    required=False,
)
_CONTRACT = Table({"device": _DEVICE, "provider_options": optional(_OPTIONS, {}), "llm": _LLM})


def load_device(
    choice: str | Path | None = None, cache: Path | None = None, machine: Machine | None = None
) -> DeviceConfig:
    """The device config of that name or path, else $KINSIGHT_DEVICE, else the one that knows this machine.

    A text that ends in ".toml" or has a slash is a path. `cache` is a folder for what an execution provider
    compiles; without it nothing is kept. ConfigError where there is no such config, or it is wrong.
    """
    machine = machine or this_machine()
    named = choice or os.environ.get("KINSIGHT_DEVICE")
    if named:
        path, reason = _find(named), "asked for with --device" if choice else "named by $KINSIGHT_DEVICE"
    else:
        path, reason = _recognised(machine)
    values = _read(path)
    values["device"].pop("boards")
    device = DeviceConfig(**values["device"], **(values["llm"] or {}), reason=reason)
    return replace(
        device,
        memory_mb=device.memory_mb or _share(machine),
        shares=not device.memory_mb,
        provider_options=_with_cache(values["provider_options"], cache),
    )


def device_names() -> list[str]:
    """Of the device configs that come with kinsight, sorted."""
    return sorted(_known())


def _recognised(machine: Machine) -> tuple[Path, str]:
    """The config one of whose boards this machine's name contains, the longest such board first."""
    known = _known()
    boards = sorted(
        ((board, path) for path in known.values() for board in _read(path)["device"]["boards"]),
        key=lambda row: -len(row[0]),
    )
    for board, path in boards:
        if board in machine.name:
            return path, f"this machine is a {machine.name}"
    return known[DEFAULT_DEVICE], f"no other device config knows a {machine.name}"


def _read(path: Path) -> dict[str, Any]:
    toml = StrictToml.open(path, ConfigError)
    values = toml.read(_CONTRACT)
    llm = values["llm"] or {"kv_type": DeviceConfig.kv_type}
    if llm["kv_type"] != "f16" and not llm["flash_attention"]:
        problem = f'is "{llm["kv_type"]}", which needs flash attention,'
        raise toml.refuse("llm.kv_type", problem, 'add flash_attention = true, or write "f16"')
    return values


def _share(machine: Machine) -> int:
    """Two thirds of the memory, in MiB."""
    return max(_LEAST_MB, 2 * machine.memory // 3 >> 20) if machine.memory else _UNKNOWN_MB


def _with_cache(options: Options, cache: Path | None) -> Options:
    """With the folder for "{cache}"; an option that asks for it goes where there is none."""
    return {
        provider: {
            key: value.replace(_CACHE, str(cache))
            for key, value in values.items()
            if cache or _CACHE not in value
        }
        for provider, values in options.items()
    }


def _find(chosen: str | Path) -> Path:
    known = _known()
    is_path = isinstance(chosen, Path) or chosen.endswith(".toml") or "/" in chosen
    path = expanded(chosen) if is_path else known.get(str(chosen))
    if path is None or not path.is_file():
        names = ", ".join(sorted(known))
        raise ConfigError(
            f"there is no device config {str(chosen)!r}",
            f"choose one of {names}, or the path of a .toml file",
        )
    return path


def _known() -> dict[str, Path]:
    """In an installed package beside this file, in a checkout at its root."""
    installed = Path(__file__).parent / "device_configs"
    folder = installed if installed.is_dir() else Path(__file__).parents[2] / "device_configs"
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}
