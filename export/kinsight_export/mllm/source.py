"""A checkpoint in torch, as what a GGUF pair is held against: tokens, pictures' embeddings, logits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinsight.errors import ModelError
from kinsight.llm import Control, Text
from kinsight.llm.template import failures
from kinsight.types import Floats, Pixels
from kinsight_export.mllm.device import Reading, Tile
from kinsight_export.mllm.kinds import SEEING_KINDS, Frame, SeeingKind
from kinsight_export.mllm.lora import with_adapter
from kinsight_export.sources.tokenizer import own_tokenizer
from kinsight_export.sources.weights import load_whole

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_COPY = "copy it from where the checkpoint comes from"


@dataclass(frozen=True)
class Normalisation:
    """What is done to a picture's numbers: (0..255 * scale - mean) / std, channel by channel in RGB."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def turned(self) -> Normalisation:
        """That of blue, green, red."""
        return Normalisation(self.scale, self.mean[::-1], self.std[::-1])

    def __call__(self, pixels: Pixels) -> Floats:
        """float32 (height, width, 3) of uint8."""
        done: Floats = (pixels * np.float32(self.scale) - np.array(self.mean)) / np.array(self.std)
        return done.astype(np.float32)


class Source:
    """A checkpoint's model in float32, its tokenizer and its pictures' normalisation; maybe with a LoRA."""

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        """ModelError where the folder holds no model of a kind that can be compared."""
        self.folder = folder
        self.config = read_config(folder)
        self.kind = kind_of(folder)
        self.normalisation = read_normalisation(folder)
        self._net = loaded(folder)
        self._adapted: Any = with_adapter(self._net, adapter) if adapter else None
        self._image_token = _image_token(self.config)

    @property
    def adapted(self) -> bool:
        """Whether there is a LoRA beside the weights."""
        return self._adapted is not None

    def adapter_effect(self, reading: Reading) -> float:
        """The largest change of a logit by the adapter, on a text that the device has read."""
        after = self.logits(reading, ())
        with self._adapted.disable_adapter():
            return float(np.abs(self.logits(reading, ()) - after).max())

    @cached_property
    def _tokenizer(self) -> Any:
        return own_tokenizer(self.folder, fast=(self.folder / "tokenizer.json").is_file())

    def tokens(self, part: Text | Control) -> list[int]:
        """Token ids of one part; control tokens are read as such in a Control part only."""
        plain = isinstance(part, Text)
        ids = self._tokenizer(part.text, add_special_tokens=False, split_special_tokens=plain)["input_ids"]
        return [int(token) for token in ids]

    @cached_property
    def chat_template(self) -> str | None:
        """The Jinja source, of the tokenizer or of the processor; None where there is none."""
        own = self._tokenizer.chat_template or _template_beside(self.folder)
        return own if isinstance(own, str) else None

    def rendered(self, messages: list[dict[str, Any]]) -> str | None:
        """The prompt that transformers makes of messages; None where the chat template refuses them."""
        try:
            done = self._tokenizer.apply_chat_template(
                messages,
                chat_template=self.chat_template,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
            )
        except failures():
            return None
        return str(done)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens at which an answer is over."""
        config = getattr(self._net, "generation_config", None)
        said = [getattr(config, "eos_token_id", None), self._tokenizer.eos_token_id]
        ids = [token for value in said for token in (value if isinstance(value, list) else [value])]
        return frozenset(int(token) for token in ids if token is not None)

    def piece(self, token: int) -> str:
        """A token as the vocabulary writes it."""
        return str(self._tokenizer.convert_ids_to_tokens(token))

    @property
    def frame(self) -> Frame:
        """The size of the pictures on which it is compared, and the tokens that one takes."""
        return self.kind.frame(self.config)

    def embeddings(self, pixels: Pixels, normalisation: Normalisation | None = None) -> Floats:
        """float32 (tokens, width): what the encoder makes of a picture of that size."""
        feeds = self.kind.feeds(self.config, [(normalisation or self.normalisation)(pixels)])
        with torch.no_grad():
            seen = self._net.model.get_image_features(**feeds)
        layers = [seen[0], *seen[1]] if _is_deepstack(seen) else [seen]
        rows = [(layer[0] if isinstance(layer, tuple | list) else layer).flatten(0, -2) for layer in layers]
        found: Floats = torch.cat(rows, dim=-1).float().numpy()
        return found

    def logits(self, reading: Reading, pictures: Sequence[Pixels]) -> Floats:
        """float32 (tokens, vocabulary): after each token of text of what the device has read.

        `pictures` are those of the prompt; every tile of one shows the whole of it.
        """
        ids: list[int] = []
        for item in reading.items:
            ids += [self._image_token] * len(item.embeddings) if isinstance(item, Tile) else item
        tokens = torch.tensor([ids])
        is_picture = tokens == self._image_token
        seen = [self.normalisation(pictures[tile.picture]) for tile in reading.tiles]
        feeds = self.kind.feeds(self.config, seen) if seen else {}
        if self.config.model_type == "gemma3":
            feeds["token_type_ids"] = is_picture.long()  # a picture's rows see each other
        with torch.no_grad():
            done = self._net(
                input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False, **feeds
            )
        logits: Floats = done.logits[0][~is_picture[0]].float().numpy()
        return logits


def kind_of(folder: Path) -> SeeingKind:
    """How the checkpoint's type takes pictures. ModelError where it is none that sees, or an unknown one."""
    config = read_config(folder)
    if config.model_type in SEEING_KINDS:
        return SEEING_KINDS[config.model_type]
    known = ", ".join(SEEING_KINDS)
    raise ModelError(
        f"{folder.name} is of the type {config.model_type}, which cannot be compared with its source here",
        f"use one of the types {known}, or a GGUF pair that somebody else made, with --gguf and --mmproj",
    )


def read_normalisation(folder: Path) -> Normalisation:
    """From the checkpoint's own processor config. ModelError where there is none, or it says nothing."""
    file = next((folder / name for name in _PROCESSORS if (folder / name).is_file()), None)
    if file is None:
        raise ModelError(f"{folder.name} has no {_PROCESSORS[0]}, so nobody knows its pictures", _COPY)
    try:
        table = json.loads(file.read_text("utf-8"))
        table = {**table, **table.get("image_processor", {})}
        mean, std = (tuple(float(value) for value in table[key]) for key in ("image_mean", "image_std"))
        return Normalisation(float(table.get("rescale_factor", 1 / 255)), mean, std)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{file.name} says no image_mean and image_std ({_short(error)})", _COPY) from error


def read_config(folder: Path) -> Any:
    """transformers' config. ModelError where the folder holds none that it knows."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no checkpoint", "name a folder with a config.json")
    try:
        return AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{folder.name} has a config that transformers does not read ({_short(error)})", _COPY
        ) from error


def loaded(folder: Path) -> Any:
    """A checkpoint's model in float32. ModelError where it cannot be loaded."""
    from transformers import AutoModelForImageTextToText

    load = partial(AutoModelForImageTextToText.from_pretrained, dtype=torch.float32, low_cpu_mem_usage=True)
    net = load_whole(folder, load)
    for module in net.modules():
        if type(module).__name__ in ("Idefics3VisionEmbeddings", "SmolVLMVisionEmbeddings"):
            module.position_embedding.register_forward_pre_hook(_in_reading_order)
    return net


def _in_reading_order(module: Any, given: tuple[torch.Tensor]) -> torch.Tensor:
    """Positions 0, 1, 2, ... of a whole tile.

    transformers 4.57 multiplies coordinates by 1 - 1e-6 before it sorts them into cells, which in float32
    gives every patch the place of the one before it; in bfloat16, as these models are used, the factor is 1.
    """
    del module
    return torch.arange(given[0].shape[1])[None].expand_as(given[0])


def _image_token(config: Any) -> int:
    return int(getattr(config, "image_token_id", None) or config.image_token_index)


def _is_deepstack(seen: Any) -> bool:
    """Whether there are features of deeper layers beside those of the last (Qwen3-VL)."""
    return isinstance(seen, tuple) and len(seen) == 2 and isinstance(seen[1], list)


def _template_beside(folder: Path) -> object:
    """What the processor's own file holds; transformers' tokenizer does not look there."""
    try:
        return json.loads((folder / "chat_template.json").read_text("utf-8"))["chat_template"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
