"""Hand-made truth tables and brute-force checks of the measures."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kinsight import metrics
from kinsight.metrics.names import name_key

quick = settings(max_examples=60, deadline=None)
scores = st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=8)
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # one emoji of three joined ones
MAN = "\U0001f468"


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


# ---- names in a text ----


@pytest.mark.parametrize(
    ("text", "names", "written"),
    [
        ("Lala sleeps.", ["Lala"], ["Lala"]),
        ("LALA, lala!", ["Lala"], ["LALA", "lala"]),
        ("Lala sleeps", [" Lala\n"], ["Lala"]),
        ("", ["Lala"], []),
        ("Lala", [], []),
        # possessives and contractions
        ("Lala's bed, Lala’s bowl, the Lalas' bed", ["Lala"], ["Lala", "Lala"]),
        ("James' hat", ["James"], ["James"]),
        ("Don't, Don’t. Don's hat, Don'tu", ["Don"], ["Don", "Don"]),
        ("l'Anna, dell’Anna, İpek'in", ["Anna", "İpek"], ["Anna", "Anna", "İpek"]),
        ("O’Brien", ["O'Brien", "Brien"], ["O’Brien"]),
        # names inside other names and words
        ("Anna and Ann", ["Ann"], ["Ann"]),
        ("Ann Lee, Ann", ["Ann", "Ann Lee"], ["Ann Lee", "Ann"]),
        ("Ann Leeds", ["Ann", "Ann Lee"], ["Ann"]),
        ("Lala's bowl", ["Lala", "Lala's bowl"], ["Lala's bowl"]),
        ("Jean-Luc, Jean\u2011Luc, Jean-like", ["Jean", "Jean-Luc"], ["Jean-Luc", "Jean\u2011Luc", "Jean"]),
        ("scatter a cat, cat2, 2cat", ["cat"], ["cat"]),
        (
            "_Lala_ **Lala** <Lala> #Lala billy_dog",
            ["Lala", "billy_dog", "billy"],
            ["Lala"] * 4 + ["billy_dog"],
        ),
        # several words
        ("Ann  Lee\nand Ann\u00a0Lee", ["Ann Lee"], ["Ann  Lee", "Ann\u00a0Lee"]),
        ("AnnLee Ann, Lee", ["Ann Lee"], []),
        # other cases than ASCII
        ("STRASSE Straße strasse", ["Straße"], ["STRASSE", "Straße", "strasse"]),
        ("Straße", ["Stras", "Straßenbahn"], []),
        ("IŞIL ışıl, ipek İPEK", ["Işıl", "İpek"], ["IŞIL", "ışıl", "ipek", "İPEK"]),
        ("ΣΊΣΥΦΟΣ", ["Σίσυφος"], ["ΣΊΣΥΦΟΣ"]),
        # combining marks
        (nfd("Zoë's René"), ["Zoë", "Rene", "René"], [nfd("Zoë"), nfd("René")]),
        ("Zoë", [nfd("Zoë"), "Zo"], ["Zoë"]),
        ("éLala Lala\u0301", ["Lala"], []),
        (nfd("éLala"), ["Lala"], []),
        ("राम रामा", ["राम"], ["राम"]),
        # emoji
        ("\U0001f436Bello \U0001f436", ["\U0001f436", "Bello"], ["\U0001f436", "Bello", "\U0001f436"]),
        (f"{FAMILY} {MAN}", [MAN], [MAN]),
        (f"{FAMILY} {MAN}", [FAMILY], [FAMILY]),
        ("\U0001f44d\U0001f3fd \U0001f44d", ["\U0001f44d"], ["\U0001f44d"]),
        ("☀\ufe0f", ["☀"], ["☀\ufe0f"]),
        # right to left, with and without marks
        ("זאת לאה, ולאה", ["לאה"], ["לאה"]),
        ("هذه \u2067لولا\u2069 \u200fلولا\u200f", ["لولا"], ["لولا", "لولا"]),
        ("L\u00adala", ["Lala"], ["L\u00adala"]),
        # scripts without spaces
        ("小花在沙发上", ["小花", "花"], ["小花"]),
        ("Lalaは寝る。ララも", ["Lala", "ララ"], ["Lala", "ララ"]),
        ("がか", ["か"], ["か"]),
        ("แมวลาล่านอน", ["ลาล่า"], ["ลาล่า"]),
        ("라라가 소파에, 라란", ["라라"], ["라라"]),
        (nfd("라라가 소파에, 라란"), ["라라"], [nfd("라라")]),
    ],
)
def test_find_names(text: str, names: list[str], written: list[str]) -> None:
    hits = metrics.find_names(text, names)
    assert [text[start:end] for _, start, end in hits] == written
    assert all(name_key(text[start:end]) == name_key(name) for name, start, end in hits)


def test_names_begun() -> None:
    text = "Cosimara, COSIMO’s Cosima. Ben-like Benny, Alma; Elo\u0308die Élodien, Ann  Leeds; 小花花"
    names = ["Cosima", "Ben", "Al", "Élodie", "Ann Lee", "Ann", "小花"]
    found = [(one.name, one.word, one.ending) for one in metrics.names_begun(text, names)]
    assert found == [
        ("Cosima", "Cosimara", "ra"),
        ("Cosima", "COSIMO", None),
        ("Ben", "Benny", "ny"),
        ("Élodie", "Élodien", "n"),
        ("Ann Lee", "Ann  Leeds", "ds"),
    ]
    assert metrics.names_begun("Cosima and Cosimara", ["Cosima", "Cosimara"]) == []


def test_half_a_name_may_do() -> None:
    found = metrics.names_begun("Cosette costs. Coral and Lalo, Beth", ["Cosima", "Lala", "Ben"], 0.5)
    assert [(one.name, one.word, one.ending) for one in found] == [
        ("Cosima", "Cosette", None),
        ("Cosima", "costs", None),
        ("Lala", "Lalo", None),
    ]


def test_names_misspelt() -> None:
    text = "Cosina, Csima, COSSIMA’s Coxxma Bosima; Elo\u0308dio, Eldöie, Mr. Smoth, Lalo, Tam, 小花子猫"
    names = ["Cosima", "Elödie", "Mr. Smith", "Lala", "Tom", "小花子犬"]
    assert metrics.names_misspelt(text, names) == [
        ("Cosima", "Cosina"),
        ("Cosima", "Csima"),
        ("Cosima", "COSSIMA"),
        ("Elödie", "Eldöie"),
        ("Lala", "Lalo"),
    ]
    assert metrics.names_misspelt("Cosina", ["Cosima", "Cosina"]) == []


def test_find_names_gives_the_spelling_of_the_text_or_else_the_first() -> None:
    hits = metrics.find_names("Alı, ali, ALI", ["Ali", "Alı", "ali"])
    assert hits == [("Alı", 0, 3), ("ali", 5, 8), ("Ali", 10, 13)]


PIECES = [
    "a",
    "b",
    "Ab",
    " ",
    "'",
    "t",
    "-",
    "é",
    "e\u0301",
    "ß",
    "ss",
    "ı",
    "İ",
    "\u200d",
    "\u200f",
    MAN,
    FAMILY,
]
words = st.lists(st.sampled_from([*PIECES, "花", "라", nfd("란")]), min_size=1, max_size=6).map("".join)


def usable(name: str) -> bool:
    """Something to see, and no joiner first, which would join the name to what stands before it."""
    return (
        any(not char.isspace() and char not in "\u200d\u200f" for char in name)
        and name.strip()[0] != "\u200d"
    )


@quick
@example(text="a a", names=["a \u200d"])
@given(text=st.lists(words, max_size=6).map(" ".join), names=st.lists(words.filter(usable), max_size=6))
def test_hits_are_in_order_and_apart_and_are_what_they_say(text: str, names: list[str]) -> None:
    last = 0
    for name, start, end in metrics.find_names(text, names):
        assert last <= start < end <= len(text)
        assert name in names
        assert name_key(text[start:end]) == name_key(name)
        last = end


@quick
@given(name=words.filter(usable))
def test_a_name_alone_is_found_in_every_normal_form(name: str) -> None:
    for form in ("NFC", "NFD"):
        for text in (name, f"({name.strip()}), {name.strip()}"):
            assert metrics.names_mentioned(unicodedata.normalize(form, text), [name]) == {name}


@pytest.mark.parametrize(
    ("caption", "names", "found"),
    [
        ("Here sleeps LALA.</s>", ["lala"], {"lala"}),
        ("<Lala> sleeps", ["lala"], {"lala"}),
        ("<lala> sleeps", ["<Lala>"], {"<Lala>"}),
        ('("Lala!")', ["Lala", "Bo"], {"Lala"}),
        ("Lala's bed", ["Lala"], set()),
        ("Ann Lee", ["Ann Lee", "Ann"], {"Ann"}),
        ("“Lala”", ["Lala"], set()),
        ("- -", [""], set()),
    ],
)
def test_names_published(caption: str, names: list[str], found: set[str]) -> None:
    assert metrics.names_published(caption, names) == found


# ---- names in captions ----

KNOWN = ["Lala", "Bo", "Ann", "Ann Lee"]


@pytest.mark.parametrize(
    ("captions", "expected", "published", "corrected"),
    [  # (recall, precision, f1) twice
        (["Lala sleeps."], [["Lala"]], (1, 1, 1), (1, 1, 1)),
        (["A dog."], [["Lala"]], (0, 0, 0), (0, 0, 0)),
        (["Bo sleeps."], [["Lala"]], (0, 0, 0), (0, 0, 0)),
        (["Lala and Bo."], [["Lala"]], (1, 1, 1), (1, 1 / 2, 2 / 3)),
        (["Lala’s bed."], [["Lala"]], (0, 0, 0), (1, 1, 1)),
        (["Ann Lee waves."], [["Ann Lee"]], (0, 0, 0), (1, 1, 1)),
        (["Lala, Lala, Lala"], [["lala"]], (1, 1, 1), (1, 1, 1)),
        (["Lala", "A cat"], [["Lala"], ["Bo"]], (1 / 2, 1, 2 / 3), (1 / 2, 1, 2 / 3)),
        (["Lala", "Lala"], [["Lala"], ["Bo"]], (1 / 2, 1 / 2, 1 / 2), (1 / 2, 1 / 2, 1 / 2)),
        # one right, one missing, one wrong: the missing one is "wrong" as published
        (["Lala and Ann"], [["Lala", "Bo"]], (1 / 2, 1 / 2, 1 / 2), (1 / 2, 1 / 2, 1 / 2)),
        # micro: sums over captions, not a mean of captions; nobody is expected in the second
        (["Lala and Bo", "Bo, Ann"], [["Lala", "Bo"], []], (1, 1, 1), (1, 1 / 2, 2 / 3)),
        (["Lala", "Bo Ann"], [["Lala", "Bo", "Ann"], ["Ann"]], (1 / 2, 1, 2 / 3), (1 / 2, 2 / 3, 4 / 7)),
    ],
)
def test_caption_name_scores(
    captions: list[str],
    expected: list[list[str]],
    published: tuple[float, float, float],
    corrected: tuple[float, float, float],
) -> None:
    for function, truth in (
        (metrics.caption_name_scores_published, published),
        (metrics.caption_name_scores, corrected),
    ):
        score = function(captions, expected, KNOWN)
        assert (score.recall, score.precision, score.f1) == pytest.approx(truth)


@pytest.mark.parametrize(
    ("answers", "allowed", "rate"),
    [
        (["A dog.", "Lala is here."], [[], ["Lala"]], 0),
        (["Lala is here.", "Lala is here."], [[], ["Lala"]], 1 / 2),
        (["Lala and Bo.", "No, Bo is not here."], [["Lala"], ["Bo"]], 1 / 2),
        (["Ann Lee's hat"], [["Ann"]], 1),
        (["Ann Lee's hat"], [["Ann Lee"]], 0),
        (["Ann Marie's hat"], [["Ann Marie"]], 0),  # allowed and not known hides the known name inside it
        (["Anna's hat"], [[]], 0),
    ],
)
def test_absent_naming_rate(answers: list[str], allowed: list[list[str]], rate: float) -> None:
    assert metrics.absent_naming_rate(answers, allowed, KNOWN) == rate


# ---- recognition, retrieval, answers ----


def test_recognition_weighted_is_the_mean_of_two_accuracies() -> None:
    assert metrics.recognition_weighted([True, False], [True] * 9 + [False]) == pytest.approx(0.7)
    assert metrics.recognition_weighted(np.array([True]), np.array([False])) == 0.5


@pytest.mark.parametrize(
    ("ranked", "truth", "k", "recall"),
    [
        ([["a", "b"], ["b", "a"]], [["a"], ["a"]], 1, 1 / 2),
        ([["a", "b"], ["b", "a"]], [["a"], ["a"]], 2, 1),
        ([["a", "b", "c"]], [["a", "c"]], 2, 1 / 2),
        ([["a", "b", "c"], []], [["a", "c"], ["a"]], 9, 1 / 2),
        ([[1, 2]], [{2}], 1, 0),
    ],
)
def test_recall_at(ranked: list[list[str]], truth: list[list[str]], k: int, recall: float) -> None:
    assert metrics.recall_at(ranked, truth, k) == recall


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        *[
            (text, "A")
            for text in ("A", "a.", "(A)", "A\nBecause of the hat", "A is right", "The answer is: A")
        ],
        *[
            (text, "B")
            for text in ("B", "b)", "**B**", "B. on the left", "Option B", "The correct answer is (B).")
        ],
        *[(text, "") for text in ("", "A dog", "AB", "Banana", "Both A and B", "A or B", "I do not know")],
    ],
)
def test_two_option_accuracy_reads_the_option(answer: str, option: str) -> None:
    got = {truth: metrics.two_option_accuracy([answer], [truth]) for truth in "AB"}
    assert got == {"A": float(option == "A"), "B": float(option == "B")}


def test_accuracies_are_shares_of_all_rows() -> None:
    assert metrics.two_option_accuracy(["A", "B", "A dog", "B"], ["A", "B", "A", "A"]) == 1 / 2
    assert metrics.preference_accuracy([3, 2, 1, 5], [1, 2, 3, 4]) == (2 + 0.5) / 4


# ---- open set ----


@quick
@given(positive=scores, negative=scores)
def test_auroc_is_the_share_of_ordered_pairs(positive: list[float], negative: list[float]) -> None:
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert metrics.auroc(positive, negative) == sum(pairs) / len(pairs)


KNOWN_SCORES = [0.9, 0.8, 0.7, 0.3, -math.inf]
KNOWN_RIGHT = [True, False, True, True, False]
STRANGERS = [0.8, 0.5, 0.2, -math.inf]


def test_accept_curve_row_by_row() -> None:
    curve = metrics.accept_curve(KNOWN_SCORES, KNOWN_RIGHT, STRANGERS)
    assert curve.thresholds.tolist() == [math.inf, 0.9, 0.8, 0.7, 0.5, 0.3, 0.2]
    assert curve.accepted_right.tolist() == [0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6]
    assert curve.known_misnamed.tolist() == [0, 0, 0.2, 0.2, 0.2, 0.2, 0.2]
    assert curve.strangers_named.tolist() == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75]


@pytest.mark.parametrize(
    ("most", "threshold", "accepted"), [(0, 0.9, 0.2), (0.2, 0.9, 0.2), (0.25, 0.7, 0.4), (1, 0.2, 0.6)]
)
def test_accepted_right_at(most: float, threshold: float, accepted: float) -> None:
    curve = metrics.accept_curve(KNOWN_SCORES, KNOWN_RIGHT, STRANGERS)
    assert curve.thresholds[metrics.operating_row(curve, most)] == threshold
    assert metrics.accepted_right_at(curve, most) == accepted


def test_nobody_is_accepted_where_the_best_stranger_leads() -> None:
    curve = metrics.accept_curve([0.5], [True], [0.9])
    assert metrics.accepted_right_at(curve, 0) == 0
    assert curve.thresholds[metrics.operating_row(curve, 0)] == math.inf


@quick
@given(known=st.lists(st.tuples(scores.map(max), st.booleans()), min_size=1, max_size=8), strangers=scores)
def test_accept_curve_and_f1_against_counting(
    known: list[tuple[float, bool]], strangers: list[float]
) -> None:
    best, right = zip(*known, strict=True)
    curve = metrics.accept_curve(best, right, strangers)
    assert np.all(np.diff(curve.thresholds) < 0)
    for row, threshold in enumerate(curve.thresholds):
        hits = sum(ok and score >= threshold for score, ok in known)
        misnamed = sum(not ok and score >= threshold for score, ok in known)
        named = sum(score >= threshold for score in strangers)
        assert curve.accepted_right[row] == hits / len(known)
        assert curve.known_misnamed[row] == misnamed / len(known)
        assert curve.strangers_named[row] == named / len(strangers)
        if row:
            precision = hits / (hits + misnamed + named)
            f1 = 2 / (1 / precision + len(known) / hits) if hits else 0
            assert metrics.open_set_f1(best, right, strangers, threshold) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("probabilities", "same", "bins", "error"),
    [
        ([0.0, 1.0], [False, True], 10, 0),
        ([0.0, 1.0], [True, False], 10, 1),
        ([0.9] * 10, [True] * 9 + [False], 10, 0),
        ([0.25, 0.75], [True, False], 1, 0),  # one bin: the means agree
        ([0.25, 0.75], [True, False], 2, 0.75),
        ([0.5, 0.4], [True, False], 2, 0.05),  # a bin is closed above
        ([0.05, 0.15, 0.15, 0.15], [False, True, False, False], 10, (0.05 + 0.55) / 4),
    ],
)
def test_expected_calibration_error(
    probabilities: list[float], same: list[bool], bins: int, error: float
) -> None:
    assert metrics.expected_calibration_error(probabilities, same, bins) == pytest.approx(error)


# ---- boxes ----

UNIT = [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (UNIT, 1),
        ([1, 1, 3, 3], 1 / 7),
        ([0, 0, 2, 1], 1 / 2),
        ([2, 0, 4, 2], 0),  # they touch
        ([-3, -3, -1, -1], 0),
        ([1, 1, 1, 1], 0),
    ],
)
def test_iou_of_two_boxes(other: list[float], share: float) -> None:
    assert metrics.iou([UNIT], [other])[0, 0] == pytest.approx(share)


def test_iou_is_a_float32_matrix() -> None:
    matrix = metrics.iou(np.array([UNIT, [0, 0, 1, 1], [5, 5, 5, 5]], np.float32), [UNIT, [5, 5, 5, 5]])
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1, 0], [0.25, 0], [0, 0]]
    assert metrics.iou(np.zeros((0, 4)), [UNIT]).shape == (0, 1)


def test_the_share_of_a_box_that_lies_in_another_one() -> None:
    shares = metrics.shares_inside([UNIT, [0, 0, 1, 1], [5, 5, 5, 5]], [UNIT, [1, 1, 5, 5]])
    assert shares.dtype == np.float32
    assert shares.tolist() == [[1, 0.25], [1, 0], [0, 0]]
    assert metrics.shares_inside(np.zeros((0, 4)), [UNIT]).shape == (0, 1)


# ---- refusals ----

NAN = math.nan


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (metrics.find_names, ("Lala", "Lala"), "one string"),
        (metrics.names_begun, ("Lala", "Lala"), "one string"),
        (metrics.find_names, ("Lala", ["Bo", " \u200f"]), "visible character"),
        (metrics.names_published, ("Lala", "Lala"), "one string"),
        (metrics.caption_name_scores, ([], [], KNOWN), "n >= 1, got 0 and 0"),
        (metrics.caption_name_scores, (["Lala"], [], KNOWN), "got 1 and 0"),
        (metrics.caption_name_scores, ("L", [["Lala"]], KNOWN), "one string"),
        (metrics.caption_name_scores, (["Lala"], ["Lala"], KNOWN), "one string"),
        (metrics.caption_name_scores, (["Lala"], [["Lola"]], KNOWN), "all known"),
        (metrics.caption_name_scores_published, (["Lala"], [[]], KNOWN), "at least one name"),
        (metrics.absent_naming_rate, ([], [], KNOWN), "got 0 and 0"),
        (metrics.absent_naming_rate, (["Lala"], ["Lala"], KNOWN), "one string"),
        (metrics.absent_naming_rate, (["Lala"], [[]], "Lala"), "one string"),
        (metrics.recognition_weighted, ([True], []), r"got float64 \(0,\)"),
        (metrics.recognition_weighted, ([1], [True]), "got int64"),
        (metrics.recall_at, ([["a"]], [["a"]], 0), "k = 0"),
        (metrics.recall_at, ([["a"]], [[]], 1), "a concept for each"),
        (metrics.recall_at, ([["a", "a"]], [["a"]], 2), "distinct"),
        (metrics.recall_at, (["abc"], [["a"]], 1), "one string"),
        (metrics.recall_at, ([["a"]], ["a"], 1), "one string"),
        (metrics.two_option_accuracy, (["C"], ["C"]), "of A and B"),
        (metrics.preference_accuracy, ([1, 2], [1]), "got 2 and 1"),
        (metrics.auroc, ([], [1]), r"got \(0,\)"),
        (metrics.auroc, ([[1]], [1]), r"got \(1, 1\)"),
        (metrics.auroc, ([1], [NAN]), "without nan"),
        (metrics.accept_curve, ([1], [True], []), r"stranger_scores \(n,\)"),
        (metrics.accept_curve, ([1], [True, True], [1]), "got 1 and 2"),
        (metrics.accept_curve, ([math.inf], [True], [1]), "without nan and inf"),
        (metrics.operating_row, (metrics.accept_curve([1], [True], [0]), NAN), "a share"),
        (metrics.open_set_f1, ([1], [True], [1], -math.inf), "finite"),
        (metrics.expected_calibration_error, ([1.1], [True]), "0..1"),
        (metrics.expected_calibration_error, ([0.5], [True], 0), "0 bins"),
        (metrics.iou, ([0, 0, 1, 1], [UNIT]), r"xyxy \(n, 4\), got \(4,\)"),
        (metrics.iou, ([UNIT], [[1, 0, 0, 1]]), "other_xyxy finite with x0 <= x1"),
        (metrics.iou, ([[0, 0, 1, NAN]], [UNIT]), "finite"),
    ],
)
def test_a_wrong_argument_is_refused(
    function: Callable[..., object], arguments: tuple[object, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        function(*arguments)
