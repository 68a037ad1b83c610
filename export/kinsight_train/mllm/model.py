"""The pocket language model that sees: Gemma 3 in small, trained on rows that share a prefix."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig, SiglipVisionConfig
from transformers.models.gemma3.modeling_gemma3 import apply_rotary_pos_emb

from kinsight_train.mllm.picture import MEAN, STD
from kinsight_train.mllm.tokenizer import BOS, CHAT_TEMPLATE, END, PAD, UNKNOWN, MllmTokenizer

_WAVES = 2.0  # size of those in the table of patch positions; patches grow to some 3
PADDING = -1  # the segment of a place that holds nothing


@dataclass(frozen=True)
class MllmShape:
    """How big the model is; widths are multiples of 32 (Q8_0), of 256 where Q4_K is wanted."""

    hidden: int = 256
    layers: int = 6
    heads: int = 4
    key_heads: int = 2
    feed_forward: int = 768
    context: int = 2048  # tokens
    picture_px: int = 128  # side of the square
    patch_px: int = 16
    picture_tokens: int = 16
    vision_hidden: int = 192
    vision_layers: int = 5
    vision_heads: int = 4
    vision_feed_forward: int = 576

    def __post_init__(self) -> None:
        side, tokens = self.picture_px // self.patch_px, int(self.picture_tokens**0.5)
        if self.picture_px % self.patch_px or tokens**2 != self.picture_tokens or side % tokens:
            raise ValueError(f"patches do not pool into {self.picture_tokens} tokens: {self}")
        if self.hidden % self.heads or self.heads % self.key_heads or self.vision_hidden % self.vision_heads:
            raise ValueError(f"widths do not part into heads: {self}")


@dataclass(frozen=True)
class Rows:
    """A batch of packed rows: a prefix and blocks that each see the prefix and themselves only."""

    tokens: Tensor  # int64 (rows, length); at the places of a picture any id, best the soft token's
    positions: Tensor  # int64 (rows, length); those of every block go on where the prefix ends
    segment: Tensor  # int64 (rows, length); 0 prefix, k > 0 block k, -1 padding
    picture: Tensor  # int64 (rows, length); 0 text, k > 0 a soft token of the row's k-th picture
    pixels: Tensor  # float32 (pictures, 3, side, side), of all rows in reading order, as `preprocess` gives

    def to(self, device: torch.device) -> Rows:
        """The same on a device."""
        return Rows(*(each.to(device) for each in vars(self).values()))

    def mask(self) -> Tensor:
        """bool (rows, 1, length, length): whether a place (third axis) sees another (fourth)."""
        length = self.tokens.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=self.tokens.device).tril()
        mine, theirs = self.segment[:, :, None], self.segment[:, None, :]
        own_picture = (self.picture[:, :, None] == self.picture[:, None, :]) & (self.picture[:, :, None] > 0)
        same = mine == theirs
        return (((same | ((theirs == 0) & (mine > 0))) & earlier) | (own_picture & same))[:, None]


def picture_numbers(soft: Tensor) -> Tensor:
    """int64 (rows, length): of which picture of its row a soft token (bool, same shape) is, from 1, or 0."""
    begun = soft & ~functional.pad(soft, (1, 0))[:, :-1]
    return begun.cumsum(dim=1) * soft


class Mllm(nn.Module):
    """transformers' Gemma 3, given rows that share a prefix."""

    def __init__(self, shape: MllmShape, tokenizer: MllmTokenizer, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = Gemma3ForConditionalGeneration(gemma_config(shape, tokenizer))
            with torch.no_grad():
                _initialise(self.net)

    def forward(self, rows: Rows, wanted: Tensor) -> Tensor:
        """Logits float (places, vocabulary) where `wanted`, bool (rows, length), holds, in reading order.

        The logits of a place are those of the token after it.
        """
        return self.logits(self.read(self.embed(rows), rows.positions, rows.mask())[wanted])

    def logits(self, hidden: Tensor) -> Tensor:
        """float (places, vocabulary) of float (places, hidden), normalised for the output."""
        return functional.linear(hidden, self.net.lm_head.weight)

    def embed(self, rows: Rows, seen: Tensor | None = None) -> Tensor:
        """float (rows, length, hidden): scaled token embeddings, and unscaled ones of pictures.

        `seen`: the pictures' embeddings as `see` gives them, where they are there already.
        """
        text = self.net.model.language_model
        embedded = functional.embedding(rows.tokens, text.embed_tokens.weight) * self.shape.hidden**0.5
        if len(rows.pixels) == 0:
            return embedded
        shown = self.see(rows.pixels) if seen is None else seen
        shown = shown.reshape(-1, self.shape.hidden).to(embedded.dtype)
        return embedded.masked_scatter((rows.picture > 0)[:, :, None], shown)

    def see(self, pixels: Tensor) -> Tensor:
        """float (pictures, picture tokens, hidden) of float32 (pictures, 3, side, side)."""
        return self.project(self.patches(pixels))

    def patches(self, pixels: Tensor) -> Tensor:
        """float (pictures, patches, vision hidden) of float32 (pictures, 3, side, side)."""
        hidden: Tensor = self.net.model.vision_tower(pixels).last_hidden_state
        return hidden

    def project(self, patches: Tensor) -> Tensor:
        """Pools neighbouring patches and brings them to the width of the text."""
        seen: Tensor = self.net.model.multi_modal_projector(patches)
        return seen

    def read(self, embedded: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """float (rows, length, hidden), normalised for the output."""
        return self.done(self.states(embedded, positions, mask)[-1])

    def done(self, hidden: Tensor) -> Tensor:
        """The last layer's hidden states, normalised for the output."""
        normalised: Tensor = self.net.model.language_model.norm(hidden)
        return normalised

    def states(self, embedded: Tensor, positions: Tensor, mask: Tensor) -> list[Tensor]:
        """float (rows, length, hidden): what goes into every layer, and what comes out of the last."""
        text = self.net.model.language_model
        turned = text.rotary_emb(embedded, positions)
        states = [embedded]
        for layer in text.layers:
            states.append(
                layer(
                    states[-1],
                    position_embeddings_global=turned,
                    position_embeddings_local=turned,
                    attention_mask=mask,
                )[0]
            )
        return states

    def attention(self, hidden: Tensor, positions: Tensor, mask: Tensor, at: tuple[int, int]) -> Tensor:
        """Log of how one head looks, float (rows, length, length), -inf where it must not.

        `at` is (layer, head), `hidden` what goes into that layer, `mask` as `Rows.mask` gives it.
        """
        text, (number, head) = self.net.model.language_model, at
        layer = text.layers[number]
        shape = self.shape
        width = shape.hidden // shape.heads
        key_head = head * shape.key_heads // shape.heads
        own = layer.self_attn
        normed = layer.input_layernorm(hidden)
        query = functional.linear(normed, own.q_proj.weight[head * width : (head + 1) * width])
        key = functional.linear(normed, own.k_proj.weight[key_head * width : (key_head + 1) * width])
        cos, sin = text.rotary_emb(hidden, positions)
        query, key = apply_rotary_pos_emb(own.q_norm(query), own.k_norm(key), cos, sin, unsqueeze_dim=0)
        scores = (query[0] @ key[0].transpose(1, 2)).float() * own.scaling
        return scores.masked_fill(~mask[:, 0], float("-inf")).log_softmax(-1)


def gemma_config(shape: MllmShape, tokenizer: MllmTokenizer) -> Gemma3Config:
    """The shape in transformers' words; no sliding window, so that a cut of the cache is always exact."""
    head = shape.hidden // shape.heads
    text = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=head,
        query_pre_attn_scalar=head,
        max_position_embeddings=shape.context,
        rope_theta=10_000.0,
        rope_local_base_freq=10_000.0,
        sliding_window=shape.context,
        sliding_window_pattern=1,
        layer_types=["full_attention"] * shape.layers,
        pad_token_id=tokenizer.pad,
        bos_token_id=tokenizer.bos,
        eos_token_id=tokenizer.end,
        tie_word_embeddings=True,
    )
    vision = SiglipVisionConfig(
        hidden_size=shape.vision_hidden,
        intermediate_size=shape.vision_feed_forward,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.picture_px,
        patch_size=shape.patch_px,
        vision_use_head=False,
    )
    return Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=shape.picture_tokens,
        image_token_index=tokenizer.picture,
        tie_word_embeddings=True,
    )


def _initialise(net: Gemma3ForConditionalGeneration) -> None:
    """Unit scale at every layer; transformers leaves the projector at zero and the tower uneven."""
    for name, weight in net.named_parameters():
        if name.endswith("bias") or (weight.ndim == 1 and "vision_tower" not in name):
            nn.init.zeros_(weight)  # Gemma's norms are 1 + weight
        elif weight.ndim == 1:
            nn.init.ones_(weight)
        elif "position_embedding" in name:
            nn.init.normal_(weight, std=0.1)  # and waves, or what a patch shows drowns where it is
            waves = _waves(int(len(weight) ** 0.5))
            weight[:, : waves.shape[1]] += _WAVES * waves
        elif "embed_tokens" in name:
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        elif "mm_input_projection" in name:
            nn.init.normal_(weight, std=weight.shape[0] ** -0.5)
        else:
            nn.init.trunc_normal_(weight, std=weight[0].numel() ** -0.5)


def _waves(side: int) -> Tensor:
    """float (side * side, 12): waves over rows and columns of a grid, by which its cells are told apart."""
    place = torch.linspace(0, torch.pi, side)
    waves = torch.stack([wave(turns * place) for turns in (0.5, 1, 2) for wave in (torch.sin, torch.cos)])
    rows, columns = waves[:, :, None].expand(-1, side, side), waves[:, None, :].expand(-1, side, side)
    return torch.cat([rows, columns]).flatten(1).T


def save_hf(model: Mllm, tokenizer: MllmTokenizer, folder: Path) -> Path:
    """Writes the checkpoint folder that llama.cpp's converter reads; float32, whatever it was trained in."""
    folder.mkdir(parents=True, exist_ok=True)
    model.net.to(torch.float32).save_pretrained(folder)
    shutil.copyfile(tokenizer.file, folder / "tokenizer.model")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tables = {
        "config.json": {  # transformers leaves out its defaults, and llama.cpp has others
            **config,
            "pad_token_id": tokenizer.pad,
            "bos_token_id": tokenizer.bos,
            "eos_token_id": tokenizer.end,
            "unk_token_id": tokenizer.unknown,
        },
        "preprocessor_config.json": {
            "image_processor_type": "Gemma3ImageProcessor",
            "image_mean": [MEAN] * 3,
            "image_std": [STD] * 3,
            "image_seq_length": model.shape.picture_tokens,
            "size": {"height": model.shape.picture_px, "width": model.shape.picture_px},
        },
        "tokenizer_config.json": {
            "tokenizer_class": "GemmaTokenizer",
            "add_bos_token": True,
            "add_eos_token": False,
            "pad_token": PAD,
            "bos_token": BOS,
            "eos_token": END,
            "unk_token": UNKNOWN,
            "chat_template": CHAT_TEMPLATE,
        },
    }
    for name, table in tables.items():
        (folder / name).write_text(json.dumps(table, indent=2) + "\n", "utf-8")
    return folder
