"""The fixed inputs of the gate, and what the source says to them: asked once for all files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kinsight.bundle import Preprocess
from kinsight.errors import ConfigError
from kinsight.image.resize import prepare
from kinsight.llm import Part, Picture, Text, Turn
from kinsight.types import Floats, Pixels
from kinsight_export.mllm.device import Device, Reading
from kinsight_export.mllm.manners import other_ends, other_template
from kinsight_export.mllm.source import Normalisation, Source

WORDS = (
    "Lala is a dog.",
    " two  spaces ",
    "a\n\nb\n",
    "日本語とひらがな",
    "😀 ok, naïve café",
    "1234 + 5.67 = 1239.67",
    "don't we'll I'd THEY'RE",
    "e\u0301\t\u200b\u00a0x",
    "def f(x):\n    return x ** 2  # two",
)
"""On which the tokenisers are compared: what regular expressions and byte fallbacks differ in."""
TEXT = (
    "Lala is a small brown dog with one white ear. She came to us in the spring of 2019, when the "
    "river had flooded the lower garden and nobody wanted to go out. At first she hid behind the blue "
    "armchair and came out only at night, to drink and to look at the clock in the hall. It took "
    "three weeks until she let me touch her. Now she sleeps at the foot of the bed, and when it "
    "thunders she climbs in. Every morning at seven we walk along the canal to the bakery, where Mr. "
    "Tanaka gives her the crust of yesterday's bread. She is afraid of two things: of umbrellas, and "
    "of the red tram. On the shelf above her basket stands my grandmother's mug, which I call Momo; "
    "it has a chip in the handle and a picture of a lighthouse. If you see them together in a photo, "
    "then the photo was taken in the kitchen, most likely on a Sunday."
)
"""On which perplexity is measured; written for this."""
_QUESTIONS = (
    "Who is in this photo?",
    "Where is Lala, and what is she doing?",
    "Is Momo in the first picture?",
    "Describe both pictures in one sentence.",
)
_SYSTEM = Text("You know the people and things of one household. Answer in one short sentence.")


@dataclass(frozen=True)
class Prompt:
    """One question about two pictures."""

    question: str
    pictures: tuple[Pixels, Pixels]

    @property
    def turns(self) -> list[Turn]:
        """As kinsight asks: system, photo, reference, question."""
        photo, reference = (Picture(pixels) for pixels in self.pictures)
        seen = (photo, Text("This is Lala: "), reference, Text(self.question))
        return [Turn("system", (_SYSTEM,)), Turn("user", seen)]

    @property
    def swapped(self) -> Prompt:
        """The same with its pictures exchanged."""
        first, second = self.pictures
        return Prompt(self.question, (second, first))


@dataclass(frozen=True, eq=False)
class Answers:
    """What the source says: its logits, its pictures' embeddings, and where it reads other tokens."""

    name: str  # of the source, in words
    prompts: tuple[Prompt, ...]
    logits: tuple[Floats, ...]  # float32 (tokens, vocabulary) of every prompt, then of TEXT; none if unlike
    embeddings: tuple[Floats, ...]  # float32 (tokens, width) of the first picture of every prompt
    other_words: tuple[str, ...]  # each text that both sides read as other tokens, in words
    other_template: str  # how both write a conversation otherwise, in words; "" where they do not
    other_ends: tuple[str, ...]  # each token at which one of both alone ends an answer, in words
    normalisation: Normalisation
    turned: tuple[Floats, Floats]  # float32 (tokens, width): red and blue exchanged before and after the mean
    adapter_effect: float | None  # the largest change of a logit by the adapter; None without one


def prompts_of(source: Source, pictures: Sequence[Pixels]) -> tuple[Prompt, ...]:
    """The questions, each about two pictures of the size that nobody has to resize.

    ConfigError where there are fewer than two pictures.
    """
    if len(pictures) < 2:
        raise ConfigError("there are not two photos to compare on", "give a folder with more photos")
    alike = [framed(pixels, source.frame.size_wh) for pixels in pictures]
    pairs = zip(alike[::2], alike[1::2], strict=False)
    return tuple(Prompt(question, pair) for question, pair in zip(_QUESTIONS, pairs, strict=False))


def answers_of(source: Source, device: Device, prompts: tuple[Prompt, ...]) -> Answers:
    """Asks the source what the device was asked; the device says which tokens and pictures it reads.

    Where both read other tokens, or other numbers of rows a picture, there is nothing to compare logits on.
    """
    plain: tuple[Reading, tuple[Pixels, ...]] = (device.read([Text(TEXT)]), ())
    embeddings = tuple(source.embeddings(prompt.pictures[0]) for prompt in prompts)
    others = tuple(_other_words(source, device, prompts[0]))
    logits: list[Floats] = []
    readings = [(device.read(device.template.parts(prompt.turns)), prompt.pictures) for prompt in prompts]
    rows = {len(tile.embeddings) for reading, _ in readings for tile in reading.tiles}
    if not others and rows == {len(each) for each in embeddings}:
        logits = [source.logits(reading, pictures) for reading, pictures in (*readings, plain)]
    other, numbers = prompts[0].pictures[0][..., ::-1], source.normalisation
    turned = source.embeddings(other), source.embeddings(other, numbers.turned)
    name = f"{source.folder.resolve().name} in torch"
    return Answers(
        name,
        prompts,
        tuple(logits),
        embeddings,
        others,
        other_template(source, device),
        tuple(other_ends(source, device)),
        source.normalisation,
        turned,
        adapter_effect=source.adapter_effect(plain[0]) if source.adapted and logits else None,
    )


def framed(pixels: Pixels, size_wh: tuple[int, int]) -> Pixels:
    """uint8 (height, width, 3) of that size, its proportions not kept."""
    floats, _ = prepare(pixels, Preprocess(size_wh, "rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "stretch"))
    framed: Pixels = floats.transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8)
    return framed


def _other_words(source: Source, device: Device, prompt: Prompt) -> Iterator[str]:
    """Texts, and pieces of the chat template, that both sides read as other tokens."""
    parts: list[Part] = [*map(Text, WORDS), Text(TEXT), *device.template.parts(prompt.turns)]
    for part in parts:
        if not isinstance(part, Picture):
            theirs, ours = source.tokens(part), device.words.tokens(part)
            if theirs != ours:
                yield f"{part.text[:40]!r} is read as {_few(ours)} instead of {_few(theirs)}"


def _few(tokens: Sequence[int]) -> str:
    return f"{list(tokens[:6])}{' ...' if len(tokens) > 6 else ''}"
