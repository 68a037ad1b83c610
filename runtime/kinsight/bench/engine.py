"""The language model beside other ways to run it: seconds to the first token, tokens, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinsight import prompt
from kinsight.bench.memory import measured
from kinsight.bench.rivals import Checkpoint, Stock
from kinsight.drawn.album import Album, Recipe, draw_album
from kinsight.drawn.words import all_names
from kinsight.llm import Generation, Llm, Picture, Turn, WorkerLlm, load_llm
from kinsight.llm.memory import MIB
from kinsight.prompt import Reference
from kinsight.types import Concept

if TYPE_CHECKING:
    from kinsight.bundle import Bundle
    from kinsight.config import DeviceConfig

FORMATS = {"square": (768, 768), "4:3": (1024, 768)}
"""Width and height of the photos, pixels."""
SIZES_WH = (
    (64, 64),
    (320, 240),
    (768, 768),
    (1024, 768),
    (1600, 200),
    (200, 1600),
    (4000, 3000),
    (6000, 4000),
)
"""From 64 pixels to 24 megapixels."""
QUESTIONS = ("Who is in this photo?", "What are they doing there?", "Which colours do you see?")
_K = 3  # taught references
_DECODED = 24  # tokens: random weights say one again and again, and 24 are taken for a loop
_MEMORY_PHOTOS = 4
_NAMES = 10_000  # that an answer must not hold, as in a store of so many concepts
_ROWS = {
    "first_ms": "first question",
    "encode_ms": "  of it encoding",
    "prefill_ms": "  of it reading",
    "second_ms": "second question",
    "load_ms": "loading in a new process",
    "third_ms": "a question there",
    "prompt_tokens": "tokens read",
    "stock_first_ms": "stock, first question",
    "stock_encode_ms": "  of it encoding",
    "stock_prefill_ms": "  of it reading",
    "stock_second_ms": "stock, second question",
    "stock_prompt_tokens": "tokens read",
    "transformers_first_ms": "transformers, first question",
    "transformers_encode_ms": "  of it encoding",
    "transformers_prefill_ms": "  of it reading",
    "transformers_second_ms": "transformers, second question",
    "transformers_prompt_tokens": "tokens read",
    "first_question_ratio": "first by stock's first",
    "second_question_ratio": "second by stock's second",
    "new_process_ratio": "new process by stock's first",
    "transformers_first_ratio": "first by transformers' first",
    "transformers_second_ratio": "second by transformers' second",
}
"""What is printed, in this order."""
_MEMORY = {"": "the memory told by the memory taken", "worker_": "the same with the model in a worker"}
MOST = {
    "first_question_ratio": (0.20, "the first question by the handler's"),
    "second_question_ratio": (0.03, "the second question by the handler's"),
    "new_process_ratio": (0.05, "a question in a new process, beside its loading, by the handler's first"),
    **{f"{key}memory_ratio": (1.15, words) for key, words in _MEMORY.items()},
}
LEAST = {
    "decode_ratio": (0.97, "decoding by a bare loop's"),
    "decode_named_ratio": (0.97, f"decoding without {_NAMES:,} names by a bare loop's"),
    **{f"{key}memory_ratio": (0.85, words) for key, words in _MEMORY.items()},
}
"""What `missed` holds the figures to."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Engines:
    """All that are asked in turn."""

    ours: Llm
    stock: Stock
    checkpoint: Checkpoint | None  # transformers, where asked for


class EngineBench:
    """Photos and references are drawn; what the references cost is paid before, as `remember` does."""

    def __init__(self, bundle: Bundle, device: DeviceConfig, rounds: int, progress: Progress) -> None:
        """ModelError where the bundle has no language model."""
        self._bundle, self._part, self._device = bundle, bundle.language_model, device
        self._rounds, self._progress = rounds, progress

    def run(self, cache: Path, checkpoint: Path | None = None) -> dict[str, Any]:
        """All figures; `cache` is an empty folder, `checkpoint` one of transformers for the same model."""
        with ExitStack() as stack:
            started = time.perf_counter()
            llm = stack.enter_context(load_llm(self._part, self._device, cache))
            load_ms = 1e3 * (time.perf_counter() - started)
            asked_too: Checkpoint | None = None
            if checkpoint:
                asked_too = stack.enter_context(Checkpoint(checkpoint, llm.part, llm.threads))
            stock = stack.enter_context(Stock(llm.part, llm.threads))
            engines = Engines(llm, stock, asked_too)
            formats = {name: self._format(name, engines, cache) for name in FORMATS}
            decode = self._decode(llm, asked_too)
            costs = [(*size, *self._cost(llm, size)) for size in SIZES_WH]
        ratios = [key for key in formats["square"] if key.endswith("_ratio")]
        worst = {key: max(row[key] for row in formats.values()) for key in ratios}
        return {
            **worst,
            **decode,
            **self.memory(),
            "load_ms": load_ms,
            "stock_load_ms": stock.load_ms,
            **({"transformers_dtype": asked_too.dtype} if asked_too else {}),
            "formats": formats,
            "image_max_tokens": llm.part.image_max_tokens,
            "pictures": costs,
        }

    def _format(self, name: str, engines: Engines, cache: Path) -> dict[str, float]:
        """Medians over new photos of one format, each asked about in turn by all."""
        album = draw_album(7, Recipe(concepts=_K, scenes=self._rounds, size_wh=FORMATS[name]))
        engines.ours.prepare([Picture(pupil.drawing.pixels) for pupil in album.pupils])
        engines.ours.choose(asked(album, None, QUESTIONS[0]))  # code and system text are warm, not the photos
        rounds = []
        for row in range(self._rounds):
            self._progress(f"photos, {name}", row, self._rounds)
            rounds.append(self._round([asked(album, row, words) for words in QUESTIONS], engines, cache))
        self._progress(f"photos, {name}", self._rounds, self._rounds)
        return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}

    def _round(self, asked: Sequence[list[Turn]], engines: Engines, cache: Path) -> dict[str, float]:
        """One new photo: milliseconds to the first token, by name; and ours by theirs."""
        stock_first = engines.stock.ask(asked[0])
        first = _answered(engines.ours, asked[0])
        second = _answered(engines.ours, asked[1])
        stock_second = engines.stock.ask(asked[1])
        started = time.perf_counter()
        with WorkerLlm(self._part, self._device, cache) as other:
            load_ms = 1e3 * (time.perf_counter() - started)
            third = _answered(other, asked[2])
        found = {
            "first_question_ratio": first["first_token"] / stock_first.first_ms,
            "second_question_ratio": second["first_token"] / stock_second.first_ms,
            "new_process_ratio": third["first_token"] / stock_first.first_ms,
            "first_ms": first["first_token"],
            "encode_ms": first["encode"],
            "prefill_ms": first["prefill"],
            "second_ms": second["first_token"],
            "load_ms": load_ms,  # of a new process
            "third_ms": third["first_token"],  # there, without loading
            "stock_first_ms": stock_first.first_ms,
            "stock_encode_ms": stock_first.encode_ms,
            "stock_prefill_ms": stock_first.first_ms - stock_first.encode_ms,
            "stock_second_ms": stock_second.first_ms,
            "encodes": first["encodes"],
            "prompt_tokens": first["prompt"],
            "stock_prompt_tokens": stock_first.tokens,
        }
        return found | _by_transformers(engines.checkpoint, asked, found)

    def _decode(self, llm: Llm, checkpoint: Checkpoint | None) -> dict[str, float]:
        """Tokens a second, in turn with a bare loop."""
        album = draw_album(7, Recipe(concepts=_K, scenes=1))
        turns = asked(album, None, QUESTIONS[0])
        rounds: list[dict[str, float]] = []
        crowd = _crowd()
        for row in range(2 * self._rounds + 1):
            plain, named = (_tokens_s(llm, turns, names) for names in ((), crowd))
            bare = 1 / llm.bare_seconds(turns, _DECODED)
            if row and plain and named:
                rounds.append(
                    {
                        "decode_ratio": plain / bare,
                        "decode_named_ratio": named / bare,
                        "decode_tokens_s": plain,
                        "decode_named_tokens_s": named,
                        "bare_tokens_s": bare,
                    }
                )
                if checkpoint:
                    rounds[-1]["transformers_tokens_s"] = checkpoint.ask(turns, _DECODED).tokens_s
        return {key: statistics.median(row[key] for row in rounds) for key in (rounds[0] if rounds else ())}

    def memory(self) -> dict[str, float]:
        """What the budget tells against what a real question takes, of all processes together."""
        found: dict[str, float] = {}
        for key in _MEMORY:
            self._progress("memory", len(found) // 3, len(_MEMORY))
            held = measured(self._bundle, self._device, _MEMORY_PHOTOS, worker=bool(key))
            found[f"{key}memory_told_mb"] = held.told_bytes / MIB
            found[f"{key}memory_peak_mb"] = held.peak_bytes / MIB
            found[f"{key}memory_ratio"] = held.told_bytes / held.peak_bytes
        self._progress("memory", len(_MEMORY), len(_MEMORY))
        return found

    def _cost(self, llm: Llm, size_wh: tuple[int, int]) -> tuple[int, int]:
        cost = llm.cost(Picture(np.zeros((size_wh[1], size_wh[0], 3), np.uint8)))
        return cost.encodes, cost.tokens


def asked(album: Album, row: int | None, question: str) -> list[Turn]:
    """A question as `kinsight ask` puts it: system, photo, references, facts, question."""
    concepts = [Concept(number, pupil.name, info=pupil.info) for number, pupil in enumerate(album.pupils, 1)]
    references = [
        Reference(number, concept, pupil.drawing.pixels)
        for number, (concept, pupil) in enumerate(zip(concepts, album.pupils, strict=True), 1)
    ]
    photo = None if row is None else album.queries[row].drawing.pixels
    facts = f"{prompt.joined([concept.name for concept in concepts])} are in the photo."
    return prompt.turns(prompt.opening(photo, references), [], prompt.asking(question, [], facts))


def _tokens_s(llm: Llm, turns: list[Turn], banned: tuple[str, ...]) -> float:
    """Of one answer, after its first token; 0 where there was no other."""
    stream = llm.generate(turns, Generation(max_tokens=_DECODED, banned=banned))
    "".join(stream)
    return 1e3 * (stream.usage.tokens["answer"] - 1) / (stream.usage.timings_ms["decode"] or 1)


def _crowd() -> tuple[str, ...]:
    """Made-up names of a word or two."""
    names = (*all_names(held_out=False), *all_names(held_out=True))
    pairs = np.random.default_rng(0).integers(len(names), size=(2 * _NAMES, 2))
    made = (f"{names[one]}{'' if one % 8 else ' '}{names[other].lower()}" for one, other in pairs)
    return tuple(islice(dict.fromkeys(made), _NAMES))


def missed(result: Mapping[str, Any]) -> list[str]:
    """Every figure that misses its line, in words; one that was not measured misses it too."""
    most = result["image_max_tokens"]
    found = _off(result, {*MOST, *LEAST})
    return found + [
        f"a picture of {width} x {height} takes {tokens} tokens in {encodes} encodes, not at most {most}"
        for width, height, encodes, tokens in result["pictures"]
        if tokens > most
    ]


def memory_missed(result: Mapping[str, Any]) -> list[str]:
    """As `missed`, of the memory alone."""
    return _off(result, {f"{key}memory_ratio" for key in _MEMORY})


def _off(result: Mapping[str, Any], keys: set[str]) -> list[str]:
    """Which of these figures miss their lines, in words."""
    return [
        f"{words} is {result.get(key, float('nan')):.4f}, not {how} {line}"
        for how, lines in (("at most", MOST), ("at least", LEAST))
        for key, (line, words) in lines.items()
        if key in keys
        and not (result.get(key, -1) >= line if lines is LEAST else 0 < result.get(key, -1) <= line)
    ]


def engine_lines(result: dict[str, Any]) -> list[str]:
    """The figures as a table in words."""
    lines = [f"{'milliseconds':<32}" + "".join(f"{name:>12}" for name in result["formats"])]
    rows = {key: words for key, words in _ROWS.items() if key in result["formats"]["square"]}
    for key, words in rows.items():
        form = "12.4f" if key.endswith("_ratio") else "12.0f"
        lines.append(f"{words:<32}" + "".join(f"{row[key]:{form}}" for row in result["formats"].values()))
    if "decode_ratio" in result:
        lines.append(f"decoding in a bare loop: {result['bare_tokens_s']:.1f} tokens/s")
        for key, words in {"decode": "", "decode_named": f", {_NAMES:,} names banned"}.items():
            speed, ratio = result[f"{key}_tokens_s"], result[f"{key}_ratio"]
            lines.append(f"decoding{words}: {speed:.1f} tokens/s ({ratio:.3f})")
    if "transformers_tokens_s" in result:
        lines.append(
            f"transformers, in {result['transformers_dtype']}: {result['transformers_tokens_s']:.1f} tokens/s"
        )
    lines += memory_lines(result)
    for width, height, encodes, tokens in result["pictures"]:
        of = f"of {result['image_max_tokens']}"
        lines.append(f"a picture of {width} x {height}: {encodes} encodes, {tokens} tokens {of}")
    return lines


def memory_lines(result: Mapping[str, Any]) -> list[str]:
    """The memory in words."""
    lines = []
    for key, words in {"": "", "worker_": ", in a worker"}.items():
        told, peak, ratio = (result[f"{key}memory_{what}"] for what in ("told_mb", "peak_mb", "ratio"))
        lines.append(f"memory of a question{words}: {told:.0f} MiB told, {peak:.0f} at most ({ratio:.2f})")
    return lines


def _by_transformers(
    checkpoint: Checkpoint | None, asked: Sequence[list[Turn]], ours: Mapping[str, float]
) -> dict[str, float]:
    """The same two questions there; nothing where nobody asked for it."""
    if checkpoint is None:
        return {}
    first, second = checkpoint.ask(asked[0]), checkpoint.ask(asked[1])
    return {
        "transformers_first_ratio": ours["first_ms"] / first.first_ms,
        "transformers_second_ratio": ours["second_ms"] / second.first_ms,
        "transformers_first_ms": first.first_ms,
        "transformers_encode_ms": first.encode_ms,
        "transformers_prefill_ms": first.first_ms - first.encode_ms,
        "transformers_second_ms": second.first_ms,
        "transformers_prompt_tokens": first.tokens,
    }


def _answered(llm: Llm | WorkerLlm, turns: list[Turn]) -> dict[str, float]:
    """Timings, encodes and tokens up to the first token."""
    stream = llm.generate(turns, Generation(max_tokens=1))
    "".join(stream)
    usage = stream.usage
    return {**usage.timings_ms, **usage.tokens, "encodes": usage.encodes}
