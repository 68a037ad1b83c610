"""LoRA adapters: merged into a checkpoint in float32, which the gate then holds against adapter on base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kinsight.errors import ModelError

_KEPT = ("*.json", "*.jinja", "*.model", "*.txt")
_NOT_KEPT = ("model.safetensors.index.json",)
_MEND = "name the folder of a PEFT adapter of this very checkpoint"


def with_adapter(net: nn.Module, adapter: Path) -> Any:
    """The model with a LoRA adapter beside its weights, not merged. ModelError where it does not fit."""
    from peft import PeftModel

    table = read_adapter(adapter)
    try:
        wrapped = PeftModel.from_pretrained(net, str(adapter), is_trainable=False)
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{adapter.name} does not fit this checkpoint ({reason})", _MEND) from error
    if not any("lora_" in name for name, _ in wrapped.named_parameters()):
        raise ModelError(f"{adapter.name} is of the type {table.get('peft_type')}, which is no LoRA", _MEND)
    return wrapped.eval()


def read_adapter(adapter: Path) -> dict[str, Any]:
    """Its adapter_config.json. ModelError where the folder holds no adapter."""
    file = adapter / "adapter_config.json"
    if not file.is_file():
        raise ModelError(f"{adapter} holds no adapter", "name a folder with an adapter_config.json")
    try:
        table: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} cannot be read ({error})", _MEND) from error
    return table


def write_merged(wrapped: Any, checkpoint: Path, out: Path) -> Path:
    """A checkpoint with the adapter in its weights; summed in float32, so nothing is rounded early.

    `wrapped` is of `with_adapter` and is merged afterwards: it is the adapter on its base no more.
    """
    out.mkdir(parents=True)
    with torch.no_grad():
        net = wrapped.merge_and_unload()
    net.save_pretrained(out)
    for pattern in _KEPT:
        for file in checkpoint.glob(pattern):
            if file.name not in _NOT_KEPT:
                shutil.copyfile(file, out / file.name)
    return out
