"""The language model of a finished bundle as it was trained: weights and vocabulary out of GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gguf import MODEL_ARCH, GGUFReader, TensorNameMap, TokenType, dequantize, get_tensor_name_map
from sentencepiece import sentencepiece_model_pb2 as pieces_format
from torch import Tensor

from kinsight.errors import ModelError
from kinsight_train.mllm.tokenizer import BOS, CONTROLS, EOS, PAD, UNKNOWN

if TYPE_CHECKING:
    from kinsight_train.mllm.model import Mllm

_TEXT, _SIGHT = "model.language_model.", "model."
_KINDS = {"NORMAL": 1, "UNKNOWN": 2, "CONTROL": 3, "USER_DEFINED": 4, "UNUSED": 5, "BYTE": 6}
"""Of a piece, in SentencePiece's numbers, by GGUF's names."""


def restore_weights(model: Mllm, llm: Path, mmproj: Path) -> None:
    """Puts the weights of both files into a model of their shape, in place.

    What the converter changes is undone: Gemma's text norms are stored as 1 + weight, quantised matrices
    are brought back to float32. Raises ModelError where the files are of another shape.
    """
    layers = model.shape.layers, model.shape.vision_layers
    names = (
        get_tensor_name_map(MODEL_ARCH.GEMMA3, layers[0]),
        get_tensor_name_map(MODEL_ARCH.MMPROJ, layers[1]),
    )
    stored = [{tensor.name: tensor for tensor in GGUFReader(file).tensors} for file in (llm, mmproj)]
    used = 0
    with torch.no_grad():
        for name, weight in model.net.named_parameters():
            text = name.startswith(_TEXT)
            here = stored[0 if text else 1]
            called = _called(name, names[0 if text else 1], text)
            if called not in here:
                raise ModelError(
                    f"{(llm, mmproj)[not text]} holds no {called}", "restore into the same shape"
                )
            value = dequantize(here[called].data, here[called].tensor_type)
            shift = (
                1.0 if called.endswith("norm.weight") else 0.0
            )  # of the mmproj's norms only soft_emb_norm's
            _fill(weight, np.asarray(value, np.float32) - np.float32(shift), f"{called} of {llm.parent}")
            used += 1
    if used != sum(map(len, stored)):
        raise ModelError(f"{llm.parent} holds more tensors than the shape has", "restore into the same shape")


def restore_tokenizer(llm: Path, out: Path) -> Path:
    """Writes the SentencePiece model that the vocabulary of a GGUF file was made from."""
    fields = GGUFReader(llm).fields
    words, scores, kinds = (
        fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores", "token_type")
    )
    model: Any = pieces_format.ModelProto()
    for word, score, kind in zip(words, scores, kinds, strict=True):
        model.pieces.add(piece=word, score=score, type=_KINDS[TokenType(kind).name])
    trainer, normaliser = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.vocab_size, trainer.byte_fallback = trainer.BPE, len(words), True
    trainer.character_coverage, trainer.split_digits = 1.0, True
    trainer.control_symbols.extend(CONTROLS)
    trainer.pad_id, trainer.eos_id, trainer.bos_id, trainer.unk_id = 0, 1, 2, 3
    trainer.pad_piece, trainer.eos_piece, trainer.bos_piece, trainer.unk_piece = PAD, EOS, BOS, UNKNOWN
    normaliser.name, normaliser.add_dummy_prefix = "identity", False
    normaliser.remove_extra_whitespaces, normaliser.escape_whitespaces = False, True
    out.write_bytes(model.SerializeToString())
    return out


def _called(name: str, names: TensorNameMap, text: bool) -> str:
    """What the converter calls one of transformers' weights; "" where it has no name for it."""
    plain = name.replace(_TEXT, "model.") if text else name.removeprefix(_SIGHT)
    plain = plain.replace("mm_input_projection_weight", "mm_input_projection.weight")
    return names.get_name(plain, try_suffixes=(".weight", ".bias")) or ""


def _fill(weight: Tensor, value: np.ndarray, what: str) -> None:
    if tuple(weight.shape) != value.shape:
        raise ModelError(f"{what} is {value.shape}, not {tuple(weight.shape)}", "restore into the same shape")
    weight.copy_(torch.from_numpy(value))
