"""A conversation about a photo, or about what was told: every answer is held to what recall decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kinsight import prompt
from kinsight.image import thumbnail
from kinsight.llm import Generation, Turn, Usage
from kinsight.prompt import Asked, Facts, Parts, Reference
from kinsight.types import Answer, Concept, Photo, Pixels, Scene

if TYPE_CHECKING:
    from kinsight.assistant import Assistant

ANSWER_TOKENS = 160
CAPTION_TOKENS = 80
LLM_PHOTO_LONGEST = 1024
BLIND = "More I cannot tell: the language model of this bundle does not see pictures."


@dataclass(frozen=True)
class Grounds:
    """What one answer rests on."""

    question: str
    asked: Asked
    in_photo: tuple[Concept, ...]  # accepted
    named: tuple[Concept, ...]  # asked about and not in the photo
    facts: Facts | None  # None without a photo
    facts_words: str  # what the model is told of them
    plain: str  # the answer in plain words
    forbidden: tuple[str, ...]  # names that the answer must not use

    @property
    def listed(self) -> tuple[Concept, ...]:
        """Whose records the model is given."""
        return (*self.in_photo, *self.named)


class Chat:
    """Keeps photo, references and turns; `stream` yields the words of an answer, `ask` gives it whole."""

    def __init__(self, assistant: Assistant, scene: Scene | None) -> None:
        self.scene = scene
        self.last = Answer("", "", ())  # the answer that was streamed last, whole
        self.note = ""  # on how the last answer was made, where that is worth a word
        self._assistant = assistant
        self._history: list[tuple[Parts, str]] = []
        self._about: tuple[Concept, ...] = ()  # whom the talk is about, for "where is she?"

    def ask(self, question: str) -> Answer:
        """The whole answer. Raises ModelError or MissingPackage where there is no language model."""
        for _ in self.stream(question):
            pass
        return self.last

    def caption(self) -> Answer:
        """One sentence on the photo, with the names of those in it."""
        for _ in self._answer(self._grounds(prompt.CAPTION, Asked("who", ())), CAPTION_TOKENS):
            pass
        return self.last

    def stream(self, question: str) -> Iterator[str]:
        """Yields the answer in pieces; the whole is in `last` afterwards.

        Where the facts decide the answer (who, where, whether), or the model does not see the photo, the
        answer is checked before its first word is given out.
        """
        known = self._assistant.store.concepts()
        asked = prompt.read(question, known)
        if not asked.concepts:
            asked = Asked(asked.kind, self._meant(question) or prompt.about(question, known))
        self._about = asked.concepts or self._about
        yield from self._answer(self._grounds(question, asked), ANSWER_TOKENS)

    def _meant(self, question: str) -> tuple[Concept, ...]:
        """Whom a pronoun means: the one talked about last, else the only one in the photo."""
        if not prompt.means_someone(question):
            return ()
        present = [] if self.scene is None else [match.concept for _, match in self.scene.accepted()]
        return self._about or tuple(
            self._assistant.store.concept(name) for name in present[:1] if len(present) == 1
        )

    def _grounds(self, question: str, asked: Asked) -> Grounds:
        known = self._assistant.store.concepts()
        names = [name for concept in known for name in concept.names]
        if self.scene is None:
            forbidden = tuple(prompt.forbidden_names(known, None, asked))
            return Grounds(
                question,
                asked,
                (),
                asked.concepts,
                None,
                "",
                prompt.told_words(question, asked.concepts),
                forbidden,
            )
        facts = prompt.facts_of(self.scene, known)
        in_photo = tuple({seen.concept.id: seen.concept for seen in facts.accepted}.values())
        plain = prompt.scene_words(question, facts, asked, names)
        if self._blind and asked.kind == "other" and not any(concept.info for concept in asked.concepts):
            plain = f"{plain} {BLIND}"
        return Grounds(
            question,
            asked,
            in_photo,
            tuple(concept for concept in asked.concepts if concept not in in_photo),
            facts,
            prompt.facts_words(facts, asked, names),
            plain,
            tuple(prompt.forbidden_names(known, facts, asked)),
        )

    def _answer(self, grounds: Grounds, max_tokens: int) -> Iterator[str]:
        self.note = ""
        if grounds.facts is None and not grounds.listed and grounds.asked.kind != "other":
            self._keep(grounds, (), grounds.plain, Usage())
            yield grounds.plain
            return
        parts = prompt.asking(grounds.question, self._references(grounds), grounds.facts_words)
        stream = self._assistant.llm.generate(
            self._fitting(grounds, parts, max_tokens), Generation(max_tokens, banned=grounds.forbidden)
        )
        pieces = []
        checked = grounds.asked.kind != "other" or self._blind
        for piece in stream:
            pieces.append(piece)
            if not checked:
                yield piece
        text = "".join(pieces).strip()
        fault = self._fault(text, grounds) if checked or not text else ""
        if fault:
            self.note = f"in plain words, since the model's own answer was no good: {fault}"
        final = grounds.plain if fault else text
        self._keep(grounds, parts, final, stream.usage)
        if checked or fault:
            yield final

    def _fault(self, text: str, grounds: Grounds) -> str:
        """Why an answer must not be given, in words; "" where it may."""
        if grounds.facts is not None:
            fault = prompt.fault(text, grounds.facts, grounds.asked, grounds.forbidden)
        elif grounds.listed:
            fault = "it denies" if prompt.denies(text) != prompt.denies(grounds.plain) else ""
        else:
            return ""
        if fault or not self._blind:
            return fault
        told = prompt.told(grounds.listed, grounds.facts_words, grounds.question)
        if added := prompt.made_up(text, told):
            return f"it adds {', '.join(added[:3])}"
        unused = prompt.unused(text, grounds.question, grounds.named) if grounds.facts is None else []
        return f"it leaves out what was told about {', '.join(unused)}" if unused else ""

    @property
    def _blind(self) -> bool:
        part = self._assistant.bundle.llm
        return part is None or part.sees == "nothing"

    def _references(self, grounds: Grounds) -> list[Reference]:
        """The references that only this question names, as words."""
        first = len(grounds.in_photo) + 1
        return [Reference(number, concept) for number, concept in enumerate(grounds.named, first)]

    def _opening(self, grounds: Grounds) -> Parts:
        """Photo and those in it, with pictures as far as the model sees them."""
        part = self._assistant.bundle.llm
        sees = "nothing" if part is None else part.sees
        pictured = part.max_references if part and sees == "photo+references" else 0
        references = [
            Reference(
                number, concept, self._assistant.reference_picture(concept) if number <= pictured else None
            )
            for number, concept in enumerate(grounds.in_photo, 1)
        ]
        photo = for_llm(self.scene.photo) if self.scene and sees != "nothing" else None
        return prompt.opening(photo, references)

    def _fitting(self, grounds: Grounds, question: Parts, max_tokens: int) -> list[Turn]:
        """The turns that fit the model's context: the oldest ones are dropped first."""
        llm, opened = self._assistant.llm, self._opening(grounds)
        turns = prompt.turns(opened, self._history, question)
        while self._history and llm.count(turns) + max_tokens > llm.part.context:
            self._history.pop(0)
            self.note = "the oldest turns were dropped: the talk has grown longer than the model's context"
            turns = prompt.turns(opened, self._history, question)
        return turns

    def _keep(self, grounds: Grounds, parts: Parts, text: str, usage: Usage) -> None:
        used = tuple(concept.name for concept in grounds.listed)
        self.last = Answer(grounds.question, text, used, self.scene, usage.tokens, usage.timings_ms)
        if parts:
            self._history.append((parts, text))


def for_llm(photo: Photo) -> Pixels:
    """The photo as the language model gets it, uint8 (h, w, 3) RGB, at most 1024 pixels long."""
    return thumbnail(photo.pixels, LLM_PHOTO_LONGEST)
