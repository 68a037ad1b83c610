"""A conversation about a photo, or about what was told: every answer is held to what recall decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kinsight import prompt
from kinsight.errors import TooLong
from kinsight.image import thumbnail
from kinsight.llm import Generation, Stream, Turn, Usage
from kinsight.prompt import Asked, Facts, Parts, Reference
from kinsight.types import Answer, Concept, Photo, Pixels, Scene

if TYPE_CHECKING:
    from kinsight.assistant import Assistant

ANSWER_TOKENS = 160
SHORT_ANSWER_TOKENS = 64
"""For who, where and whether, and for captions."""
SPARE = 0.25
"""Of the context, left free where turns have to be dropped."""
LLM_PHOTO_LONGEST = 1024
BROKEN = "\ufffd"
"""Stands where bytes are no whole character."""
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
    free: tuple[str, ...]  # names that the answer may use
    forbidden: tuple[str, ...]  # names that it must not use

    @property
    def listed(self) -> tuple[Concept, ...]:
        """Whose records the model is given."""
        return (*self.in_photo, *self.named)

    @cached_property
    def words(self) -> str:
        """All that the model is told."""
        return prompt.told(self.listed, self.facts_words, self.question)

    @cached_property
    def told(self) -> bool:
        """Whether a sentence of those records fits the question."""
        return any(prompt.fitting_sentence(self.question, concept) for concept in self.listed)

    @cached_property
    def told_of_the_asked(self) -> bool:
        """Whether a sentence about somebody who is asked about fits the question."""
        return any(prompt.fitting_sentence(self.question, concept) for concept in self.asked.concepts)

    @cached_property
    def banned(self) -> tuple[str, ...]:
        """The forbidden names that are no part of a free one: a ban of "Ann" would forbid "Ann Lee" too."""
        return tuple(
            name
            for name in self.forbidden
            if not any(prompt.wrong_names(free, (), (name,)) for free in self.free)
        )


class Chat:
    """Keeps photo, references and turns; `stream` yields the words of an answer, `ask` gives it whole."""

    def __init__(self, assistant: Assistant, scene: Scene | None) -> None:
        self.scene = scene
        self.last = Answer("", "", ())  # the answer that was streamed last, whole
        self.note = ""  # on how the last answer was made, where that is worth a word
        self.plain = False  # whether it is in plain words, for want of a good one of the model's own
        self._assistant = assistant
        self._history: list[tuple[Parts, str]] = []
        self._scaled: tuple[str, Pixels] | None = None  # sha256 of the photo, and what the model gets of it
        self._about: tuple[int, ...] = ()  # ids of whom the talk is about, for "where is she?"

    def wake(self) -> None:
        """Loads the language model, for which the first question would wait. Raises as `ask` does."""
        _ = self._assistant.llm

    def ask(self, question: str) -> Answer:
        """The whole answer. Raises ModelError or MissingPackage where there is no language model."""
        for _ in self.stream(question):
            pass
        return self.last

    def caption(self) -> Answer:
        """One sentence on the photo, with the names of those in it."""
        grounds = self._grounds(prompt.CAPTION, Asked("caption", ()), self._known())
        for _ in self._answer(grounds):
            pass
        return self.last

    def stream(self, question: str) -> Iterator[str]:
        """Yields the answer in pieces; the whole is in `last` afterwards.

        Where the facts decide the answer (who, where, whether), or the model does not see the photo, the
        answer is checked before its first word is given out.
        """
        known = self._known()
        asked = prompt.read(question, known)
        if not asked.concepts:
            asked = Asked(asked.kind, self._meant(question, known))
        if not asked.concepts and self.scene is None:
            about = prompt.told_about(question, known) if asked.kind in ("other", "who") else ()
            asked = Asked("other", about) if about else asked
        self._about = tuple(concept.id for concept in asked.concepts) or self._about
        yield from self._answer(self._grounds(question, asked, known))

    def _known(self) -> Sequence[Concept]:
        """What the store holds by now; the photo is held against it again, without detecting again."""
        if self.scene is not None:
            self.scene = self._assistant.look(self.scene.photo)
        return self._assistant.store.concepts()

    def _meant(self, question: str, known: Sequence[Concept]) -> tuple[Concept, ...]:
        """Whom a pronoun means: the one talked about last, else the only one in the photo."""
        if not prompt.means_someone(question):
            return ()
        talked_of = tuple(concept for concept in known if concept.id in self._about)
        present = set() if self.scene is None else {match.concept_id for _, match in self.scene.accepted()}
        alone = tuple(concept for concept in known if present == {concept.id})
        return talked_of or alone

    def _grounds(self, question: str, asked: Asked, known: Sequence[Concept]) -> Grounds:
        names = [name for concept in known for name in concept.names]
        if self.scene is None:
            forbidden = tuple(prompt.forbidden_names(known, None, asked, question))
            return Grounds(
                question,
                asked,
                (),
                asked.concepts,
                None,
                "",
                prompt.unseen_words(question, asked, forbidden),
                tuple(prompt.free_names(known, None, asked, question)),
                forbidden,
            )
        facts = prompt.facts_of(self.scene, known)
        in_photo = tuple({seen.concept.id: seen.concept for seen in facts.accepted}.values())
        plain = prompt.scene_words(question, facts, asked, names)
        told = any(prompt.fitting_sentence(question, concept) for concept in asked.concepts)
        if self._blind and asked.kind == "other" and not told:
            plain = f"{plain} {BLIND}"
        return Grounds(
            question,
            asked,
            in_photo,
            tuple(concept for concept in asked.concepts if concept not in in_photo),
            facts,
            prompt.facts_words(facts, asked, names),
            plain,
            tuple(prompt.free_names(known, facts, asked)),
            tuple(prompt.forbidden_names(known, facts, asked)),
        )

    def _answer(self, grounds: Grounds) -> Iterator[str]:
        self.note, self.plain = "", False
        if grounds.facts is None and grounds.asked.kind != "other" and not grounds.told:
            yield self._plainly(grounds)
            return
        max_tokens = ANSWER_TOKENS if grounds.asked.kind == "other" else SHORT_ANSWER_TOKENS
        parts = prompt.asking(grounds.question, self._references(grounds), grounds.facts_words)
        stream = self._begun(grounds, parts, Generation(max_tokens, banned=grounds.banned))
        if stream is None:
            self._remark("in plain words, since the notes are longer than the model's context")
            self.plain = True
            yield self._plainly(grounds)
            return
        text = said = ""
        given = 0  # of the text, in whole sentences; in `said` names are spelt rightly
        whole = self._checked_whole(grounds)
        for piece in stream:
            text += piece
            end = 0 if whole else len(prompt.whole_sentences(text))
            if end > given:
                sentences = said + self._spelt(text[given:end], grounds, said)
                if self._fault(sentences, grounds, stream.usage):
                    break
                yield sentences[len(said) :]
                said, given = sentences, end
        stream.close()
        text = (said + self._spelt(text[given:], grounds, said)).strip()
        if fault := self._fault(text, grounds, stream.usage):
            self._remark(f"in plain words, since the model's own answer was no good: {fault}")
            self.plain = True
            text = f"{said} {grounds.plain}" if said else grounds.plain
        yield text[len(said) :].rstrip()
        self._keep(grounds, parts, text, stream.usage)

    def _spelt(self, text: str, grounds: Grounds, said: str) -> str:
        """A part of an answer, after what is `said`, with the names put right that it nearly holds."""
        text, put = prompt.respelt(text, said, grounds.free, (grounds.words, *grounds.forbidden))
        for wrong, name in put.items():
            self._remark(f"{name} is spelt as it was taught: the model wrote {wrong}")
        return text

    def _remark(self, words: str) -> None:
        self.note = f"{self.note}; {words}" if self.note else words

    def _plainly(self, grounds: Grounds) -> str:
        """The answer in plain words, without asking the model; no turn that it would see later."""
        self._keep(grounds, (), grounds.plain, Usage())
        return grounds.plain

    def _checked_whole(self, grounds: Grounds) -> bool:
        """Whether an answer can only be judged as a whole, and not sentence by sentence as it comes."""
        whole = grounds.asked.kind != "other" or self._from_words(grounds)
        return whole or grounds.banned != grounds.forbidden

    def _fault(self, text: str, grounds: Grounds, usage: Usage) -> str:
        """Why an answer must not be given, in words; "" where it may."""
        if not text:
            return "it is empty"
        if BROKEN in text:
            return "it holds half a character"
        fault = ""
        if grounds.facts is not None:
            fault = prompt.fault(text, grounds.facts, grounds.asked, grounds.forbidden)
        elif wrong := prompt.wrong_names(text, grounds.free, grounds.forbidden):
            fault = f"it names {', '.join(sorted(wrong))}"
        elif grounds.listed and prompt.denies(text) != prompt.denies(grounds.plain) and grounds.told:
            fault = "it denies" if prompt.denies(text) else "it does not deny"
        names = grounds.free, grounds.forbidden
        if not fault and (made_up := prompt.misspelled(text, *names, grounds.words, usage.withheld)):
            fault = f"it makes up {', '.join(made_up)}"
        if not fault and (garbled := prompt.garbled(text, grounds.free, (grounds.words, *grounds.forbidden))):
            fault = f"it names {', '.join(garbled)}, who is nobody"
        return fault or (self._ungrounded(text, grounds) if self._from_words(grounds) else "")

    def _from_words(self, grounds: Grounds) -> bool:
        """Whether an answer may hold nothing but what was told: no picture can tell more."""
        if grounds.facts is None:
            return bool(grounds.listed)
        return self._blind or (grounds.asked.kind == "other" and grounds.told_of_the_asked)

    def _ungrounded(self, text: str, grounds: Grounds) -> str:
        """What an answer from words alone makes up or leaves out, in words; "" where it keeps to them."""
        if added := prompt.made_up(text, f"{grounds.words} {prompt.NOTHING_TOLD}"):
            return f"it adds {', '.join(added[:3])}"
        if grounds.facts is None and prompt.denies(text) and not grounds.told:
            return ""  # it does not know what nobody told
        unused = prompt.unused(text, grounds.question, grounds.asked.concepts)
        if unused and grounds.asked.kind == "other":
            return f"it leaves out what was told about {', '.join(unused)}"
        unclear = [c for c in grounds.asked.concepts if c.info and not prompt.fitting_sentence(text, c)]
        return f"nothing of it was told about {unclear[0].name}" if unclear and grounds.facts is None else ""

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
        photo = self._photo(self.scene.photo) if self.scene and sees != "nothing" else None
        return prompt.opening(photo, references)

    def _photo(self, photo: Photo) -> Pixels:
        """As the language model gets it, scaled once."""
        if self._scaled is None or self._scaled[0] != photo.sha256:
            self._scaled = photo.sha256, for_llm(photo)
        return self._scaled[1]

    def _begun(self, grounds: Grounds, question: Parts, options: Generation) -> Stream | None:
        """The model's answer to the turns that fit its context: the oldest ones are dropped first.

        None where the notes alone are too long. TooLong where the question is.
        """
        opened = self._opening(grounds)
        while True:
            turns = prompt.turns(opened, self._history, question)
            try:
                return self._assistant.llm.generate(turns, options)
            except TooLong:
                bare = prompt.turns((), [], prompt.asking(grounds.question, [], grounds.facts_words))
                if self._history:
                    self._drop(opened, question, options.max_tokens)
                elif self._fits(bare, options.max_tokens):
                    return None
                else:
                    raise

    def _drop(self, opened: Parts, question: Parts, max_tokens: int) -> None:
        """Forgets the oldest turns, some at once: what follows a dropped one is read anew.

        That is not to happen at every question.
        """
        room = max_tokens + int(SPARE * self._assistant.llm.part.context)
        self.note = "the oldest turns were dropped: the talk has grown longer than the model's context"
        self._history.pop(0)
        while self._history and not self._fits(prompt.turns(opened, self._history, question), room):
            self._history.pop(0)

    def _fits(self, turns: list[Turn], max_tokens: int) -> bool:
        llm = self._assistant.llm
        try:
            return llm.count(turns) + max_tokens <= llm.part.context
        except TooLong:
            return False

    def _keep(self, grounds: Grounds, parts: Parts, text: str, usage: Usage) -> None:
        used = tuple(concept.name for concept in grounds.listed)
        self.last = Answer(grounds.question, text, used, self.scene, usage.tokens, usage.timings_ms)
        if parts:
            self._history.append((parts, text))


def for_llm(photo: Photo) -> Pixels:
    """The photo as the language model gets it, uint8 (h, w, 3) RGB, at most 1024 pixels long."""
    return thumbnail(photo.pixels, LLM_PHOTO_LONGEST)
