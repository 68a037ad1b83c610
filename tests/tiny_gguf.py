"""Makes tiny real GGUF files: a scripted text model, a seeded text model and a seeded model that sees.

    python tests/tiny_gguf.py FOLDER     writes text.gguf, llm.gguf and mmproj.gguf (about 300 KB together)

The scripted model is a Markov chain in llama architecture: attention and feed-forward are zero, so the logits after a
token are `output @ norm(embedding[token])`; every scripted token has an axis of its own, and `output` holds its followers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

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
WORDS = (
    " Lala",
    " is",
    " a",
    " dog",
    " Ann",
    "a",
    " cat",
    "user",
    "<|",
    "|>",
    "<|user",
    "</s",
    "Hello",
    ".",
    "</",
    "s",
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] | trim }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
WIDTH = 64
BLOCKS = 1
HEADS = 4
FEED_FORWARD = 64
IMAGE_SIZE = 32
PATCH = 4
POOL = 4
IMAGE_TOKENS = (IMAGE_SIZE // PATCH // POOL) ** 2
VISION_WIDTH = 32

Floats = NDArray[np.float32]


def vocabulary(words: Sequence[str] = (), user_defined: Sequence[str] = ()) -> dict[str, gguf.TokenType]:
    """Token -> kind, in id order; SentencePiece writes a space as U+2581."""
    tokens = {"<unk>": gguf.TokenType.UNKNOWN}
    tokens |= dict.fromkeys(CONTROL, gguf.TokenType.CONTROL)
    tokens |= {f"<0x{byte:02X}>": gguf.TokenType.BYTE for byte in range(256)}
    tokens |= dict.fromkeys(user_defined, gguf.TokenType.USER_DEFINED)
    for word in (*WORDS, *words):
        tokens.setdefault(word.replace(" ", "\u2581"), gguf.TokenType.NORMAL)
    return tokens


def make_text_gguf(
    path: Path,
    script: Mapping[str, Sequence[str]] | None = None,
    *,
    template: str | None = CHAT_TEMPLATE,
    user_defined: Sequence[str] = (),
    seed: int = 0,
) -> Path:
    """Writes a llama-architecture GGUF. `script` maps a token to its followers, the likeliest first; None: seeded weights.

    A byte is written as `<0xC3>`, a space belongs to the front of a word, the answer follows `<|assistant|>`.
    """
    script = script or {}
    words = [word for token, followers in script.items() for word in (token, *followers)]
    tokens = vocabulary(words, user_defined)
    writer = gguf.GGUFWriter(path, "llama")
    _describe_text_model(writer, tokens, template)
    rng = np.random.default_rng(seed)
    weights = _scripted_weights(script, list(tokens)) if script else _seeded_weights(rng, len(tokens))
    return _write(writer, path, weights)


def make_vision_pair(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Writes llm.gguf and mmproj.gguf (Gemma-3-type SigLIP tower, 32 px pictures, 4 tokens each) with seeded weights."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(folder / "mmproj.gguf", "clip")
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("gemma3")
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
    mmproj = _write(writer, folder / "mmproj.gguf", _vision_weights(rng))
    return make_text_gguf(folder / "llm.gguf", seed=seed + 1), mmproj


def _describe_text_model(
    writer: gguf.GGUFWriter, tokens: Mapping[str, gguf.TokenType], template: str | None
) -> None:
    names = list(tokens)
    writer.add_context_length(512)
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
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    if template is not None:
        writer.add_chat_template(template)


def _seeded_weights(rng: np.random.Generator, n_tokens: int) -> dict[str, Floats]:
    def matrix(rows: int, columns: int) -> Floats:
        return rng.standard_normal((rows, columns)).astype(np.float32) / np.float32(np.sqrt(columns))

    return {
        "token_embd.weight": matrix(n_tokens, WIDTH) * 8,
        "blk.0.attn_q.weight": matrix(WIDTH, WIDTH),
        "blk.0.attn_k.weight": matrix(WIDTH, WIDTH),
        "blk.0.attn_v.weight": matrix(WIDTH, WIDTH),
        "blk.0.attn_output.weight": matrix(WIDTH, WIDTH) * 4,
        "blk.0.ffn_gate.weight": matrix(FEED_FORWARD, WIDTH),
        "blk.0.ffn_up.weight": matrix(FEED_FORWARD, WIDTH),
        "blk.0.ffn_down.weight": matrix(WIDTH, FEED_FORWARD),
        "blk.0.attn_norm.weight": np.ones(WIDTH, np.float32),
        "blk.0.ffn_norm.weight": np.ones(WIDTH, np.float32),
        "output_norm.weight": np.ones(WIDTH, np.float32),
        "output.weight": matrix(n_tokens, WIDTH),
    }


def _scripted_weights(script: Mapping[str, Sequence[str]], tokens: list[str]) -> dict[str, Floats]:
    """Axis 0 is shared by all tokens without a script (they are followed by the end), then one axis per scripted token."""
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


def _vision_weights(rng: np.random.Generator) -> dict[str, Floats]:
    def matrix(*shape: int) -> Floats:
        return rng.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))

    ones, zeros = np.ones(VISION_WIDTH, np.float32), np.zeros(VISION_WIDTH, np.float32)
    wide = np.zeros(2 * VISION_WIDTH, np.float32)
    weights = {
        "v.patch_embd.weight": matrix(VISION_WIDTH, 3, PATCH, PATCH) * 4,
        "v.patch_embd.bias": zeros,
        "v.position_embd.weight": matrix((IMAGE_SIZE // PATCH) ** 2, VISION_WIDTH),
        "v.post_ln.weight": ones,
        "v.post_ln.bias": zeros,
        "mm.input_projection.weight": matrix(VISION_WIDTH, WIDTH) * 8,
        "mm.soft_emb_norm.weight": ones,
        "v.blk.0.ffn_up.weight": matrix(2 * VISION_WIDTH, VISION_WIDTH),
        "v.blk.0.ffn_up.bias": wide,
        "v.blk.0.ffn_down.weight": matrix(VISION_WIDTH, 2 * VISION_WIDTH),
        "v.blk.0.ffn_down.bias": zeros,
    }
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        weights[f"v.blk.0.{name}.weight"] = matrix(VISION_WIDTH, VISION_WIDTH)
        weights[f"v.blk.0.{name}.bias"] = zeros
    for name in ("ln1", "ln2"):
        weights[f"v.blk.0.{name}.weight"] = ones
        weights[f"v.blk.0.{name}.bias"] = zeros
    return weights


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
