"""Holding answers to the facts: which are given, and which give way to plain words."""

from __future__ import annotations

import pytest

from kinsight.prompt import (
    Asked,
    Facts,
    Seen,
    denies,
    fault,
    forbidden_names,
    free_names,
    garbled,
    made_up,
    misspelled,
    respelt,
    scene_words,
    told,
    unused,
    wrong_names,
)
from kinsight.prompt.question import Kind
from kinsight.types import Concept

LALA = Concept(1, "Lala", ("Lalita",), "dog", "Lala is five years old and loves carrots.")
TOM = Concept(2, "Tom", (), "cat", "Tom is a friend of Ann Lee.")
ANN = Concept(3, "Ann")
ANN_LEE = Concept(4, "Ann Lee")
KNOWN = (LALA, TOM, ANN, ANN_LEE)
NAMES = [name for concept in KNOWN for name in concept.names]

HERE = Facts((Seen(LALA, "on the left", "dog"),), (), ("a cup on the right",))
CORNER = Facts((Seen(LALA, "at the top left", "dog"),), (), ())
SOMEWHERE = Facts((Seen(LALA, "", ""),), (), ())
BOTH = Facts((Seen(LALA, "on the left", "dog"), Seen(TOM, "on the right", "cat")), (), ())
TOP = Facts((Seen(LALA, "at the top", "dog"), Seen(TOM, "at the top", "cat")), (), ())
BESIDE = Facts(
    (Seen(LALA, "on the left", "dog", TOM), Seen(TOM, "in the middle", "cat", LALA)),
    (),
    ("a cup on the right",),
)
CUP = Facts((Seen(LALA, "on the left", "dog", "a red cup"),), (), ("a red cup on the right",))
MAYBE = Facts((), (Seen(LALA, "on the left", "dog"),), ())
NOBODY = Facts((), (), ("a dog on the left",))


def fault_of(answer: str, facts: Facts, kind: Kind, *concepts: Concept) -> str:
    asked = Asked(kind, concepts)
    return fault(answer, facts, asked, forbidden_names(KNOWN, facts, asked))


TWO = Facts((), (), ("a dog on the left", "a dog in the middle", "a cup at the top"))


GOOD: list[tuple[str, Facts, Kind, tuple[Concept, ...]]] = [
    ("Lala is in the photo.", HERE, "who", ()),
    ("That is Lalita, on the left.", HERE, "who", ()),
    ("Lala and Tom are in the photo.", BOTH, "who", ()),
    ("Lala is on the left and Tom is on the right.", BOTH, "who", ()),
    ("I don't know anyone in this photo.", NOBODY, "who", ()),
    ("Nobody that I know.", NOBODY, "who", ()),
    ("Lala, a brown dog on the left, is there. There is also a cup on the right.", HERE, "who", ()),
    ("I know nobody. There is a dog on the left and a lamp on the right.", NOBODY, "who", ()),
    ("I see a dog on the left, in the garden.", NOBODY, "caption", ()),
    ("I see a brown dog on the left and a cup at the top.", TWO, "caption", ()),
    ("Two dogs play beside a chair.", TWO, "caption", ()),
    ("On the left is Lala, on the right Tom.", BOTH, "who", ()),
    ("Lala (on the left) and Tom (on the right) are here.", BOTH, "who", ()),
    ("Lalita and Tom are at the top.", TOP, "who", ()),
    ("Lala is on the left.", HERE, "where", (LALA,)),
    ("On the left side of the photo you see Lala.", HERE, "where", (LALA,)),
    ("Lala is in the upper left corner.", CORNER, "where", (LALA,)),
    ("Lala is in the photo.", SOMEWHERE, "where", (LALA,)),
    ("I don't see Tom.", HERE, "where", (TOM,)),
    ("Yes, Lala is in the photo.", HERE, "presence", (LALA,)),
    ("Yes, Lala is there, on the left.", HERE, "presence", (LALA,)),
    ("No, Tom is not in the photo.", HERE, "presence", (TOM,)),
    ("No, I can't see Tom in this photo.", NOBODY, "presence", (TOM,)),
    ("Maybe: the dog on the left could be Lala.", MAYBE, "presence", (LALA,)),
    ("I am not sure, but it may be Lala.", MAYBE, "where", (LALA,)),
    ("Lala is there. I don't see Tom.", HERE, "presence", (LALA, TOM)),
    ("Lala loves carrots.", HERE, "other", (LALA,)),
    ("Tom is next to Lala.", BESIDE, "beside", (LALA,)),
    ("Next to Lala there is a big red cup.", CUP, "beside", (LALA,)),
    ("I don't see Tom.", CUP, "beside", (TOM,)),
    ("A dog lies on a sofa.", NOBODY, "caption", ()),
    ("Lala lies on a sofa.", HERE, "caption", ()),
]

BAD: list[tuple[str, Facts, Kind, tuple[Concept, ...], str]] = [
    ("", HERE, "who", (), "empty"),
    (" \n", HERE, "other", (), "empty"),
    ("I see a dog on the left and a person in the middle.", TWO, "caption", (), "a person in the middle"),
    (
        "I don't know anyone. I see a cup on the left and a cup at the top.",
        TWO,
        "who",
        (),
        "a cup on the left",
    ),
    ("I don't know anyone. I see a dog at the bottom.", NOBODY, "who", (), "a dog at the bottom"),
    ("Lala is there. There is also a dog on the right.", HERE, "who", (), "a dog on the right"),
    (
        "I don't know anyone. I see a dog on the left and a dog on the left.",
        NOBODY,
        "who",
        (),
        "a dog on the left",
    ),
    ("Tom is in the photo.", HERE, "who", (), "it names Tom"),
    ("Lala and Tom are in the photo.", HERE, "who", (), "it names Tom"),
    ("Lala is in the photo, with Ann Lee.", HERE, "who", (), "it names Ann Lee"),
    ("A dog is in the photo.", HERE, "who", (), "leaves out Lala"),
    ("Lala is in the photo.", BOTH, "who", (), "leaves out Tom"),
    ("Lala is not in the photo.", HERE, "who", (), "denies or doubts Lala"),
    ("Maybe it is Lala.", HERE, "who", (), "denies or doubts Lala"),
    ("Lala is on the right.", HERE, "who", (), "puts Lala elsewhere"),
    ("Lala is on the right and Tom is on the left.", BOTH, "who", (), "puts Lala elsewhere"),
    ("Lala is on the left and Tom is on the left.", BOTH, "who", (), "puts Tom elsewhere"),
    ("Lala and Tom are on the left.", BOTH, "caption", (), "puts Tom elsewhere"),
    ("On the right is Lala, on the left Tom.", BOTH, "caption", (), "puts Lala elsewhere"),
    ("A dog on a sofa.", NOBODY, "who", (), "does not say that nobody is known"),
    ("Lala is in the photo.", MAYBE, "who", (), "it names Lala"),
    ("Lala is on the right.", HERE, "where", (LALA,), "puts Lala elsewhere"),
    ("Lala is in the photo.", HERE, "where", (LALA,), "does not say where Lala is"),
    ("Lala is on the left.", CORNER, "where", (LALA,), "does not say where Lala is"),
    ("Lala is on the left.", SOMEWHERE, "where", (LALA,), "puts Lala elsewhere"),
    ("On the left.", HERE, "where", (LALA,), "leaves out Lala"),
    ("I don't see Lala.", HERE, "where", (LALA,), "denies or doubts Lala"),
    ("Tom is on the left.", HERE, "where", (TOM,), "does not deny Tom"),
    ("Tom is on the left.", NOBODY, "where", (TOM,), "does not deny Tom"),
    ("No, Lala is not in the photo.", HERE, "presence", (LALA,), "denies or doubts Lala"),
    ("Lala may be in the photo.", HERE, "presence", (LALA,), "denies or doubts Lala"),
    ("Yes.", HERE, "presence", (LALA,), "leaves out Lala"),
    ("Yes, Tom is in the photo.", HERE, "presence", (TOM,), "does not deny Tom"),
    ("Maybe Tom is not in the photo.", HERE, "presence", (TOM,), "does not deny Tom"),
    ("Yes, Lala is in the photo.", MAYBE, "presence", (LALA,), "too sure of Lala"),
    ("No, Lala is absent.", MAYBE, "presence", (LALA,), "too sure of Lala"),
    ("I don't see Tom, but Ann is here.", HERE, "presence", (TOM,), "it names Ann"),
    ("Yes, Lala and Tom are there.", HERE, "presence", (LALA, TOM), "does not deny Tom"),
    ("A dog is next to Lala.", BESIDE, "beside", (LALA,), "leaves out Tom"),
    ("A dog is next to Lala.", CUP, "beside", (LALA,), "does not say that a red cup is there"),
    (
        "Tom is next to a red cup and Lala.",
        Facts(BOTH.accepted[1:] + CUP.accepted, (), ()),
        "beside",
        (LALA,),
        "puts Tom",
    ),
    ("Nothing is next to Lala.", BESIDE, "beside", (LALA,), "denies or doubts Lala"),
    ("Tom is next to somebody.", BESIDE, "beside", (LALA,), "leaves out Lala"),
    ("Lala is asleep, like Tom.", HERE, "other", (LALA,), "it names Tom"),
    ("Lala is not in the photo.", HERE, "other", (LALA,), "denies or doubts Lala"),
    ("Tom is in the photo.", HERE, "other", (TOM,), "does not deny Tom"),
    ("Tom lies on a sofa.", NOBODY, "caption", (), "it names Tom"),
    ("A dog lies on a sofa.", HERE, "caption", (), "leaves out Lala"),
    ("Lala is at the top, in the snow.", HERE, "caption", (), "puts Lala elsewhere"),
    ("Lala is not on the left, maybe.", HERE, "caption", (), "denies or doubts Lala"),
]


@pytest.mark.parametrize(("answer", "facts", "kind", "concepts"), GOOD)
def test_a_right_answer_is_given(
    answer: str, facts: Facts, kind: Kind, concepts: tuple[Concept, ...]
) -> None:
    assert fault_of(answer, facts, kind, *concepts) == ""


@pytest.mark.parametrize(("answer", "facts", "kind", "concepts", "what"), BAD)
def test_a_wrong_answer_is_found_out(
    answer: str, facts: Facts, kind: Kind, concepts: tuple[Concept, ...], what: str
) -> None:
    assert what in fault_of(answer, facts, kind, *concepts)


@pytest.mark.parametrize("facts", [HERE, CORNER, SOMEWHERE, BOTH, BESIDE, CUP, MAYBE, NOBODY])
@pytest.mark.parametrize("concepts", [(LALA,), (TOM,), (LALA, TOM)])
@pytest.mark.parametrize("kind", ["where", "beside", "presence", "other"])
def test_the_plain_words_are_a_right_answer(facts: Facts, kind: Kind, concepts: tuple[Concept, ...]) -> None:
    plain = scene_words("Is that so?", facts, Asked(kind, concepts), NAMES)
    assert fault_of(plain, facts, kind, *concepts) == ""


@pytest.mark.parametrize("facts", [HERE, CORNER, SOMEWHERE, BOTH, MAYBE, NOBODY])
def test_the_plain_words_on_who_is_there_are_a_right_answer(facts: Facts) -> None:
    assert fault_of(scene_words("Who?", facts, Asked("who", ()), NAMES), facts, "who") == ""


def test_a_free_name_may_contain_a_forbidden_one() -> None:
    with_ann_lee = Facts((Seen(ANN_LEE, "on the left", "person"),), (), ())
    assert fault_of("Ann Lee is on the left.", with_ann_lee, "who") == ""
    assert fault_of("Ann Lee is there, and Ann.", with_ann_lee, "who") == "it names Ann"
    assert wrong_names("Ann Lee and Tom", ["Ann Lee"], ["Ann", "Tom"]) == {"Tom"}


def test_the_free_and_the_forbidden_names_of_a_photo() -> None:
    assert free_names(KNOWN, HERE, Asked("who", ())) == ["Lala", "Lalita"]
    assert forbidden_names(KNOWN, HERE, Asked("who", ())) == ["Tom", "Ann", "Ann Lee"]
    assert forbidden_names(KNOWN, HERE, Asked("where", (TOM,))) == ["Ann", "Ann Lee"]
    assert forbidden_names(KNOWN, MAYBE, Asked("who", ())) == ["Lala", "Lalita", "Tom", "Ann", "Ann Lee"]


def test_without_a_photo_the_names_in_the_fitting_sentence_are_free() -> None:
    asked = Asked("other", (TOM,))
    assert forbidden_names(KNOWN, None, asked, "Who is a friend of Tom?") == ["Lala", "Lalita", "Ann"]
    assert forbidden_names(KNOWN, None, asked, "?") == ["Lala", "Lalita", "Ann", "Ann Lee"]
    assert forbidden_names(KNOWN, NOBODY, asked) == ["Lala", "Lalita", "Ann", "Ann Lee"]


@pytest.mark.parametrize(
    ("answer", "added"),
    [
        ("Lala is on the left of the photo.", []),
        ("Yes, Lala is the dog in the picture.", []),
        ("She loves CARROTS, Lalita's carrots!", []),
        ("Lala is happy on a green sofa.", ["happy", "green", "sofa"]),
        ("Lala is on the right.", ["right"]),
        ("", []),
    ],
)
def test_what_a_blind_model_made_up(answer: str, added: list[str]) -> None:
    assert made_up(answer, told([LALA], "Lala is in the photo, on the left.", "Where is Lala?")) == added


@pytest.mark.parametrize(
    ("answer", "question", "expected"),
    [
        ("She loves carrots.", "What does Lala love?", []),
        ("She is 5 years old.", "How old is Lala?", []),
        ("Lala is a dog.", "What does Lala eat?", ["Lala"]),
        ("I do not know.", "How old is Lala?", ["Lala"]),
    ],
)
def test_what_was_told_and_not_used(answer: str, question: str, expected: list[str]) -> None:
    assert unused(answer, question, [LALA]) == expected


def test_nothing_is_left_out_where_nothing_was_told() -> None:
    assert unused("Hm.", "How old is Ann?", [ANN]) == []


@pytest.mark.parametrize(
    "text",
    ["No.", "I do not know", "She isn't there", "He isn’t", "Nobody", "There is none.", "I can't", "cannot"],
)
def test_what_denies(text: str) -> None:
    assert denies(text)


@pytest.mark.parametrize("text", ["Yes.", "Lala knows", "a note", "Nolan is here", "nothingness", ""])
def test_what_does_not_deny(text: str) -> None:
    assert not denies(text)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("Cosimara is on the left.", ["Cosimara"]),
        ("I see Cosimara’s hat, and COSIMARA again.", ["Cosimara", "COSIMARA"]),
        ("It is Mr. Cosimus.", []),  # the free name, with its last letter changed, as other languages inflect
        ("Cosima’s hat, Cosimas Hut, the Cosimaes.", []),
        ("The lalande is no name, a lalala neither.", []),
        ("This is Lalandra.", ["Lalandra"]),
        ("Lalas ball is red.", ["Lalas"]),  # of the forbidden one
        ("This is Anselm, no, Anselmo, or Ansela.", ["Anselmo", "Ansela"]),
        ("Tomorrow, Tommy. Tom-like, Tom’s.", ["Tommy"]),
        ("Maybe Tomatoes.", ["Tomatoes"]),
        ("Tomatoes are red. Tome is none.", ["Tome"]),
        ("Maybe they go to Anselmsville.", []),
        ("Ann Leeds and Ann Lees.", ["Ann Leeds"]),
        ("Косимара и Косиму видно.", ["Косимара"]),
        ("Мяч Ивана рядом с Иваном, Ивановский нет.", ["Ивановский"]),
        ("小花花在睡觉。", []),
        ("راماز هنا.", ["راماز"]),
    ],
)
def test_a_word_that_only_begins_like_a_name_is_made_up(answer: str, found: list[str]) -> None:
    free = ["Cosima", "Ann Lee", "Tom", "Косима", "Иван", "小花"]
    told = "She lives in Anselmsville. What will be tomorrow? May and Al are here."
    forbidden = ["Lala", "Anselm", "May", "Al", "راما"]
    assert misspelled(answer, free, forbidden, told, ["Lala", "Anselm", "راما"]) == found


FREE, TOLD, WITHHELD, UNSAID = "free", "told", "withheld", "neither"


@pytest.mark.parametrize(
    ("answer", "name", "state", "wrong"),
    [
        ("Lala is asleep. Lalo is awake.", "Lala", FREE, "Lalo"),
        ("This is Lal.", "Lala", FREE, "Lal"),
        ("This is Llaa.", "Lala", FREE, "Llaa"),
        ("This is Lalla.", "Lala", FREE, "Lalla"),
        ("Cosina is on the left.", "Cosima", FREE, "Cosina"),
        ("The hat is COSINA’s.", "Cosima", FREE, "COSINA"),
        ("Cosmia, Csima and Cossima.", "Cosima", FREE, "Cosmia, Csima, Cossima"),
        ("Grandpa Mix and Granpa Max.", "Grandpa Max", FREE, "Grandpa Mix, Granpa Max"),
        ("Касима на диване.", "Косима", FREE, "Касима"),
        ("Анне дали мяч Анны.", "Анна", FREE, ""),  # four letters, inflected
        ("Cosimo, I mean Rosima.", "Cosima", FREE, ""),
        ("Lola is her friend.", "Lala", FREE, ""),  # as was told
        ("A lalo is a lalo.", "Lala", FREE, ""),
        ("Tim or Tam?", "Tom", FREE, ""),
        ("Carlos Santana plays the guitar.", "Carl", UNSAID, ""),
        ("Time flies. Is it Cosimara or Lalo?", "Cosima", UNSAID, ""),
        ("Lalo is on the left.", "Lala", UNSAID, ""),
        ("Carlos is on the left.", "Carl", WITHHELD, "Carlos"),
        ("Lalo is on the left.", "Lala", WITHHELD, "Lalo"),
        ("Lalas ball.", "Lala", WITHHELD, "Lalas"),
        ("Cosina, Cosimara, Cosette and Cosimo.", "Cosima", WITHHELD, "Cosina, Cosimara, Cosette, Cosimo"),
        ("It costs nothing. Coral is red.", "Cosima", WITHHELD, ""),
        ("Carlos is on the left.", "Carl", TOLD, "Carlos"),
        ("Cosina is on the left.", "Cosima", TOLD, "Cosina"),
        ("Cosimo is on the left.", "Cosima", TOLD, "Cosimo"),
    ],
)
def test_what_stands_for_a_known_name(answer: str, name: str, state: str, wrong: str) -> None:
    """What is like a free name is one misspelt; like a forbidden one only where the model means that."""
    told = f"Lola is a friend{f' of {name}' if state == TOLD else ''}."
    names = ([name], []) if state == FREE else ([], [name])
    found = misspelled(answer, *names, told, [name] if state == WITHHELD else [])
    assert sorted(found) == sorted(filter(None, wrong.split(", ")))


def test_a_word_of_a_free_name_is_itself() -> None:
    assert misspelled("Carlos is here.", ["Carlos Ruiz"], ["Carl"], "", ["Carl"]) == []


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("Isuki is on the left.", ["Itsuki"], "Itsuki is on the left."),
        ("Yes, Guörún's hat is red.", ["Guðrún"], "Yes, Guðrún's hat is red."),
        ("Oilie and Sava are here.", ["Ottilie", "Slava"], "Ottilie and Slava are here."),
        ("Mis Plumb is here.", ["Miss Plum"], "Miss Plum is here."),
        ("Itsuki is Isuki's friend.", ["Itsuki"], "Itsuki is Isuki's friend."),
        ("Sure, on the left.", ["Suri"], "Sure, on the left."),
        ("Lara is here.", ["Lala"], "Lara is here."),
        ("Kitty is here.", ["Itsuki"], "Kitty is here."),
        ("Max is here.", ["Maximilian"], "Max is here."),
        ("Annna is here.", ["Anna", "Annette"], "Anna is here."),
        ("Yannice, Lalas ball.", ["Yannick", "Lala"], "Yannick, Lalas ball."),
        ("花 is here.", ["花子"], "花 is here."),
        ("Мяч Ивана рядом с Косимой.", ["Иван", "Косима"], "Мяч Ивана рядом с Косимой."),
        ("", ["Lala", "!"], ""),
    ],
)
def test_a_name_that_is_nearly_there_is_put_right(text: str, names: list[str], expected: str) -> None:
    """Nothing that means somebody or something else: what was told, other names, plain English."""
    assert respelt(text, "", names, ["A friend is Lara."])[0] == expected


def test_a_name_that_was_said_before_is_not_put_again() -> None:
    assert respelt("Isuki sleeps.", "Itsuki is here.", ["Itsuki"], [])[0] == "Isuki sleeps."


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Csumi is yellow and red.", ["Csumi"]),
        ("Cbody wears a hat. Cy is lying.", ["Cbody", "Cy"]),
        ("Cos cost two hor is sitting.", ["Cos"]),
        ("On the left Cosuty wears a white hat.", ["Cosuty"]),
        ("Cosima is yellow. Can it be? Children sleep.", []),
        ("Carrots are on the table, and Cosima likes them.", []),
        ("A cat is on the left, near Zed, who is blue.", []),
        ("Carla is her friend.", []),
    ],
)
def test_what_stands_for_somebody_and_is_no_name_is_found(text: str, wrong: list[str]) -> None:
    assert garbled(text, ["Cosima", "Lumi"], ["Her friend is called Carla."]) == wrong
