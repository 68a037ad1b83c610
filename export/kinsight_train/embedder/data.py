"""What the embedder learns from: families of look-alikes drawn into scenes, cropped and described."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from kinsight.bundle import Preprocess
from kinsight.drawn import ATTRIBUTES, Drawing, Individual, Placed, describe, difference, draw_scene
from kinsight.drawn import individual as make_individual
from kinsight.drawn import look_alike as make_look_alike
from kinsight.image import crop, prepare_batch, thumbnail
from kinsight.types import Box, Pixels

SIDE = 96
CONTEXT = 32
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
RULE = Preprocess((SIDE, SIDE), "rgb", 1 / 255, MEAN, STD, "stretch")
"""How a crop becomes an input; goes into the bundle as it is."""
RAW_RULE = Preprocess((SIDE, SIDE), "rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "stretch")
"""The same picture before the scaling, so that a batch travels as bytes."""
PAD, UNKNOWN, START = "[PAD]", "[UNK]", "[CLS]"
PAD_ID, UNKNOWN_ID = 0, 1
LEAST_VISIBLE = 0.3
SLOW = ("pattern", "accessory", "detail")
"""Attributes that are learned late: after 450 steps 20-60 % of look-alikes that differ in them were rejected,
against 80-92 % of those of another colour."""
MORE_WORDS = "a an the of with and"


@dataclass(frozen=True, eq=False)
class CropBatch:
    """Crops of n things that are m individuals, and a text about each individual."""

    pixels: NDArray[np.uint8]  # (n, 3, SIDE, SIDE), RGB
    who: NDArray[np.int64]  # (n,), row of the individual
    families: NDArray[np.int64]  # (m,), number of the family; look-alikes share it
    values: NDArray[np.int64]  # (m, attributes), row of the value in ATTRIBUTES
    texts: NDArray[np.int64]  # (m, CONTEXT), token ids
    fits: NDArray[np.bool_]  # (m, m), text of row i is true of the individual of column j


@dataclass(frozen=True)
class Plan:
    """How a batch is made up."""

    crops: int = 128
    views: int = 4  # of each individual, each in another scene
    most_look_alikes: int = 3  # of the first of a family
    most_things: int = 4  # in a scene


@dataclass(frozen=True)
class Batches:
    """Step -> batch, depending on the seed and the step alone; travels to the processes that make batches."""

    seed: int
    plan: Plan

    def __call__(self, step: int) -> CropBatch:
        """The batch of this step."""
        return draw_batch(np.random.default_rng((self.seed, step, 1)), self.plan)


def draw_batch(rng: np.random.Generator, plan: Plan) -> CropBatch:
    """Individuals in families, each seen in several scenes."""
    individuals, families = draw_families(rng, max(2, plan.crops // plan.views), plan.most_look_alikes)
    crops: list[Pixels] = []
    who: list[int] = []
    while len(crops) < plan.crops:
        for group in _groups(rng, families, plan.most_things):
            for row, pixels in _crops_of_scene(rng, [individuals[one] for one in group]):
                crops.append(pixels)
                who.append(group[row])
    raw = np.rint(prepare_batch(crops[: plan.crops], RAW_RULE)).astype(np.uint8)
    texts, fits = _texts(rng, individuals)
    return CropBatch(
        raw,
        np.array(who[: plan.crops], np.int64),
        families,
        np.array([value_rows(one) for one in individuals], np.int64),
        _hidden_words(rng, token_ids(tokenizer(), texts)),
        fits,
    )


def draw_families(
    rng: np.random.Generator, count: int, most_look_alikes: int
) -> tuple[list[Individual], NDArray[np.int64]]:
    """`count` different individuals, and the family of each, int64 (count,)."""
    individuals: dict[Individual, int] = {}
    family = 0
    while len(individuals) < count:
        first = make_individual(rng)
        chain = [first]
        for _ in range(int(rng.integers(1, most_look_alikes + 1))):
            # Most differ from the first by one attribute, some by two.
            chain.append(_look_alike(chain[-1] if rng.random() < 0.25 else first, rng))
        if not any(one in individuals for one in chain):
            individuals |= dict.fromkeys(chain, family)
            family += 1
    kept = list(individuals)[:count]
    return kept, np.array([individuals[one] for one in kept], np.int64)


def _look_alike(one: Individual, rng: np.random.Generator) -> Individual:
    """One attribute differs, more often one of shape than of colour."""
    other = make_look_alike(one, rng)
    if rng.random() < 0.5 and difference(one, other)[0] not in SLOW:
        other = make_look_alike(one, rng)
    return other


def value_rows(one: Individual) -> list[int]:
    """Of each attribute the row of its value."""
    values = one.values()
    return [ATTRIBUTES[name].index(values[name]) for name in ATTRIBUTES]


def _groups(rng: np.random.Generator, families: NDArray[np.int64], most_things: int) -> list[list[int]]:
    """Every individual once, in scenes of 1 to `most_things`; in half of them look-alikes stand together."""
    count = len(families)
    key = rng.permutation(count).astype(np.float64)
    if rng.random() < 0.5:
        key = rng.permutation(int(families.max()) + 1)[families] * count + key
    order = np.argsort(key)
    groups, start = [], 0
    while start < count:
        size = int(rng.integers(1, most_things + 1))
        groups.append([int(row) for row in order[start : start + size]])
        start += size
    return groups


def _crops_of_scene(rng: np.random.Generator, individuals: Sequence[Individual]) -> list[tuple[int, Pixels]]:
    """(row in `individuals`, crop as a detector would give it) of everything that can be seen."""
    drawing = draw_scene(individuals, rng)
    return [
        (row, cropped(drawing, thing, rng))
        for row, thing in enumerate(drawing.things)
        if thing.visible >= LEAST_VISIBLE
    ]


def cropped(drawing: Drawing, thing: Placed, rng: np.random.Generator) -> Pixels:
    """uint8 (h, w, 3): the thing by a box as a detector gives it, sometimes coarser."""
    pixels = crop(drawing.pixels, jittered(thing.xyxy, rng))
    if rng.random() < 0.15:
        pixels = thumbnail(
            np.ascontiguousarray(pixels), max(28, int(max(pixels.shape) * rng.uniform(0.5, 1)))
        )
    return pixels


def jittered(xyxy: Box, rng: np.random.Generator) -> Box:
    """The box with every edge moved: by 3 % of the side mostly, by up to 12 %, or all of them outwards."""
    x0, y0, x1, y1 = xyxy
    kind = rng.random()
    if kind < 0.75:
        moves = rng.normal(0, 0.03, 4)
    elif kind < 0.9:
        moves = rng.uniform(-0.1, 0.12, 4)
    else:
        moves = rng.uniform(0.05, 0.3, 4)
    width, height = x1 - x0, y1 - y0
    left, top, right, bottom = (float(move) for move in moves)
    return x0 - left * width, y0 - top * height, x1 + right * width, y1 + bottom * height


def _texts(
    rng: np.random.Generator, individuals: Sequence[Individual]
) -> tuple[list[str], NDArray[np.bool_]]:
    """A text about each individual, and of whom else it is true.

    The text of another individual that is made with the same choices is the same only if it is true of both.
    """
    seeds = [int(seed) for seed in rng.integers(1 << 62, size=len(individuals))]
    texts = [describe(one, np.random.default_rng(seed)) for one, seed in zip(individuals, seeds, strict=True)]
    fits = np.eye(len(individuals), dtype=np.bool_)
    for row, (text, seed) in enumerate(zip(texts, seeds, strict=True)):
        for column, one in enumerate(individuals):
            if column != row and describe(one, np.random.default_rng(seed)) == text:
                fits[row, column] = True
    return texts, fits


def _hidden_words(rng: np.random.Generator, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 (m, CONTEXT) with an unknown word put in here and there, so that one is no surprise later."""
    out: NDArray[np.int64] = ids.copy()
    for row in np.flatnonzero(rng.random(len(ids)) < 0.15):
        length = min(int((ids[row] != PAD_ID).sum()), CONTEXT - 1)
        place = int(rng.integers(1, length + 1))
        out[row] = np.insert(ids[row], place, UNKNOWN_ID)[:CONTEXT]
    return out


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """The one tokenizer of training and bundle."""
    return make_tokenizer()


def make_tokenizer(texts: int = 4000, seed: int = 0) -> Tokenizer:
    """One token a word of what `describe` says, lower case; every other word is one unknown token."""
    rng = np.random.default_rng((seed, 2))
    said = [describe(make_individual(rng), rng) for _ in range(texts)]
    values = [value for values in ATTRIBUTES.values() for value in values]
    words = _words([*said, *values, MORE_WORDS])
    vocabulary = {word: row for row, word in enumerate([PAD, UNKNOWN, START, *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", pair=None, special_tokens=[(START, vocabulary[START])]
    )
    made.enable_truncation(CONTEXT)
    made.enable_padding(length=CONTEXT, pad_id=PAD_ID, pad_token=PAD)
    return made


def _words(texts: Iterable[str]) -> list[str]:
    split = pre_tokenizers.Whitespace()
    return sorted({word for text in texts for word, _ in split.pre_tokenize_str(text.lower())})


def token_ids(made: Tokenizer, texts: Sequence[str]) -> NDArray[np.int64]:
    """m texts -> int64 (m, CONTEXT)."""
    ids: NDArray[np.int64] = np.array([encoded.ids for encoded in made.encode_batch(list(texts))], np.int64)
    return ids
