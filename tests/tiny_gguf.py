"""Makes tiny real GGUF files: a scripted text model, a seeded text model and a seeded model that sees.

    python tests/tiny_gguf.py FOLDER     writes text.gguf, llm.gguf and mmproj.gguf (340 KB together)

The scripted model is a Markov chain in llama architecture: attention and feed-forward are zero, so the logits
after a token are `output @ norm(embedding[token])`; every scripted token has an axis of its own there, and
`output` holds its followers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
from numpy.typing import NDArray

CONTROL = (
    "<s>",
    "</s>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<start_of_image>",
    "<end_of_image>",
)
END = "<|end|>"
ASSISTANT = "<|assistant|>"
WORDS = (" ", " Lala", " Ann", " is", " a", " dog", " cat", "Hello", "a", ".", "user")
PIECES_OF_CONTROL = ("<|", "|>", "<|user", "</", "</s", "s")  # by which a text could be merged into "</s>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|{{ message['role'] }}|>{{ message['content'] | trim }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
WIDTH = 64
BLOCKS = 1
HEADS = 2
FEED_FORWARD = 64
WINDOW = 32
NORMS = ("attention", "ffw")
IMAGE_SIZE = 32
PATCH = 4
POOL = 4
IMAGE_TOKENS = (IMAGE_SIZE // PATCH // POOL) ** 2
VISION_WIDTH = 32

Projector = Literal["gemma3", "qwen2vl_merger"]
Floats = NDArray[Any]
"""float16 or float32."""


def vocabulary(words: Sequence[str] = (), user_defined: Sequence[str] = ()) -> dict[str, gguf.TokenType]:
    """Token -> kind, in id order; SentencePiece writes a space as U+2581."""
    tokens = {"<unk>": gguf.TokenType.UNKNOWN}
    tokens |= dict.fromkeys(CONTROL, gguf.TokenType.CONTROL)
    tokens |= {f"<0x{byte:02X}>": gguf.TokenType.BYTE for byte in range(256)}
    tokens |= dict.fromkeys(user_defined, gguf.TokenType.USER_DEFINED)  # matched before U+2581 is written
    for word in (*WORDS, *PIECES_OF_CONTROL, *words):
        tokens.setdefault(word.replace(" ", "\u2581"), gguf.TokenType.NORMAL)
    return tokens


def make_text_gguf(
    path: Path,
    script: Mapping[str, Sequence[str]] | None = None,
    *,
    template: str | None = CHAT_TEMPLATE,
    user_defined: Sequence[str] = (),
    arch: str = "llama",
    add_bos: bool = True,
    seed: int = 0,
) -> Path:
    """Writes a GGUF of a text model; `script` maps a token to its followers, the likeliest first.

    A byte is written as `<0xC3>`, a space belongs to the front of a word, and the answer follows
    `<|assistant|>`. Without a script all weights are drawn from `seed`. As "gemma3" its only block looks back
    on no more than WINDOW tokens.
    """
    script = script or {}
    words = [word for token, followers in script.items() for word in (token, *followers)]
    tokens = vocabulary(words, user_defined)
    writer = gguf.GGUFWriter(path, arch)
    _describe_text_model(writer, tokens)
    writer.add_add_bos_token(add_bos)
    if template is not None:
        writer.add_chat_template(template)
    if arch == "qwen2vl":
        writer.add_rope_dimension_sections([4, 6, 6, 0])
    rng = np.random.default_rng(seed)
    weights = _scripted_weights(script, list(tokens)) if script else _seeded_weights(rng, len(tokens))
    if arch == "gemma3":
        writer.add_sliding_window(WINDOW)
        writer.add_key_length(WIDTH // HEADS)
        writer.add_value_length(WIDTH // HEADS)
        weights |= {f"blk.0.attn_{name}_norm.weight": np.ones(WIDTH // HEADS, np.float32) for name in "qk"}
        weights |= {f"blk.0.post_{name}_norm.weight": np.ones(WIDTH, np.float32) for name in NORMS}
    halved = {name: array.astype(np.float16) if array.ndim == 2 else array for name, array in weights.items()}
    return _write(writer, path, halved)


def make_vision_pair(folder: Path, projector: Projector = "gemma3", seed: int = 0) -> tuple[Path, Path]:
    """Writes llm.gguf and mmproj.gguf with seeded weights and a real tower of one block.

    gemma3: every picture is 32 x 32 pixels and 4 tokens, which see each other (no causal mask).
    qwen2vl_merger: a token per 8 x 8 pixels of the picture, with two-dimensional positions (M-RoPE).
    """
    rng = np.random.default_rng(seed)
    mmproj = folder / "mmproj.gguf"
    writer = gguf.GGUFWriter(mmproj, "clip")
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(projector)
    writer.add_vision_image_size(IMAGE_SIZE)
    writer.add_vision_patch_size(PATCH)
    writer.add_vision_embedding_length(VISION_WIDTH)
    writer.add_vision_feed_forward_length(2 * VISION_WIDTH)
    writer.add_vision_block_count(BLOCKS)
    writer.add_vision_head_count(HEADS)
    writer.add_vision_projection_dim(WIDTH)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    writer.add_vision_projector_scale_factor(POOL)
    writer.add_vision_use_gelu(True)
    _write(writer, mmproj, _tower_weights(rng) | _projector_weights(rng, projector))
    arch = "llama" if projector == "gemma3" else "qwen2vl"
    return make_text_gguf(folder / "llm.gguf", arch=arch, seed=seed + 1), mmproj


def _describe_text_model(writer: gguf.GGUFWriter, tokens: Mapping[str, gguf.TokenType]) -> None:
    names = list(tokens)
    writer.add_license("apache-2.0")
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(names))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(names)
    writer.add_token_scores([-float(index) for index in range(len(names))])
    writer.add_token_types([int(kind) for kind in tokens.values()])
    writer.add_bos_token_id(names.index("<s>"))
    writer.add_eos_token_id(names.index("</s>"))
    writer.add_eot_token_id(names.index(END))
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)


def _seeded_weights(rng: np.random.Generator, n_tokens: int) -> dict[str, Floats]:
    return {
        "token_embd.weight": _matrix(rng, n_tokens, WIDTH) * 8,
        "blk.0.attn_q.weight": _matrix(rng, WIDTH, WIDTH),
        "blk.0.attn_k.weight": _matrix(rng, WIDTH, WIDTH),
        "blk.0.attn_v.weight": _matrix(rng, WIDTH, WIDTH),
        "blk.0.attn_output.weight": _matrix(rng, WIDTH, WIDTH) * 4,
        "blk.0.ffn_gate.weight": _matrix(rng, FEED_FORWARD, WIDTH),
        "blk.0.ffn_up.weight": _matrix(rng, FEED_FORWARD, WIDTH),
        "blk.0.ffn_down.weight": _matrix(rng, WIDTH, FEED_FORWARD),
        "blk.0.attn_norm.weight": np.ones(WIDTH, np.float32),
        "blk.0.ffn_norm.weight": np.ones(WIDTH, np.float32),
        "output_norm.weight": np.ones(WIDTH, np.float32),
        "output.weight": _matrix(rng, n_tokens, WIDTH),
    }


def _scripted_weights(script: Mapping[str, Sequence[str]], tokens: list[str]) -> dict[str, Floats]:
    """One axis per scripted token after axis 0, which all others share: they are followed by the end."""
    ids = {token.replace("\u2581", " "): index for index, token in enumerate(tokens)}
    weights = {
        name: np.zeros_like(array)
        for name, array in _seeded_weights(np.random.default_rng(0), len(tokens)).items()
    }
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        weights[name][:] = 1
    embedding, output = weights["token_embd.weight"], weights["output.weight"]
    embedding[:, 0] = 1
    output[ids[END], 0] = 1
    for axis, (token, followers) in enumerate(script.items(), start=1):
        embedding[ids[token], 0] = 0
        embedding[ids[token], axis] = 1
        for rank, follower in enumerate(followers):
            output[ids[follower], axis] = 1 - 0.1 * rank
    return weights


def _tower_weights(rng: np.random.Generator) -> dict[str, Floats]:
    ones, zeros = np.ones(VISION_WIDTH, np.float32), np.zeros(VISION_WIDTH, np.float32)
    weights = {
        "v.patch_embd.weight": _filter(rng),
        "v.post_ln.weight": ones,
        "v.post_ln.bias": zeros,
        "v.blk.0.ffn_up.weight": _matrix(rng, 2 * VISION_WIDTH, VISION_WIDTH),
        "v.blk.0.ffn_up.bias": np.zeros(2 * VISION_WIDTH, np.float32),
        "v.blk.0.ffn_down.weight": _matrix(rng, VISION_WIDTH, 2 * VISION_WIDTH),
        "v.blk.0.ffn_down.bias": zeros,
    }
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        weights[f"v.blk.0.{name}.weight"] = _matrix(rng, VISION_WIDTH, VISION_WIDTH)
        weights[f"v.blk.0.{name}.bias"] = zeros
    for name in ("ln1", "ln2"):
        weights[f"v.blk.0.{name}.weight"] = ones
        weights[f"v.blk.0.{name}.bias"] = zeros
    return weights


def _projector_weights(rng: np.random.Generator, projector: Projector) -> dict[str, Floats]:
    if projector == "gemma3":
        return {
            "v.patch_embd.bias": np.zeros(VISION_WIDTH, np.float32),
            "v.position_embd.weight": _matrix(rng, (IMAGE_SIZE // PATCH) ** 2, VISION_WIDTH),
            "mm.input_projection.weight": _matrix(rng, VISION_WIDTH, WIDTH) * 8,
            "mm.soft_emb_norm.weight": np.ones(VISION_WIDTH, np.float32),
        }
    merged = 4 * VISION_WIDTH
    return {
        "v.patch_embd.weight.1": _filter(rng),
        "mm.0.weight": _matrix(rng, merged, merged),
        "mm.0.bias": np.zeros(merged, np.float32),
        "mm.2.weight": _matrix(rng, WIDTH, merged) * 8,
        "mm.2.bias": np.zeros(WIDTH, np.float32),
    }


def _filter(rng: np.random.Generator) -> Floats:
    return rng.normal(0, 0.5, (VISION_WIDTH, 3, PATCH, PATCH)).astype(np.float32)


def _matrix(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    return rng.normal(0, columns**-0.5, (rows, columns)).astype(np.float32)


def _write(writer: gguf.GGUFWriter, path: Path, weights: Mapping[str, Floats]) -> Path:
    for name, array in weights.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1])
    make_text_gguf(target / "text.gguf")
    make_vision_pair(target)
