"""The gate of an embedder: preprocessing, vectors of pictures and words, tokens and order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kinsight.embed import Embedder
from kinsight.types import Floats, Pixels
from kinsight_export.gate.causes import cause_of, lost_layer
from kinsight_export.gate.compare import lowest_cosine, rank_agreement
from kinsight_export.gate.preprocessing import preprocessing_checks
from kinsight_export.gate.report import Check, Fact, Report
from kinsight_export.gate.timing import size_and_time
from kinsight_export.parts import EmbedderSpec
from kinsight_export.sources.kinds import EmbedderSource, TextSource
from kinsight_export.trial import WORKSTATION, embedder_part

COSINE_LIMIT, RANK_LIMIT = 0.9999, 0.99
TEXTS = (
    "a photo of a dog",
    "Two red mugs, on a table!",
    "the cat's blue collar",
    "MOMO",
    "",
    "a very long description of a thing " * 12,
    "naïve café, 2 × 3",
    "a photo of a person with a striped scarf",
)


def judge_embedder(
    source: EmbedderSource, spec: EmbedderSpec, pictures: Sequence[Pixels], what: str
) -> Report:
    """Holds an embedder's part against its source on these pictures; `what` they are, in words."""
    embedder = Embedder(embedder_part(spec), WORKSTATION)
    inputs = np.stack([source.prepare(pixels) for pixels in pictures])
    wanted = _vectors(source.image, inputs)
    name = next(iter(embedder.session.inputs))

    def given(change: Callable[[Floats], Floats] = lambda pictures: pictures) -> Floats:
        rows = [embedder.session.run({name: change(chw[None])}) for chw in inputs]
        return np.concatenate([next(iter(outputs.values())) for outputs in rows])

    def likeness(vectors: Floats) -> tuple[float, float]:
        return lowest_cosine(vectors, wanted), rank_agreement(_unit(vectors), _unit(wanted))

    def agrees_on(change: Callable[[Floats], Floats]) -> bool:
        cosine, order = likeness(given(change))
        return cosine >= COSINE_LIMIT and order >= RANK_LIMIT

    vectors = given()
    cosine, order = likeness(vectors)
    kept = cosine >= COSINE_LIMIT and order >= RANK_LIMIT
    cause = "" if kept else cause_of(spec.image, source.image, agrees_on)
    compared = f"the file against the source, on {what}"
    checks = [
        *preprocessing_checks(spec.preprocess, source.prepare),
        Check("picture vectors", compared, "lowest cosine", cosine, COSINE_LIMIT, "at least", cause),
        Check("picture order", compared, "mean rank correlation", order, RANK_LIMIT, "at least", cause),
    ]
    if source.text and spec.text:
        checks += _text_checks(source.text, embedder, spec.text.file)
    whole = embedder.images(list(pictures))
    files = [spec.image, *([spec.text.file] if spec.text else [])]
    facts = [
        *size_and_time(
            files,
            lambda: embedder.session.run({name: inputs[:1]}),
            lambda: _vectors(source.image, inputs[:1]),
        ),
        Fact(
            "cosine of whole way", lowest_cosine(whole, wanted), "the lowest, with the runtime's own resizing"
        ),
        Fact("order of whole way", rank_agreement(whole, _unit(wanted)), "mean rank correlation"),
    ]
    return Report("embedder", source.name, tuple(checks), tuple(facts))


def _text_checks(source: TextSource, embedder: Embedder, file: Path) -> list[Check]:
    theirs = source.tokenise(TEXTS)
    ours = embedder.text_feeds(TEXTS)
    same = [np.array_equal(ours["input_ids"][row], theirs[row]) for row in range(len(TEXTS))]
    compared = f"{len(TEXTS)} texts: capitals, punctuation, accents, none, too long"
    with torch.no_grad():
        wanted = source.module(torch.from_numpy(theirs)).numpy()
    odd = TEXTS[same.index(False)] if False in same else ""
    cause = f"the tokenizer is another one, or pads with another token: {odd[:40]!r} is read otherwise"
    cosine = lowest_cosine(embedder.texts(TEXTS), wanted)
    text_cause = cause
    if all(same) and not cosine >= COSINE_LIMIT:
        text_cause = lost_layer(file, source.module) or "the text tower was changed on the way"
    return [
        Check("tokens", compared, "share of texts read alike", float(np.mean(same)), 1.0, "at least", cause),
        Check("word vectors", compared, "lowest cosine", cosine, COSINE_LIMIT, "at least", text_cause),
    ]


def _vectors(module: nn.Module, inputs: Floats) -> Floats:
    with torch.no_grad():
        rows = [module(torch.from_numpy(chw)[None]).numpy() for chw in inputs]
    return np.concatenate(rows).astype(np.float32, copy=False)


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
