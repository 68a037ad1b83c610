"""The gate of language models: a GGUF pair is held against what its source said to the fixed inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinsight.bundle import LlmPart
from kinsight.config import DeviceConfig
from kinsight.llm import Picture, Text, Turn
from kinsight.llm.header import read_header
from kinsight.types import Floats, Pixels
from kinsight_export.gate import Check, Fact, Report
from kinsight_export.gate.compare import tensor_difference, worst
from kinsight_export.mllm.device import Device, Reading
from kinsight_export.mllm.exam import TEXT, Answers, framed
from kinsight_export.mllm.order import MAX_LOSS
from kinsight_export.mllm.tensors import damaged_tensor

_CONTROL = 0.1  # a logit must move as much where the pictures of a prompt are exchanged
_EFFECT = 0.01  # what an adapter must change a logit by
_NEARER = 0.5  # of the distance to the source: so much nearer is a picture whose colours were exchanged


@dataclass(frozen=True)
class Limits:
    """The loss that is allowed."""

    divergence: float  # mean of KL(source, file), nats
    top: float  # share of places at which both put the same token first
    perplexity: float  # of the fixed text, as a factor of the source's
    pictures: float  # largest difference of an embedding, as a share of the largest


AS_CONVERTED = Limits(divergence=0.001, top=0.99, perplexity=1.005, pictures=0.02)
QUANTISED = Limits(divergence=MAX_LOSS, top=0.9, perplexity=1.05, pictures=0.1)


def judge(answers: Answers, device: Device, part: LlmPart, limits: Limits) -> Report:
    """Every check with its figure; a broken one names what it points at, so nothing after it is asked."""
    checks = [*_word_checks(answers), *_picture_checks(answers, device, part, limits)]
    if all(check.kept for check in checks):
        prompts = [device.read(device.template.parts(prompt.turns)) for prompt in answers.prompts]
        checks += _logit_checks(answers, [*prompts, device.read([Text(TEXT)])], part, limits)
        checks.append(_control(answers, device, prompts))
        checks += _adapter_check(answers)
    return Report("llm", answers.name, tuple(checks), (_size(_files(part)),))


def judge_alone(part: LlmPart, config: DeviceConfig, pictures: Sequence[Pixels]) -> Report:
    """A pair whose source is not at hand: no weight may be dead, and it must look at its pictures."""
    damage = next((found for file in _files(part) if (found := damaged_tensor(file))), "")
    checks = [Check("weights", "every weight", "dead or no number", float(bool(damage)), 0, cause=damage)]
    size_wh = pictures[0].shape[1], pictures[0].shape[0]  # of all: more tokens alone would move the logits
    alike = [framed(pixels, size_wh) for pixels in pictures[:2]]
    with Device(part, config) as device:
        asked = [Turn("user", (Picture(pixels), Text("What is in this picture?"))) for pixels in alike]
        first, second = (device.logits([turn]) for turn in asked)
    moved = float(np.abs(first - second).max())
    checks.append(_looks("the same question about another picture", moved))
    return Report("llm", "itself, as its source is not at hand", tuple(checks), (_size(_files(part)),))


def judge_pictures(answers: Answers, device: Device, part: LlmPart, limits: Limits) -> Report:
    """The picture encoder alone."""
    checks = tuple(_picture_checks(answers, device, part, limits))
    return Report("mmproj", answers.name, checks, (_size([part.mmproj] if part.mmproj else []),))


def _files(part: LlmPart) -> list[Path]:
    return [file for file in (part.file, part.mmproj) if file]


def _size(files: list[Path]) -> Fact:
    return Fact("size", sum(file.stat().st_size for file in files) / 1e6, "MB")


def _word_checks(answers: Answers) -> Iterator[Check]:
    rows = (
        ("tokens", "the fixed texts and the template", "read otherwise", answers.other_words,
         "another tokenizer, or another pre-tokenizer"),
        ("chat template", "a conversation of four turns", "written otherwise",
         answers.other_template and (answers.other_template,), "another chat template"),
        ("ends of answers", "the source's ends and every token of the file", "end otherwise",
         answers.other_ends, "another token ends an answer"),
    )  # fmt: skip
    for name, compared, measure, others, points_at in rows:
        cause = f"{points_at}: {others[0]}" if others else ""
        yield Check(name, compared, measure, len(others), 0, cause=cause)


def _picture_checks(answers: Answers, device: Device, part: LlmPart, limits: Limits) -> Iterator[Check]:
    ours = [device.embeddings(Picture(prompt.pictures[0])) for prompt in answers.prompts]
    figure = worst(tensor_difference(one, other) for one, other in zip(ours, answers.embeddings, strict=True))
    cause = "" if figure <= limits.pictures else _picture_cause(answers, ours[0], part)
    compared = f"{len(ours)} pictures' embeddings"
    yield Check("pictures", compared, "largest difference", figure, limits.pictures, cause=cause)


def _picture_cause(answers: Answers, ours: Floats, part: LlmPart) -> str:
    assert part.mmproj is not None
    wanted = answers.normalisation
    values = read_header(part.mmproj).values
    for name, right in (("mean", wanted.mean), ("std", wanted.std)):
        there = values.get(f"clip.vision.image_{name}")
        if not isinstance(there, tuple) or not np.allclose(there, right, atol=1e-4):
            return f"another {name} in the mmproj: {_short(there)} instead of {_short(right)}"
    if len(ours) != len(answers.embeddings[0]):
        return f"another size of picture: {len(ours)} rows a picture instead of {len(answers.embeddings[0])}"
    apart = tensor_difference(ours, answers.embeddings[0])
    if min(tensor_difference(ours, turned) for turned in answers.turned) < _NEARER * apart:
        return "red and blue are exchanged in the mmproj"
    return damaged_tensor(part.mmproj) or "the picture encoder was changed on the way: convert it anew"


def _logit_checks(
    answers: Answers, readings: list[Reading], part: LlmPart, limits: Limits
) -> Iterator[Check]:
    pairs = list(zip(answers.logits, (reading.logits for reading in readings), strict=True))
    source, file = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    places = f"{len(source)} places of {len(answers.prompts)} prompts and a text"
    divergence, top = _divergence(source, file), float((source.argmax(1) == file.argmax(1)).mean())
    tokens = np.array([token for item in readings[-1].items if isinstance(item, tuple) for token in item])
    before, after = (_perplexity(logits, tokens) for logits in pairs[-1])
    checks = (
        Check("divergence", places, "mean KL in nats", divergence, limits.divergence),
        Check("same first token", places, "share", top, limits.top, "at least"),
        Check(
            "perplexity",
            f"a text, {before:.1f} in the source",
            "times the source's",
            after / before,
            limits.perplexity,
        ),
    )
    cause = ""
    if not all(check.kept for check in checks):
        cause = damaged_tensor(part.file)
        cause = (
            f"a layer is lost: {cause}"
            if cause
            else "the language model was changed on the way, or quantised too far"
        )
    for check in checks:
        yield Check(check.name, check.compared, check.measure, check.figure, check.limit, check.bound, cause)


def _control(answers: Answers, device: Device, prompts: list[Reading]) -> Check:
    moved = [
        float(
            np.abs(
                device.read(device.template.parts(prompt.swapped.turns)).logits[-1] - reading.logits[-1]
            ).max()
        )
        for prompt, reading in zip(answers.prompts, prompts, strict=True)
    ]
    return _looks("the same prompts with their pictures exchanged", float(np.median(moved)))


def _looks(compared: str, moved: float) -> Check:
    cause = "the pictures do not reach the language model"
    return Check("control", compared, "median change of a logit", moved, _CONTROL, "at least", cause)


def _adapter_check(answers: Answers) -> Iterator[Check]:
    if answers.adapter_effect is not None:
        compared, cause = (
            "the text without the adapter",
            "the adapter changes nothing: it is another model's, or untrained",
        )
        yield Check(
            "adapter",
            compared,
            "largest change of a logit",
            answers.adapter_effect,
            _EFFECT,
            "at least",
            cause,
        )


def _divergence(source: Floats, file: Floats) -> float:
    """Mean over rows of KL(source, file), logits float32 (n, vocabulary)."""
    ours, theirs = _log_softmax(source), _log_softmax(file)
    return float((np.exp(ours) * (ours - theirs)).sum(axis=1).mean())


def _perplexity(logits: Floats, tokens: np.ndarray) -> float:
    """exp of the mean surprise at each token after the first."""
    surprise = -_log_softmax(logits[:-1])[np.arange(len(tokens) - 1), tokens[1:]]
    return float(np.exp(surprise.mean()))


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    done: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return done


def _short(values: object) -> str:
    return ", ".join(f"{value:.4g}" for value in values) if isinstance(values, tuple) else "nothing"
