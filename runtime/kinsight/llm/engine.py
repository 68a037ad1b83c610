"""The language model as the rest of kinsight sees it: turns in, an answer out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinsight.closing import Closing
from kinsight.errors import ModelError, TooLong
from kinsight.llm.answer import AnswerText, is_loop
from kinsight.llm.bare import bare_decode
from kinsight.llm.blobs import Blobs
from kinsight.llm.context import Context
from kinsight.llm.judging import YES_NO, Choices, Judge, Score
from kinsight.llm.memory import ALONE, Beside, Held, check_memory, kept_bytes, peak_bytes
from kinsight.llm.model import Model
from kinsight.llm.native import MEND_FILE, PACKAGE, check_installed, library
from kinsight.llm.picking import Picker
from kinsight.llm.pictures import PictureCost
from kinsight.llm.spans import PictureSpan, Prompt
from kinsight.llm.stream import CancelledError, OneAtATime, Stream, Tally
from kinsight.llm.template import SAMPLE, ChatTemplate
from kinsight.llm.turns import Control, Generation, Part, Picture, Text, Turn
from kinsight.llm.vision import VisionEncoder
from kinsight.llm.vocabulary import utf8

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart
    from kinsight.config import DeviceConfig

_LONGEST_TOKEN = 64  # bytes on average over a prompt: no tokeniser comes near
PICTURES_DISK, STATES_DISK = 256 << 20, 512 << 20  # bytes
_GREEDY = Generation()
_BLIND = "this bundle's language model sees no pictures", "use a bundle whose [llm] has an mmproj"
_MEND_LENGTH = "shorten the texts, use fewer references or pictures, or raise context in the bundle's [llm]"


def load_llm(part: LlmPart, device: DeviceConfig, cache: Path | None = None, beside_bytes: int = 0) -> Llm:
    """Loads a bundle's language model and, where it sees, its picture encoder.

    `cache` is a folder for what the next process can use again: embeddings of pictures, and the model's
    state after photo and references. Raises MissingPackage without llama-cpp-python, ModelError where a file
    or the memory does not do; more than the device config allows is refused before anything is loaded. What
    this process holds counts, so what else it is to load comes first; and so does `beside_bytes`, of the
    process that asks, where that is another one.
    """
    library()  # without it nothing below matters
    return Llm(_capped(part, device), device, cache, beside_bytes)


def check_llm(part: LlmPart, device: DeviceConfig, beside: Beside = ALONE) -> None:
    """Raises what loading would raise at once, and loads nothing: for those who do other things before.

    What these take is in `beside`, as far as it can be told; loading counts it once it is there.
    """
    check_installed()
    check_memory(_capped(part, device), device, beside)


def _capped(part: LlmPart, device: DeviceConfig) -> LlmPart:
    """A picture costs what both bundle and device allow."""
    if not part.image_max_tokens or not device.image_max_tokens:
        return part
    return replace(part, image_max_tokens=min(part.image_max_tokens, device.image_max_tokens))


class Llm(Closing):
    """A language model that answers turns; born ready, a context manager that gives its memory back."""

    def __init__(
        self, part: LlmPart, device: DeviceConfig, cache: Path | None = None, beside_bytes: int = 0
    ) -> None:
        library()
        self._told_bytes = check_memory(part, device, Beside(asks=beside_bytes)).total
        self.part = part
        self._turn = OneAtATime()
        self._model = Model(part, device)
        self._words = words = self._model.vocabulary
        self._template = ChatTemplate(words.chat_template, words.bos, words.eos, words.adds_bos)
        words.reserve(piece for piece in self._template.parts(SAMPLE) if isinstance(piece, Control))
        sees = part.mmproj is not None and part.sees != "nothing"
        pictures, states = kept_bytes(part, device)
        self._pictures = Blobs(cache and cache / "pictures", pictures, PICTURES_DISK)
        self._states = Blobs(cache and cache / "states", states, STATES_DISK)
        identity = identity_of(part, device)
        self._vision = VisionEncoder(part, self._model, device, self._pictures, identity) if sees else None
        self._context = Context(self._model, self._vision, self._states, identity)

    def close(self) -> None:
        """Gives all memory back, after an answer that another thread is reading; harmless when done twice."""
        with self._turn.over():
            if self._vision:
                self._vision.close()
            self._model.close()

    @property
    def threads(self) -> int:
        """On which it computes."""
        return self._model.threads

    @property
    def encodes(self) -> int:
        """Pictures and tiles that were encoded so far."""
        return self._vision.encodes if self._vision else 0

    def count(self, turns: Sequence[Turn]) -> int:
        """Tokens that these turns take as a prompt, pictures included. Raises as `generate` does."""
        prompt = self._prompt(turns)
        prompt.close()
        return len(prompt)

    def prepare(self, pictures: Sequence[Picture]) -> int:
        """Encodes the pictures that are not known yet, so that no question waits for it; gives their number.

        Raises ModelError where this model sees no pictures or one of them cannot be encoded.
        """
        if self._vision is None:
            raise ModelError(*_BLIND)
        with self._turn.alone(), self._caches():
            self._check_open()
            known = self._vision.encodes
            with closing(self._vision.prompt(pictures)) as prompt:
                for span in prompt.spans:
                    if isinstance(span, PictureSpan):
                        self._vision.embeddings(span)
            return self._vision.encodes - known

    def generate(self, turns: Sequence[Turn], options: Generation = _GREEDY) -> Stream:
        """An answer that comes as its stream is iterated, free of control tokens and stop strings.

        Raises TooLong at once where the turns and `options.max_tokens` do not fit into the context,
        ModelError where there is a picture but no picture encoder, and where the template refuses the turns.
        """
        tally = Tally()
        picker = Picker(self._words, options)
        tally.withheld = picker.withheld
        with tally.timed("first_token"):
            prompt = self._fitting_prompt(turns, options.max_tokens, tally)
        return Stream(self._answer(prompt, options, picker, tally), tally)

    def answer_json(
        self, turns: Sequence[Turn], schema: Mapping[str, Any], options: Generation = _GREEDY
    ) -> Any:
        """What the model answers in the form of a JSON schema, parsed.

        Raises ModelError as `generate` does, where the schema cannot be used, and where the answer is longer
        than `options.max_tokens`.
        """
        stream = self.generate(turns, replace(options, schema=schema))
        text = "".join(stream)
        try:
            return json.loads(text, strict=False)  # the grammar lets control characters pass
        except ValueError as error:
            problem = f"the answer is no whole JSON after {stream.usage.tokens['answer']} tokens"
            raise ModelError(problem, "allow more tokens, or limit the lengths in the schema") from error

    def choose(self, turns: Sequence[Turn], choices: Sequence[str] = YES_NO) -> Choices:
        """Which of some choices the answer begins with, and how likely, without writing it.

        All ways to spell a choice count: upper and lower case, with a space in front or not, and however it
        is cut into tokens. Raises ModelError as `generate` does.
        """
        if not choices or not all(choice.strip() for choice in choices):
            raise ValueError(f"expected one choice or more, none of them empty, got {choices}")
        tally = Tally()
        with self._judge(turns, max(map(len, choices)), tally) as judge:
            found = judge.choices(choices)
        covered = sum(found.values())
        shares = {choice: share / covered if covered else 1 / len(found) for choice, share in found.items()}
        return Choices(shares, covered, tally.usage)

    def score(self, turns: Sequence[Turn], texts: Sequence[str]) -> tuple[Score, ...]:
        """How likely the answer begins with each of these texts. Raises ModelError as `generate` does."""
        room = max((len(self._words.tokens(Text(text))) for text in texts), default=0)
        with self._judge(turns, room, Tally()) as judge:
            return tuple(judge.score(text) for text in texts)

    def cost(self, picture: Picture) -> PictureCost:
        """What a picture of this size takes, whatever it shows. ModelError where it cannot be given."""
        if self._vision is None:
            raise ModelError(*_BLIND)
        layout = self._vision.layouts.of(picture.pixels)
        return PictureCost(len(layout.slots), layout.tokens)

    def memory(self) -> Held:
        """What was told before the model was loaded, and the most that this process ever took."""
        return Held(self._told_bytes, peak_bytes())

    def bare_seconds(self, turns: Sequence[Turn], tokens: int) -> float:
        """For a token of an answer, where llama.cpp is called in a bare loop: to measure this class by."""
        tally = Tally()
        prompt = self._fitting_prompt(turns, tokens, tally)
        with self._turn.alone(), closing(prompt):
            return bare_decode(self._model, self._context, prompt, tokens)

    @contextmanager
    def _judge(self, turns: Sequence[Turn], room_tokens: int, tally: Tally) -> Iterator[Judge]:
        with tally.timed("first_token"):
            prompt = self._fitting_prompt(turns, room_tokens, tally)
        with self._turn.alone(), closing(prompt), self._caches():
            with tally.timed("first_token"):
                self._check_open()
                self._context.read(prompt, tally)
            yield Judge(self._model, self._context, prompt, tally)

    def _fitting_prompt(self, turns: Sequence[Turn], room_tokens: int, tally: Tally) -> Prompt:
        """Raises TooLong where prompt and answer do not fit into the context together."""
        prompt = self._prompt(turns)
        if len(prompt) + room_tokens > self.part.context:
            prompt.close()
            problem = f"the prompt takes {len(prompt)} tokens and the answer up to {room_tokens}"
            raise TooLong(f"{problem}, but only {self.part.context} fit", _MEND_LENGTH)
        if not prompt.ends_in_text:
            prompt.close()
            raise ModelError("the chat template of this model ends a prompt in no text", MEND_FILE)
        tally.tokens["prompt"] = len(prompt)
        return prompt

    @contextmanager
    def _caches(self) -> Iterator[None]:
        """What was computed meanwhile is written down afterwards."""
        try:
            yield
        finally:
            self._pictures.flush()
            self._states.flush()

    def _prompt(self, turns: Sequence[Turn]) -> Prompt:
        self._check_open()
        parts = self._template.parts(turns)
        self._check_bytes(parts)
        parts = [piece for part in parts for piece in self._words.plain(part)]
        if self._vision:
            return self._vision.prompt(parts)
        words = [part for part in parts if not isinstance(part, Picture)]
        if len(words) < len(parts):
            raise ModelError(*_BLIND)
        return Prompt([self._words.span(part) for part in words])

    def _check_open(self) -> None:
        if self._model.closed:
            raise ModelError("this language model was closed", "load it again")

    def _check_bytes(self, parts: Sequence[Part]) -> None:
        """Refuses what cannot fit before a tokeniser's regular expressions run over megabytes."""
        size = sum(len(utf8(part.text)) for part in parts if isinstance(part, Text))
        if size > self.part.context * _LONGEST_TOKEN:
            problem = f"the prompt has {size} bytes of text, but only {self.part.context} tokens fit"
            raise TooLong(problem, _MEND_LENGTH)

    def _answer(
        self, prompt: Prompt, options: Generation, picker: Picker, tally: Tally
    ) -> Generator[str, None, None]:
        """The text of an answer, fit to be shown."""
        with self._turn.alone(), closing(prompt), self._caches():
            text = AnswerText((*self.part.stop, *self._template.stop, *options.stop))
            with suppress(CancelledError):
                for data in self._pieces(prompt, options.max_tokens, picker, tally):
                    if shown := text.feed(data):
                        yield shown
                    if text.stopped:
                        tally.ended = "stop"
                        return
                if rest := text.finish():
                    yield rest

    def _pieces(self, prompt: Prompt, max_tokens: int, picker: Picker, tally: Tally) -> Iterator[bytes]:
        """The bytes of token after token, until the model, the length or a loop ends them."""
        tokens: list[int] = []
        with tally.timed("first_token"):
            self._check_open()
            self._context.read(prompt, tally)
            token = picker.pick(self._model.logits())
        while not self._words.ends(token):
            tokens.append(token)
            tally.tokens["answer"] = len(tokens)
            yield self._words.piece(token)
            if len(tokens) == max_tokens or is_loop(tokens):
                tally.ended = "length" if len(tokens) == max_tokens else "repetition"
                return
            tally.check()
            with tally.timed("decode"):
                self._check_open()
                self._context.add([token])
                token = picker.pick(self._model.logits())
        tally.ended = "stop"


def identity_of(part: LlmPart, device: DeviceConfig) -> str:
    """Of everything that embeddings and states depend on beside what was read: files, settings, versions."""
    files = [file for file in (part.file, part.mmproj) if file]
    hashes = [part.sha256, part.mmproj_sha256 or ""]
    stamps = [f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    settings = part.context, part.image_max_tokens, device.kv_type, device.flash_attention, device.gpu_layers
    words = f"{PACKAGE} {settings} {hashes} {stamps}"
    return hashlib.sha256(words.encode()).hexdigest()
