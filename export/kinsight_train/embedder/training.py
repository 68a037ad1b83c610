"""Trains the pocket embedder to tell look-alikes apart, exports both towers and measures them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kinsight.drawn import ATTRIBUTES, Individual, difference, draw_scene, individual, look_alike
from kinsight.image import prepare_batch
from kinsight.metrics import accept_curve, accepted_right_at, auroc
from kinsight.types import Floats, Pixels
from kinsight_export.onnx_file import Names, export_onnx, onnx_parity
from kinsight_train.embedder.data import (
    MEAN,
    PAD_ID,
    RULE,
    SIDE,
    STD,
    Batches,
    CropBatch,
    Plan,
    cropped,
    token_ids,
    tokenizer,
)
from kinsight_train.embedder.towers import Pair, unit
from kinsight_train.loop import Run, Schedule, load_average, train

EMBEDDER_SCHEDULE = Schedule(steps=8000, batch=128, peak_lr=2e-3, warmup=200)
IMAGE_FILE, TEXT_FILE, TOKENIZER_FILE = "image.onnx", "text.onnx", "tokenizer.json"
IMAGE_NAMES = Names(("pixel_values",), ("image_embeds",))
TEXT_NAMES = Names(("input_ids",), ("text_embeds",))
TEMPERATURE = 0.07
HEAD_SCALE = 40.0
HEAD_SHARE = 0.3
MOST_STRANGERS_NAMED = 0.03
LEAST_ACCEPTED = 0.92


def new_pair(seed: int = 0) -> Pair:
    """A pair that knows nothing yet."""
    torch.manual_seed(seed)
    return Pair(tokenizer().get_vocab_size(), tuple(len(values) for values in ATTRIBUTES.values()))


def train_embedder(folder: Path, schedule: Schedule, report: Callable[[str], None], workers: int = 1) -> Pair:
    """Trains from scratch or goes on from the checkpoint in `folder`; the averaged weights."""
    pair = new_pair(schedule.seed)
    batches = Batches(schedule.seed, Plan(crops=schedule.batch))
    train(pair, schedule, batches, losses_of, Run(folder, report, workers))
    return load_embedder(folder)


def load_embedder(folder: Path) -> Pair:
    """The averaged weights of the checkpoint, ready to be exported or measured."""
    pair = new_pair()
    load_average(pair, folder)
    return pair


def export_embedder(pair: Pair, folder: Path) -> float:
    """Write both towers and the tokenizer; the largest difference between ONNX and torch."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = pair.eval().to("cpu")
    tokenizer().save(str(folder / TOKENIZER_FILE))
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.normal(size=(3, 3, SIDE, SIDE)).astype(np.float32))
    texts = torch.from_numpy(token_ids(tokenizer(), ["a photo of a red dog", "", "no word of this"]))
    export_onnx(pair.image, pictures, folder / IMAGE_FILE, IMAGE_NAMES, dynamic_batch=True)
    export_onnx(pair.text, texts, folder / TEXT_FILE, TEXT_NAMES, dynamic_batch=True)
    return max(
        onnx_parity(pair.image, [pictures, pictures[:1]], folder / IMAGE_FILE),
        onnx_parity(pair.text, [texts, texts[:1]], folder / TEXT_FILE),
    )


def losses_of(pair: nn.Module, batch: CropBatch) -> dict[str, Tensor]:
    """Which crops are one individual (rank, same), which text fits (text), what each looks like (heads)."""
    assert isinstance(pair, Pair)
    device = pair.same_at.device
    images = unit(pair.image(pixel_values(batch, device)))
    longest = int((batch.texts != PAD_ID).sum(axis=1).max())
    texts = unit(pair.text(torch.from_numpy(batch.texts[:, :longest]).to(device)))
    with torch.autocast(device.type, enabled=False):  # bfloat16 would round a cosine to 1/256
        return _losses(pair, images, texts, batch)


def _losses(pair: Pair, images: Tensor, texts: Tensor, batch: CropBatch) -> dict[str, Tensor]:
    who, fits, families, values = (
        torch.from_numpy(array).to(images.device)
        for array in (batch.who, batch.fits, batch.families, batch.values)
    )
    cosines = images @ images.T
    heads = [
        functional.cross_entropy(head(images * HEAD_SCALE), values[who, row])
        for row, head in enumerate(pair.heads)
    ]
    return {
        "rank": _rank_loss(cosines / TEMPERATURE, who[:, None] == who),
        "same": _same_loss(pair, cosines, who, families[who]),
        "text": 0.5 * _text_loss(pair.text_scale.exp() * images @ texts.T, fits[:, who].T),
        "heads": HEAD_SHARE * torch.stack(heads).sum(),
    }


def pixel_values(batch: CropBatch, device: torch.device) -> Tensor:
    """float32 (n, 3, SIDE, SIDE), channels last, as RULE makes it of the crops."""
    mean, std = torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)
    raw = torch.from_numpy(batch.pixels).to(device).to(memory_format=torch.channels_last)
    return (raw.float() / 255 - mean[:, None, None]) / std[:, None, None]


def _rank_loss(scores: Tensor, same: Tensor) -> Tensor:
    """Supervised contrastive: of all other crops (columns) those of the same individual score highest."""
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    logs = scores.masked_fill(own, -1e4).log_softmax(dim=1)
    right = (same & ~own).float()
    each = -(logs * right).sum(dim=1) / right.sum(dim=1).clamp(min=1)
    return each.sum() / (right.sum(dim=1) > 0).float().sum().clamp(min=1)


def _same_loss(pair: Pair, cosines: Tensor, who: Tensor, families: Tensor) -> Tensor:
    """One threshold for all: pairs of one individual lie above it, pairs of look-alikes below it."""
    same = who[:, None] == who
    alike = (families[:, None] == families) & ~same
    above = torch.ones_like(same).triu(1)
    logits = pair.same_scale.exp() * (cosines - pair.same_at)
    sides = [
        (functional.softplus(sign * logits) * chosen).sum() / chosen.sum().clamp(min=1)
        for sign, chosen in ((-1, same & above), (1, alike & above))
    ]
    return sides[0] + sides[1]


def _text_loss(scores: Tensor, fits: Tensor) -> Tensor:
    """CLIP both ways, float (crops, texts), where several texts fit a crop and several crops a text."""
    shares = fits.float()
    to_texts = -(scores.log_softmax(dim=1) * shares).sum(dim=1) / shares.sum(dim=1)
    counts = shares.sum(dim=0)
    to_images = -(scores.log_softmax(dim=0) * shares).sum(dim=0) / counts.clamp(min=1)
    return to_texts.mean() + to_images.sum() / (counts > 0).float().sum()


@dataclass(frozen=True)
class EmbedderScore:
    """How well individuals of no training are told apart and described; shares of 0..1."""

    recall_at_1: float  # among `concepts`, each known from one crop
    auroc_look_alikes: float  # right ones against look-alike strangers
    accepted: float  # right ones, at 3 % of look-alike strangers named
    rejected: float  # look-alike strangers, at 92 % of right ones accepted
    colour_from_text: float
    kind_from_text: float
    rejected_by_attribute: dict[str, float]  # look-alikes by what they differ in, at 92 % accepted

    def line(self) -> str:
        """For people."""
        shares = {field.name: getattr(self, field.name) for field in fields(self)}
        by = "  ".join(f"{name} {share:.3f}" for name, share in shares.pop("rejected_by_attribute").items())
        return "  ".join(f"{name} {share:.4f}" for name, share in shares.items()) + f"  | {by}"


def evaluate(pair: Pair, seed: int, concepts: int = 20, worlds: int = 10) -> EmbedderScore:
    """Draws worlds of `concepts` individuals of one reference each, their look-alikes, and scenes of both."""
    pair.eval()
    trials = [_trial(pair, np.random.default_rng((seed, world, 3)), concepts) for world in range(worlds)]
    best, right, strangers = (
        np.concatenate([getattr(t, name) for t in trials]) for name in ("best", "right", "strangers")
    )
    differs = [name for trial in trials for name in trial.differs]
    threshold = float(np.quantile(np.where(right, best, -1.0), 1 - LEAST_ACCEPTED))
    rejected = strangers < threshold
    return EmbedderScore(
        recall_at_1=float(right.mean()),
        auroc_look_alikes=auroc(best[right], strangers),
        accepted=accepted_right_at(accept_curve(best, right, strangers), MOST_STRANGERS_NAMED),
        rejected=float(rejected.mean()),
        colour_from_text=float(np.mean([trial.colour_from_text for trial in trials])),
        kind_from_text=float(np.mean([trial.kind_from_text for trial in trials])),
        rejected_by_attribute={
            name: float(rejected[[row for row, differ in enumerate(differs) if differ == name]].mean())
            for name in ATTRIBUTES
            if name in differs
        },
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    best: NDArray[np.float64]  # (n,), highest similarity of each query whose individual is known
    right: NDArray[np.bool_]  # (n,), whether it is that individual
    strangers: NDArray[np.float64]  # (m,), highest similarity of each stranger
    differs: list[str]  # m, the one attribute in which the stranger differs
    colour_from_text: float
    kind_from_text: float


def _trial(pair: Pair, rng: np.random.Generator, concepts: int) -> _Trial:
    known = [individual(rng) for _ in range(concepts)]
    strangers = [look_alike(one, rng) for one in known for _ in range(4)]
    pictures, _ = _met(known, rng, most=2, least_visible=0.8)
    references = embed_views(pair, pictures)
    pictures, asked = _met(known * 3, rng)
    queries = embed_pictures(pair, pictures)
    scores = queries @ references.T
    right = scores.argmax(axis=1) == np.array(asked) % concepts
    met, rows = _met(strangers, rng)
    looked = [known[row % concepts] for row in asked]
    colours, kinds = _from_text(pair, queries, looked)
    return _Trial(
        scores.max(axis=1).astype(np.float64),
        right,
        (embed_pictures(pair, met) @ references.T).max(axis=1).astype(np.float64),
        [difference(strangers[row], known[row // 4])[0] for row in rows],
        colours,
        kinds,
    )


def _met(
    individuals: Sequence[Individual], rng: np.random.Generator, most: int = 4, least_visible: float = 0.5
) -> tuple[list[Pixels], list[int]]:
    """A crop of everyone from scenes of 1 to `most`, and their rows; who is hidden is drawn again."""
    left = [int(row) for row in rng.permutation(len(individuals))]
    pictures, rows = [], []
    while left:
        group = left[: int(rng.integers(1, most + 1))]
        left = left[len(group) :]
        drawing = draw_scene([individuals[row] for row in group], rng)
        for row, thing in zip(group, drawing.things, strict=True):
            if thing.visible < least_visible:
                left.append(row)
            else:
                pictures.append(cropped(drawing, thing, rng))
                rows.append(row)
    order = np.argsort(rows, kind="stable")
    return [pictures[at] for at in order], [rows[at] for at in order]


def _from_text(pair: Pair, queries: Floats, looked: Sequence[Individual]) -> tuple[float, float]:
    """Shares of (colour, kind) that the nearest of all texts "a photo of a COLOUR KIND" has right."""
    pairs = [(colour, kind) for colour in ATTRIBUTES["colour"] for kind in ATTRIBUTES["kind"]]
    texts = embed_texts(pair, [f"a photo of a {colour} {kind}" for colour, kind in pairs])
    nearest = [pairs[row] for row in (queries @ texts.T).argmax(axis=1)]
    told = [
        (colour == one.colour, kind == one.kind) for (colour, kind), one in zip(nearest, looked, strict=True)
    ]
    colours, kinds = np.mean(told, axis=0)
    return float(colours), float(kinds)


def embed_pictures(pair: Pair, pictures: Sequence[Pixels]) -> Floats:
    """m pictures, each uint8 (h, w, 3) RGB -> float32 (m, DIM), unit length."""
    return _embed(pair.image, torch.from_numpy(prepare_batch(pictures, RULE)))


def embed_views(pair: Pair, pictures: Sequence[Pixels]) -> Floats:
    """As `Embedder.views` of the runtime: the mean of each crop and its mirror image."""
    both = embed_pictures(pair, pictures)
    both = both + embed_pictures(pair, [np.ascontiguousarray(pixels[:, ::-1]) for pixels in pictures])
    return np.asarray(both / np.linalg.norm(both, axis=1, keepdims=True), np.float32)


def embed_texts(pair: Pair, texts: Sequence[str]) -> Floats:
    """m texts -> float32 (m, DIM), unit length."""
    return _embed(pair.text, torch.from_numpy(token_ids(tokenizer(), texts)))


def _embed(tower: nn.Module, inputs: Tensor) -> Floats:
    device = next(tower.parameters()).device
    parts = [inputs[start : start + 256] for start in range(0, len(inputs), 256)]
    with torch.no_grad():
        vectors = [unit(tower(part.to(device))).cpu().numpy() for part in parts]
    return np.concatenate(vectors)
