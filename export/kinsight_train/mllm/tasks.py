"""The tasks of the pocket language model: one function and one row each; later ones are added to the list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kinsight import prompt
from kinsight.drawn import Individual
from kinsight.drawn.words import names, tell
from kinsight.prompt import Facts, a_thing, joined
from kinsight.prompt.say import NOTHING_TOLD, presence, who_is_there
from kinsight_train.mllm.cast import (
    VISIBLE,
    Known,
    Rng,
    Situation,
)

PLACE_WORDS: Mapping[str, str] = {
    "garden": "in the garden",
    "beach": "on the beach",
    "snow": "in the snow",
    "kitchen": "in the kitchen",
    "street": "in the street",
    "living room": "in the living room",
}


@dataclass(frozen=True)
class Exchange:
    """One question and the answer to learn."""

    task: str
    question: str
    answer: str
    about: tuple[Known, ...] = ()  # whom it names


Task = Callable[[Situation, Facts, Rng], Exchange | None]
"""None where the situation has nothing to ask about."""
Tasks = tuple[tuple[Task, float], ...]
"""(task, how often it comes)."""


def caption(scene: Situation, facts: Facts, rng: Rng) -> Exchange:
    """Who is where and in which place, strangers by their kind.

    Postures and colours are left to questions: what is seen rightly four times of five is no caption.
    """
    drawing = scene.drawing
    if drawing is None:
        raise ValueError("a caption needs a photo")
    seen = {one.concept.id for one in facts.accepted}
    said = [
        f"{one.concept.name} is {scene.place(scene.thing(one))}"
        for one in scene.present()
        if one.concept.id in seen
    ]
    if not said:
        shows = [thing for thing in drawing.things if thing.visible >= VISIBLE] or list(drawing.things)
        things = sorted(shows, key=lambda thing: thing.xyxy[0])[:3]
        said = [f"I see {joined([f'{a_thing(t.individual.kind)} {scene.place(t)}' for t in things])}"]
    taken = f"the photo was taken {PLACE_WORDS[drawing.place]}"  # as in `place`: learned once for both
    return Exchange("caption", prompt.CAPTION, f"{joined(said)}; {taken}.")


def who(scene: Situation, facts: Facts, rng: Rng) -> Exchange:
    """Everybody known, with positions; then what else there is."""
    question = one_of(
        ("Who is in this photo?", "Who is in the photo?", "Who is this?", "Who do you see?"), rng
    )
    return Exchange("who", question, who_is_there(facts, [one.concept.name for one in scene.known]))


def where(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """Where one of the known is; that they are not there where they are not."""
    one = _anyone(scene, rng)
    question = one_of(("Where is {}?", "Where is {} in the photo?", "Which side is {} on?"), rng)
    return _about("where", question, one, presence(one.concept, facts, _names(scene)))


def whether(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """Yes, and where; or no. As often one as the other."""
    people = scene.present() if rng.random() < 0.5 else scene.absent()
    if not people:
        return None
    one = people[int(rng.integers(len(people)))]
    question = one_of(
        ("Is {} in the photo?", "Is {} in this photo?", "Do you see {}?", "Can you see {}?"), rng
    )
    return _about("presence", question, one, presence(one.concept, facts, _names(scene), yes_no=True))


def colour(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """The two colours of one who is there."""
    one = _present(scene, facts, rng)
    if one is None:
        return None
    looks = one.individual
    question = one_of(("What colour is {}?", "Which colour does {} have?"), rng)
    return _about("colour", question, one, f"{one.concept.name} is {looks.colour} and {looks.second}.")


def wears(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """The accessory of one who is there, with its colour."""
    one = _present(scene, facts, rng)
    if one is None:
        return None
    worn = a_thing(f"{one.individual.accessory_colour} {one.individual.accessory}")
    question = one_of(("What does {} wear?", "What is {} wearing?"), rng)
    return _about("wears", question, one, f"{one.concept.name} wears {worn}.")


def doing(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """The posture of one who has any."""
    one = _present(scene, facts, rng)
    if one is None or not scene.thing(one).posture:
        return None
    return _about("doing", "What is {} doing?", one, f"{one.concept.name} is {scene.thing(one).posture}.")


def neighbour(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """Who or what is nearest to one who is there."""
    one = _present(scene, facts, rng)
    if one is None or one.row is None or scene.drawing is None:
        return None
    beside = scene.drawing.neighbour(one.row)
    question = one_of(("What is next to {}?", "Who is next to {}?", "What is beside {}?"), rng)
    if beside is None:
        return _about("neighbour", question, one, f"{one.concept.name} is all that I see there.")
    seen = {each.concept.id for each in facts.accepted}
    named = [o.concept.name for o in scene.present() if scene.thing(o) is beside and o.concept.id in seen]
    looks = beside.individual
    thing = a_thing(f"{looks.colour} {looks.kind}")
    what = named[0] if named else thing[:1].upper() + thing[1:]
    return _about("neighbour", question, one, f"{what} is next to {one.concept.name}.")


def kind(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """What one who is there is."""
    one = _present(scene, facts, rng)
    if one is None:
        return None
    return _about("kind", "What is {}?", one, f"{one.concept.name} is {a_thing(one.individual.kind)}.")


def looks(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """All that one who is there looks like."""
    one = _present(scene, facts, rng)
    if one is None:
        return None
    question = one_of(("What does {} look like?", "Describe {}."), rng)
    return _about("looks", question, one, f"{one.concept.name} is {appearance(one.individual)}.")


def everything(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """Every thing that shows, from left to right, with its colour; names count for nothing here."""
    if scene.drawing is None:
        return None
    things = sorted(scene.drawing.things, key=lambda thing: thing.xyxy[0])
    whole = [f"{a_thing(f'{t.individual.colour} {t.individual.kind}')} {scene.place(t)}" for t in things]
    question = one_of(("What is in the photo?", "What can be seen?"), rng)
    return Exchange("everything", question, f"I see {joined(whole)}.")


def appearance(one: Individual) -> str:
    """ "a red dog with white spots, floppy ears and a blue hat"."""
    patterns = {"striped": "stripes", "spotted": "spots", "checked": "checks", "banded": "bands"}
    pattern = f"{one.second} {patterns[one.pattern]}" if one.pattern in patterns else f"some {one.second}"
    worn = a_thing(f"{one.accessory_colour} {one.accessory}")
    return f"{a_thing(f'{one.colour} {one.kind}')} with {pattern}, {one.detail} and {worn}"


def place(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """Where the photo was taken."""
    if scene.drawing is None:
        return None
    question = one_of(("Where was this photo taken?", "What place is this?"), rng)
    return Exchange("place", question, f"The photo was taken {PLACE_WORDS[scene.drawing.place]}.")


def told(scene: Situation, facts: Facts, rng: Rng) -> Exchange | None:
    """What was told about one of the known, in the words in which it was told."""
    one = _anyone(scene, rng)
    if not one.told:
        return None
    each = one.told[int(rng.integers(len(one.told)))]
    return Exchange("told", each.question, each.sentence, (one,))


def untold(scene: Situation, facts: Facts, rng: Rng) -> Exchange:
    """Something that nobody told."""
    one = _anyone(scene, rng)
    said = {each.sentence[len(each.value) :] for each in one.told}
    options = [each for each in tell(one.concept.name, rng, 5, False) if each.question not in _questions(one)]
    options = [each for each in options if each.sentence[len(each.value) :] not in said] or options
    return Exchange("untold", options[0].question, NOTHING_TOLD, (one,))


def stranger(scene: Situation, facts: Facts, rng: Rng) -> Exchange:
    """A question about somebody who is not in the store at all."""
    used = {one.concept.name for one in scene.known}
    name = next(name for name in names(rng, 8, False) if name not in used)
    return Exchange("stranger", tell(name, rng, 1, False)[0].question, NOTHING_TOLD)


OF_A_PHOTO: Tasks = (
    (caption, 1.0),
    (who, 1.5),
    (where, 2.5),
    (whether, 2.5),
    (colour, 1.2),
    (wears, 0.8),
    (doing, 0.7),
    (neighbour, 0.7),
    (kind, 0.5),
    (place, 1.0),
    (looks, 1.2),
    (everything, 1.0),
    (told, 0.8),
    (untold, 0.3),
)
OF_LOOKS: Tasks = (
    (where, 4.0),
    (whether, 7.0),
    (doing, 1.2),
    (colour, 1.0),
    (wears, 0.7),
    (neighbour, 0.6),
    (kind, 0.4),
    (looks, 0.6),
    (who, 0.7),
    (caption, 0.5),
    (place, 0.4),
)
OF_NO_PHOTO: Tasks = ((told, 5.0), (untold, 1.0), (stranger, 0.4))


def oftener(tasks: Tasks, often: Mapping[str, float]) -> Tasks:
    """The same tasks, of which those that are named come so often."""
    return tuple((task, often.get(task.__name__, weight)) for task, weight in tasks)


def _about(task: str, question: str, one: Known, answer: str) -> Exchange:
    return Exchange(task, question.format(one.concept.name), answer, (one,))


def _anyone(scene: Situation, rng: Rng) -> Known:
    return scene.known[int(rng.integers(len(scene.known)))]


def _present(scene: Situation, facts: Facts, rng: Rng) -> Known | None:
    """Anyone whom the facts accept."""
    seen = {one.concept.id for one in facts.accepted}
    people = [one for one in scene.present() if one.concept.id in seen]
    return people[int(rng.integers(len(people)))] if people else None


def _questions(one: Known) -> set[str]:
    return {each.question for each in one.told}


def _names(scene: Situation) -> list[str]:
    return [one.concept.name for one in scene.known]


def one_of(options: tuple[str, ...], rng: Rng) -> str:
    """One of the texts."""
    return options[int(rng.integers(len(options)))]
