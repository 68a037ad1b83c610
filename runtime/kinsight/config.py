"""Reads a device config: one TOML with what this machine has and how much of it kinsight may take."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kinsight.errors import ConfigError
from kinsight.home import expanded
from kinsight.tomlread import FLAG, Key, StrictToml, Table, literal, optional, several, text, whole

KvType = Literal["f16", "q8_0"]
DEFAULT_DEVICE = "laptop-cpu"


@dataclass(frozen=True)
class DeviceConfig:
    """What one machine offers."""

    name: str
    providers: tuple[str, ...]  # ONNX Runtime execution providers, the preferred one first
    threads: int  # 0: one per physical core
    memory_mb: int  # MiB for models and caches together
    bundle: str | None = None  # a path or the name of an installed one
    gpu_layers: int = 0  # of the language model; -1: all
    kv_type: KvType = "f16"  # of the language model's KV cache
    flash_attention: bool = False


_PROVIDER = text('the name of an "...ExecutionProvider"', lambda value: value.endswith("ExecutionProvider"))
_DEVICE = Table(
    {
        "name": Key(text()),
        "providers": Key(several(_PROVIDER, least=1)),
        "threads": Key(whole(0, 1024)),
        "memory_mb": Key(whole(64, 1 << 24)),
        "bundle": optional(text(), DeviceConfig.bundle),
    }
)
_LLM = Table(
    {
        "gpu_layers": optional(whole(-1, 1000), DeviceConfig.gpu_layers),
        "kv_type": optional(literal(KvType), DeviceConfig.kv_type),
        "flash_attention": optional(FLAG, DeviceConfig.flash_attention),
    },
    required=False,
)


def load_device(choice: str | Path | None = None) -> DeviceConfig:
    """The device config of that name or path, else $KINSIGHT_DEVICE, else `laptop-cpu`.

    A text that ends in ".toml" or has a slash is a path. ConfigError where there is none, or it is wrong.
    """
    chosen = choice or os.environ.get("KINSIGHT_DEVICE") or DEFAULT_DEVICE
    values = StrictToml.open(_find(chosen), ConfigError).read(Table({"device": _DEVICE, "llm": _LLM}))
    return DeviceConfig(**values["device"], **(values["llm"] or {}))


def _find(chosen: str | Path) -> Path:
    known = {file.stem: file for file in _folder().glob("*.toml")}
    is_path = isinstance(chosen, Path) or chosen.endswith(".toml") or "/" in chosen
    path = expanded(chosen) if is_path else known.get(str(chosen))
    if path is None or not path.is_file():
        names = ", ".join(sorted(known))
        raise ConfigError(
            f"there is no device config {str(chosen)!r}",
            f"choose one of {names}, or the path of a .toml file",
        )
    return path


def _folder() -> Path:
    """In an installed package beside this file, in a checkout at its root."""
    installed = Path(__file__).parent / "device_configs"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "device_configs"
