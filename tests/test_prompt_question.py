"""Reading a question: what kind it is and whom it is about."""

from __future__ import annotations

import pytest

from kinsight.prompt import means_someone, read
from kinsight.types import Concept

LALA = Concept(1, "Lala", ("Lalita",), "dog")
TOM = Concept(2, "Tom")
ANN_LEE = Concept(3, "Ann Lee", ("Grandma",), "person")
ANN = Concept(4, "Ann", (), "person")
FLOWER = Concept(5, "小花", (), "cat")
CONCEPTS = (LALA, TOM, ANN_LEE, ANN, FLOWER)
CUP = Concept(6, "The Blue Cup!", (), "coffee cup")

WHO = """
Who is in this photo?
Who is in the picture?
who's there
Who is there?
Who’s here?
Who is this?
Who is that?
Who are these?
Who are they in this photo?
Who do you see?
Who can you see here?
Whom do you see in the image?
Who else is there?
And who else is in the photo?
Who is the woman?
Who is that man on the left?
Who is on the left?
Who is at the top of the picture?
Which people do you know?
What pets are in this photo?
Do you know anyone in this photo?
Can you recognise somebody?
Is anyone there?
Is there anybody in the photo?
Name everyone you know.
Please, who is in this photo?
"""

WHERE = """
Where is Lala?
where's lala
Where’s Lala?
Where is Lala in this photo?
Where is Lala in the picture, please?
Where exactly is Lala?
So where is Lala now?
Where are Lala and Tom?
Where do you see Lala?
Which side is Lala on?
On which side is Lala?
Find Lala
Locate Lala in the image.
Show me Lala!
Tell me where Lala is.
Can you tell me where Lala is in the photo?
Do you know where Lala is?
Where is my dog Lala?
Is Lala on the left?
Is Lala in the middle of the photo?
Is Lala at the top left?
"""

BESIDE = """
What is next to Lala?
Who is next to Lala?
Who's beside Lala in the photo?
What is right next to my dog Lala?
Who else is near Lala?
Who sits next to Lala in this picture?
Who is standing beside her?
What is closest to Lala?
"""

PRESENCE = """
Is Lala in the photo?
Is Lala in this photo?
Is Lala here?
Is Lala there?
is LALA in it
Is Lala also there?
Is Lala visible?
Isn't Lala in the photo?
Are Lala and Tom in the photo?
Are Lala, Tom, and Ann in the photo?
Is this Lala?
Is that Lala or Tom?
Is there Lala in the picture?
Is it Lala?
Can you see Lala?
Do you see Lala in the photo?
Could you spot Lala here?
Do you recognise Lala?
Can Lala be seen in this picture?
Does this photo show Lala?
Does it contain Lala?
Lala?
"""

OTHER = """
Who is Lala?
Who's Lala?
Who was Lala?
What is Lala?
What is Lala doing?
Where does Lala sleep?
Where did Lala go?
Where is Lala's bowl?
Where is Lala from?
Where is Lala in the morning?
Is Lala old?
Is Lala a dog?
Is Lala hungry?
Is Lala on the sofa?
Is Lala in the kitchen?
Is Lala at the vet today?
Is Lala's owner in the photo?
Is Lala next to Tom?
What is next to Lala's bowl?
Is Lala on the left of the sofa?
Is Lala bigger than Tom?
Does Lala like Tom?
Does Lala have a collar?
Who owns Lala?
Who is with Lala?
Who is on the left of Lala?
What names does Lala have?
What pets does Lala like?
When was Lala born?
How old is Lala?
Tell me about Lala.
Describe the photo.
What is in this photo?
What colour is the sofa?
What is the capital of France?
Wo ist Lala?
Wer ist auf dem Foto?
Où est Lala ?
¿Dónde está Lala?
Lala est-elle sur la photo ?
Где Lala?
Hello
?

"""


def lines(table: str) -> list[str]:
    return [line for line in table.splitlines() if line]


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        *((question, "who") for question in lines(WHO)),
        *((question, "where") for question in lines(WHERE)),
        *((question, "beside") for question in lines(BESIDE)),
        *((question, "presence") for question in lines(PRESENCE)),
        *((question, "other") for question in (*lines(OTHER), "", "   ")),
    ],
)
def test_the_kind_of_a_question(question: str, kind: str) -> None:
    assert read(question, CONCEPTS).kind == kind


@pytest.mark.parametrize(
    ("question", "concepts"),
    [
        ("Where is Lala?", [LALA]),
        ("Where is Lalita?", [LALA]),
        ("Is lalita or LALA here?", [LALA]),
        ("Is Lala’s ball red?", [LALA]),
        ("What does Tom think of Lala?", [TOM, LALA]),
        ("Is Ann Lee here?", [ANN_LEE]),
        ("Is Ann here?", [ANN]),
        ("Is ann  lee with Ann?", [ANN_LEE, ANN]),
        ("Is grandma here?", [ANN_LEE]),
        ("Is Anna here?", []),
        ("Is Tomato soup here?", []),
        ("小花在哪里？", [FLOWER]),
        ("Who is there?", []),
        ("", []),
    ],
)
def test_whom_a_question_names(question: str, concepts: list[Concept]) -> None:
    assert list(read(question, CONCEPTS).concepts) == concepts


@pytest.mark.parametrize("question", ["Where is the blue cup!", "Where is The Blue Cup!?"])
def test_a_name_with_an_article_and_a_mark(question: str) -> None:
    asked = read(question, [CUP])
    assert (asked.kind, asked.concepts) == ("where", (CUP,))


@pytest.mark.parametrize(
    "question",
    ["Where is she?", "Where is he in the photo?", "Is she here?", "Can you see him?", "Is that her?"],
)
def test_a_pronoun_stands_for_a_name(question: str) -> None:
    assert read(question, CONCEPTS).kind in ("where", "presence")
    assert means_someone(question)


@pytest.mark.parametrize("question", ["Where is it?", "Is the cat here?", "Where is Sheila?", "The hero?"])
def test_what_is_no_pronoun(question: str) -> None:
    assert not means_someone(question)


def test_she_who_is_asked_after_is_not_looked_for() -> None:
    assert read("Who is she?", CONCEPTS).kind == "other"


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("What is the dog doing?", [LALA]),
        ("Is my Cat asleep?", [FLOWER]),
        ("Which person is older, and where is the dog?", [ANN_LEE, ANN, LALA]),
        ("What is hot dogma?", []),
        ("Hello", []),
    ],
)
def test_a_category_means_all_who_have_it(text: str, concepts: list[Concept]) -> None:
    assert list(read(text, CONCEPTS).concepts) == concepts


def test_nobody_is_meant_where_nobody_has_a_category() -> None:
    assert read("What is the dog doing?", [TOM, Concept(7, "Bo", (), "  ")]).concepts == ()
