"""How much memory a language model will take, told before anything of it is loaded, and how much it takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kinsight.errors import ModelError
from kinsight.llm.header import Header, read_header
from kinsight.llm.model import MOST_OUTPUTS, batch_tokens

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart
    from kinsight.config import DeviceConfig

MIB = 1 << 20
_PICTURES_KEPT = 64
_MOST_FOR_PICTURES = 32 * MIB
_STATES, _STATES_SHARE = 64 * MIB, 8  # so much at least, and more where the weights are so many times as much
_LIBRARIES = 20 * MIB  # llama.cpp's code and the chat template's engine, once they have run
_NOT_IMPORTED = 12 * MIB  # llama.cpp's modules, where they are not imported yet
_WORKER = 33 * MIB  # of a worker process before it imports them
_A_WORD = 350  # bytes that llama.cpp keeps for an entry of the vocabulary
_KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32}
_LEAST_CONTEXT = 512
_STEP = 16 * MIB  # an advised memory_mb is a multiple of it
_ROOM = 16 * MIB
"""What is advised leaves so much: the same processes hold so much more in one run than in another."""
_UNKNOWN = 64 * MIB  # of a Python with numpy, where the system does not tell


@dataclass(frozen=True)
class Budget:
    """Bytes, by what takes them."""

    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())

    @property
    def words(self) -> str:
        """The parts in MiB, the biggest first."""
        rows = sorted(self.parts.items(), key=lambda row: -row[1])
        return ", ".join(f"{name} {size / MIB:.0f}" for name, size in rows if size >= MIB / 2)


@dataclass(frozen=True)
class Beside:
    """What a language model shares the memory with, in bytes, beside this process."""

    asks: int = 0  # held by the process that asks, where this one is its worker
    coming: int = 0  # what this process will load before the model, an estimate
    spare: int = 0  # so much more may that take
    worker: bool = False  # the model will be in a process of its own, which is not there yet


ALONE = Beside()


@dataclass(frozen=True)
class Held:
    """Memory of a process with a language model in it, and of the one that asks where that is another."""

    told_bytes: int  # by the budget, before it was loaded
    peak_bytes: int


def budget_of(part: LlmPart, device: DeviceConfig, beside: Beside = ALONE) -> Budget:
    """What is held at most, with what this process holds now. ModelError where a file cannot be read.

    What it holds now are also detector and embedder, where these are loaded. Weights count in full: they are
    mapped from the file, and all of them are read for every token.
    """
    header = read_header(part.file)
    eyes = read_header(part.mmproj) if part.mmproj and part.sees != "nothing" else None
    kv = _kv_bytes(header, part.context, _KV_BYTES[device.kv_type])
    imported = "llama_cpp.llama_cpp" in sys.modules and not beside.worker
    return Budget(
        {
            **_processes(beside),
            "libraries": _LIBRARIES + (0 if imported else _NOT_IMPORTED),
            "weights": header.bytes,
            "vocabulary": header.tokens * _A_WORD,
            "KV cache": kv,
            "compute buffers": _compute_bytes(header, part, device),
            "picture encoder": eyes.bytes if eyes else 0,
            "picture buffers": _picture_bytes(eyes, part.image_max_tokens or 0) if eyes else 0,
            "kept pictures and states": pictures_bytes(part, header) + states_bytes(header, kv),
        }
    )


def _processes(beside: Beside) -> dict[str, int]:
    """What is there without a language model; "this process" is always the one that the user started."""
    if beside.asks:
        return {"this process": beside.asks, "the model's own process": resident_bytes()}
    return {
        "this process": resident_bytes(),
        "what it loads first": beside.coming,
        "the model's own process": _WORKER if beside.worker else 0,
    }


def check_memory(part: LlmPart, device: DeviceConfig, beside: Beside = ALONE) -> Budget:
    """What it will take; ModelError with figures and the nearest choice that fits, where it is too much.

    What is advised fits also where all takes as much more as `beside.spare` says, and a little more.
    """
    budget, allowed = budget_of(part, device, beside), device.memory_mb * MIB
    if budget.total <= allowed:
        return budget
    problem = f"{part.file.name} would take {-(-budget.total // MIB)} MiB ({budget.words})"
    problem += f", but memory_mb of the device config {device.name} is {device.memory_mb}"
    more = beside.spare + _ROOM
    fitting = (words for words, size in _choices(part, device, beside) if size + more <= allowed)
    enough = -(-(budget.total + more) // _STEP) * _STEP // MIB
    raise ModelError(problem, next(fitting, f"use a smaller bundle, or {more_memory(device, enough)}"))


def more_memory(device: DeviceConfig, mebibytes: int | None = None) -> str:
    """How the user allows so much, or just more, in words."""
    deed = f"set memory_mb = {mebibytes}" if mebibytes else "raise memory_mb"
    return f"{deed} in {_a_copy(device)}"


def _a_copy(device: DeviceConfig) -> str:
    return f"a copy of the device config {device.name} and name that with --device"


def pictures_bytes(part: LlmPart, header: Header) -> int:
    """Cap on the embeddings that are kept in memory."""
    one = (part.image_max_tokens or 0) * header.number("embedding_length") * 4
    return min(_MOST_FOR_PICTURES, _PICTURES_KEPT * one)


def states_bytes(header: Header, kv: int) -> int:
    """Cap on the states that are kept in memory; one that is larger is not kept at all.

    As much as one full context, if that is not much beside the weights.
    """
    return min(kv, max(_STATES, header.bytes // _STATES_SHARE))


def kept_bytes(part: LlmPart, device: DeviceConfig) -> tuple[int, int]:
    """Caps in memory on embeddings of pictures and on states. ModelError where the file cannot be read."""
    header = read_header(part.file)
    kv = _kv_bytes(header, part.context, _KV_BYTES[device.kv_type])
    return pictures_bytes(part, header), states_bytes(header, kv)


def resident_bytes() -> int:
    """Memory that this process holds now."""
    with suppress(OSError, ValueError, IndexError):
        import resource

        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has ever held."""
    with suppress(OSError, ValueError, IndexError):  # what getrusage tells on Linux may be of the parent
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return _UNKNOWN
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _choices(part: LlmPart, device: DeviceConfig, beside: Beside) -> Iterator[tuple[str, int]]:
    """What could be set otherwise, the nearest first, and the bytes in all then."""
    small = replace(device, kv_type="q8_0", flash_attention=True)
    shrink = f'set kv_type = "q8_0" and flash_attention = true in [llm] of {_a_copy(device)}'
    if small != device:
        yield shrink, budget_of(part, small, beside).total
    context = part.context // 2
    while context >= _LEAST_CONTEXT:
        for more, config in (("", device), (f", and {shrink}", small)):
            total = budget_of(replace(part, context=context), config, beside).total
            yield f"set context = {context} in the bundle's [llm]{more}", total
        context //= 2


def _kv_bytes(header: Header, context: int, number_bytes: float) -> int:
    """Keys and values of every layer, as if all of them looked back on the whole context."""
    layers, heads = header.number("block_count"), header.number("attention.head_count", default=1)
    width = header.number("embedding_length") // max(1, heads)
    numbers = header.number("attention.key_length", default=width)
    numbers += header.number("attention.value_length", default=width)
    key_heads = header.row("attention.head_count_kv") or (heads,)
    if len(key_heads) == 1:
        key_heads = key_heads * layers
    return int(-(-context // 256) * 256 * sum(key_heads) * numbers * number_bytes)


def _compute_bytes(header: Header, part: LlmPart, device: DeviceConfig) -> int:
    """What is written for one batch: what a layer holds at once with all scores or fused, or the logits.

    Source: what llama.cpp logs as the size of its compute buffer, for three models, contexts of 2048 and 4096
    and batches of 128 and 512; this is within 3 % of it, and exact without flash attention.
    """
    batch, width = batch_tokens(part, device), header.number("embedding_length")
    deep = header.number("n_deepstack_layers")  # rows beside that of a picture's token
    layer = batch * (3 * width + header.number("feed_forward_length")) * 4
    scores = batch * part.context * (header.number("attention.head_count", default=1) + 1) * 4
    attention = 2 * layer + batch * part.context * 2 if device.flash_attention else layer + scores
    attention += batch * width * (2 * deep + bool(deep)) * 4
    logits = header.tokens * min(MOST_OUTPUTS, batch) * 4 + batch * width * (2 + deep) * 4
    return max(attention, logits)


def _picture_bytes(eyes: Header, tokens: int) -> int:
    """For one encode: the widths of a layer for every patch, and the scaled pixels."""
    merged = eyes.number("clip.vision.projector.scale_factor", "clip.vision.spatial_merge_size", default=2)
    patches = tokens * merged**2
    width, inner = (eyes.number(f"clip.vision.{key}_length") for key in ("embedding", "feed_forward"))
    return patches * ((inner + 3 * width) * 4 + 3 * 4 * eyes.number("clip.vision.patch_size") ** 2)
