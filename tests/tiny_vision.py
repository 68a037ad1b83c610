"""Checkpoints of detectors and embedders in miniature, from the libraries' own configs; no download."""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import sentencepiece
import torch
from torch import nn
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizerFast,
    DFineConfig,
    DFineForObjectDetection,
    Dinov2Config,
    Dinov2Model,
    GemmaTokenizerFast,
    HGNetV2Config,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipTokenizer,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessor,
)
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

CARD = "---\nlicense: apache-2.0\n---\n# A checkpoint with random weights\n"
_WORDS = [*"abcdefghijklmnopqrstuvwxyz0123456789!',.×é"]
_VISION = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
_DETR = {
    "d_model": 32,
    "encoder_hidden_dim": 32,
    "num_queries": 30,
    "decoder_layers": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "decoder_in_channels": [32, 32, 32],
    "num_denoising": 0,
}


def stir(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights with which pictures make a difference: as they are begun, all queries are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            fan = weight[0].numel() if weight.dim() > 1 else 16
            weight.add_(torch.randn(weight.shape, generator=generator) * fan**-0.5)
    return model.eval()


def clip(folder: Path, seed: int = 0, **vision: Any) -> Path:
    """A CLIP pair with a byte-level BPE vocabulary of letters."""
    torch.manual_seed(seed)
    text = {
        **{key: _VISION[key] for key in list(_VISION)[:4]},
        "vocab_size": 2 * len(_WORDS) + 2,
        "max_position_embeddings": 20,
        "bos_token_id": 2 * len(_WORDS),
        "eos_token_id": 2 * len(_WORDS) + 1,
        "pad_token_id": 2 * len(_WORDS) + 1,
    }
    config = CLIPConfig(vision_config={**_VISION, **vision}, text_config=text, projection_dim=32)
    stir(CLIPModel(config), seed).save_pretrained(folder)
    side = {**_VISION, **vision}["image_size"]
    CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    ).save_pretrained(folder)
    vocabulary = {word: row for row, word in enumerate([*_WORDS, *(f"{word}</w>" for word in _WORDS)])}
    begin, end = "<|startoftext|>", "<|endoftext|>"
    vocabulary |= {begin: len(vocabulary), end: len(vocabulary) + 1}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    return _carded(folder)


def siglip(folder: Path, seed: int = 0) -> Path:
    """A SigLIP pair with a SentencePiece vocabulary, which has no fast tokenizer of its own."""
    _siglip(folder, seed, 120)
    _pieces(folder / "spiece", vocab_size=60, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    SiglipTokenizer(str(folder / "spiece.model"), model_max_length=24).save_pretrained(folder)
    return _carded(folder)


def siglip2(folder: Path, seed: int = 0) -> Path:
    """A SigLIP2 pair: the same network with Gemma's tokenizer, as its checkpoints have it."""
    _siglip(folder, seed, 400)
    ids = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3}
    _pieces(folder / "tokenizer", vocab_size=320, model_type="bpe", byte_fallback=True, **ids)
    GemmaTokenizerFast(
        vocab_file=str(folder / "tokenizer.model"), add_bos_token=False, add_eos_token=True,
        padding_side="right", model_max_length=24,
    ).save_pretrained(folder)  # fmt: skip
    return _carded(folder)


def _siglip(folder: Path, seed: int, vocabulary: int) -> None:
    """Its network and how it wants pictures."""
    torch.manual_seed(seed)
    text = {
        **{key: _VISION[key] for key in list(_VISION)[:4]},
        "vocab_size": vocabulary,
        "max_position_embeddings": 24,
    }
    stir(SiglipModel(SiglipConfig(vision_config=_VISION, text_config=text)), seed).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def _pieces(prefix: Path, **options: Any) -> None:
    """Trains a SentencePiece vocabulary on a few lines in small letters."""
    lines = [
        f"a {colour} {kind} with a {other} scarf on the table"
        for colour in ("red", "blue", "striped")
        for kind in ("dog", "mug", "cat", "person", "cafe")
        for other in ("white", "long", "small")
    ]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(prefix), minloglevel=2, hard_vocab_limit=False,
        **options,
    )  # fmt: skip


def dinov2(folder: Path, seed: int = 0) -> Path:
    """For pictures alone."""
    torch.manual_seed(seed)
    config = Dinov2Config(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14
    )
    stir(Dinov2Model(config), seed).save_pretrained(folder)
    BitImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28},
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)  # fmt: skip
    return _carded(folder)


def yolos(folder: Path, seed: int = 0) -> Path:
    """A detector that is a plain vision transformer, with a class for nothing."""
    torch.manual_seed(seed)
    config = YolosConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        image_size=[64, 96], patch_size=16, num_detection_tokens=20, num_labels=5,
    )  # fmt: skip
    stir(YolosForObjectDetection(config), seed).save_pretrained(folder)
    YolosImageProcessor(size={"height": 64, "width": 96}).save_pretrained(folder)
    return _carded(folder)


def rt_detr(folder: Path, seed: int = 0) -> Path:
    """A detector that picks its queries from the picture."""
    torch.manual_seed(seed)
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = RTDetrConfig(backbone_config=backbone, encoder_in_channels=[16, 32, 64], num_labels=5, **_DETR)
    return _saved(stir(RTDetrForObjectDetection(config), seed), folder)


def d_fine(folder: Path, seed: int = 0) -> Path:
    """The same with distributions for edges."""
    torch.manual_seed(seed)
    channels = [32, 64, 96, 128]
    backbone = HGNetV2Config(
        hidden_sizes=channels, stem_channels=[3, 16, 16], stage_in_channels=[16, 32, 64, 96],
        stage_mid_channels=[16] * 4, stage_out_channels=channels, stage_num_blocks=[1] * 4,
        stage_downsample=[False, True, True, True], stage_light_block=[False, False, True, True],
        stage_kernel_size=[3, 3, 5, 5], stage_numb_of_layers=[1] * 4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = DFineConfig(backbone_config=backbone, encoder_in_channels=channels[1:], num_labels=5, **_DETR)
    return _saved(stir(DFineForObjectDetection(config), seed), folder)


def _saved(model: nn.Module, folder: Path) -> Path:
    model.save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 128, "width": 128}).save_pretrained(folder)
    return _carded(folder)


def _carded(folder: Path) -> Path:
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


def clip_b32(folder: Path, vocabulary: Path, seed: int = 0) -> Path:
    """CLIP ViT-B/32 at its full size with random weights, and the words of `vocabulary`."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    stir(CLIPModel(CLIPConfig(text_config={"eos_token_id": 49407})), seed).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    words = CLIPTokenizerFast(str(vocabulary / "vocab.json"), str(vocabulary / "merges.txt"))
    words.save_pretrained(folder)
    return _carded(folder)


def clip_words(folder: Path, size: int = 49408) -> Path:
    """A byte-level BPE vocabulary of CLIP's size with made-up merges: letters by twos, threes and fours."""
    folder.mkdir(parents=True)
    letters = list(ascii_lowercase)
    pieces = [*bytes_to_unicode().values()]
    pieces += [f"{piece}</w>" for piece in pieces]
    room = size - len(pieces) - 2
    begun, merges = letters, []
    while len(merges) < room:
        merges += [(start, f"{letter}{end}") for start in begun for letter in letters for end in ("", "</w>")]
        begun = [f"{start}{letter}" for start in begun for letter in letters]
    merges = merges[:room]
    pieces += [*("".join(pair) for pair in merges), "<|startoftext|>", "<|endoftext|>"]
    rows = {piece: row for row, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(rows), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
