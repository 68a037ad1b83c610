"""Any name at all: kept, found, given out, brought in and backed up unchanged, or refused with a reason."""

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from crops import crop
from kinsight.cli.show import clean_line
from kinsight.errors import ConceptError, DuplicateName, UnknownConcept
from kinsight.exchange import export_folder, export_rap, read_folder, read_rap
from kinsight.image import Mark, annotate, encode_jpeg
from kinsight.image.text import drawable
from kinsight.store import Incoming, IncomingCrop, Store, backup, restore
from kinsight.store.names import clean_name, name_key

ODD = [
    *("Ann", "Anna", "Ann Anna", "ann.", "Anna's", "Ann\nAnna", "An", "A"),
    *("🐕", "👩🏽\u200d🚀", "👨\u200d👩\u200d👧 Family", "🇩🇪", "1\ufe0f\u20e3", "😀" * 100),
    *("שלום", "مرحبا", "\u202eevil", "a\u200bb", "לאה (Lea)", "नमस्ते", "狗"),
    *("ß", "SS", "İ", "ı", "ﬁ", "Ὀδυσσεύς", "ς", "e\u0301", "\u1100\u1161", "Z\u0351\u036b\u0343algo"),
    *("\u00a0x\u00a0", "\ufeffx", "x" * 500, "é" * 500, "ß" * 500),
    *(
        "'",
        '"',
        '"Lala"',
        "O'Neil",
        "\\",
        "\\n",
        "%",
        "_",
        "%s",
        "{name}",
        "<b>",
        "<Anya>",
        "[bold]",
        "$HOME",
    ),
    *("'; drop table concept; --", '" or 1=1 --', "null", "NaN", "true", "0", "-1", "name", "concept"),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\x",
        "CON",
        ".",
        "..",
        "a/b",
        "~",
        "pictures/000001.jpg",
        "--help",
    ),
    *("line\nbreak", "tab\tstop", "carriage\rreturn", "a  b", '{"a": 1}', "a,b;c", "#", "`ls`"),
]
REFUSED = [
    "",
    " ",
    "\n",
    "\u200b",
    "\u202e\u202c",
    "a\0b",
    "\x1b[31m",
    "\x85",
    "\ud800",
    "a\udfff",
    "y" * 501,
    "\x7f",
]
ALPHABETS = [
    "aAbBnN ",
    "aä\u0308ÄaßẞsS\u0301éÉ\u0345",
    "אבגabc\u200f\u202e\u2066\u2069 ",
    "👩🏽\u200d🚀🐕🦺\ufe0f🇩🇪",
    "'\"\\;%_-{}<>[]`$/.~\n\t\r ",
    "한\u1112\u1161\u11ab가狗猫नमस्ते",
]


def invented(count: int, seed: int) -> list[str]:
    """Names from odd alphabets, and from all of Unicode, surrogates and control characters among it."""
    dice = random.Random(seed)
    names = []
    for number in range(count):
        length = dice.choice((1, 2, 3, 5, 8, 20, 60))
        if number % 4 == 0:
            names.append("".join(chr(dice.randrange(0x110000)) for _ in range(length)))
        elif number % 4 == 1:
            names.append("".join(chr(dice.randrange(0x3000)) for _ in range(length)))
        else:
            names.append("".join(dice.choices(dice.choice(ALPHABETS), k=length)))
    return names


TINY = encode_jpeg(np.zeros((1, 1, 3), np.uint8))


def incoming(name: str) -> Incoming:
    at = "2026-11-23T10:00:00+00:00"
    view = IncomingCrop(lambda: TINY, (0.0, 0.0, 1.0, 1.0), "0" * 64, at)
    return Incoming(name, (), name, f"About {name}", None, at, at, (view,), ())


def acceptable(names: list[str]) -> list[str]:
    """The names that are kept, each key once; every other one is refused with a reason."""
    kept: dict[str, str] = {}
    for name in names:
        try:
            kept.setdefault(name_key(clean_name(name)), clean_name(name))
        except ConceptError as error:
            assert error.problem.startswith("the name ") and error.mend
    return list(kept.values())


def normal(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def silent(what: str, done: int, total: int) -> None:
    pass


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_kept(name: str) -> None:
    assert clean_name(name) == normal(name)


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ConceptError, match="the name"):
        clean_name(name)


def test_any_name_goes_the_whole_way(tmp_path: Path) -> None:
    assert the_whole_way(tmp_path, count=400, seed=6) > 300


def the_whole_way(tmp_path: Path, count: int, seed: int) -> int:
    """Remembered, found, shown, given out in both layouts, brought in, backed up; how many names it were."""
    names = acceptable([*ODD, *invented(count, seed)])
    with Store.open(tmp_path / "store.db") as store:
        store.bring([incoming(name) for name in names])
        known = store.concepts()
        assert [concept.name for concept in known] == names
        assert [concept.info for concept in known] == [normal(f"About {name}") for name in names]
        for concept in known[::10]:
            assert store.concept(concept.name) == concept
            assert store.concept(f" {concept.name}\n") == concept
        require_shown(names if count > 1000 else names[::10])
        export_folder(store, tmp_path / "out", silent)
        export_rap(store, tmp_path / "rap", silent)
        backup(store, tmp_path / "backup.zip")
    for place in ("import", "rap-import", "restored"):
        (tmp_path / place).mkdir()
    restore(tmp_path / "restored" / "store.db", tmp_path / "backup.zip")
    with Store.open(tmp_path / "restored" / "store.db") as store:
        assert store.concepts() == known
    with Store.open(tmp_path / "import" / "store.db") as store:
        store.bring(read_folder(tmp_path / "out", silent))
        assert store.concepts() == known
    with Store.open(tmp_path / "rap-import" / "store.db") as store:
        store.bring(read_rap(tmp_path / "rap", silent))
        assert [concept.name for concept in store.concepts()] == names
    return len(names)


def require_shown(names: list[str]) -> None:
    """Each leaves ink on a picture, and on a terminal nothing but what can be printed."""
    blank = np.full((60, 200, 3), 128, np.uint8)
    plate = annotate(blank, [Mark((20.0, 30.0, 180.0, 58.0), "", "accepted")])
    for name in names:
        drawn = annotate(blank, [Mark((20.0, 30.0, 180.0, 58.0), name, "accepted")])
        inked = (drawn != plate).any(axis=2).sum()
        assert inked > 40 or not drawable(name).strip(), name
        said = clean_line(name)
        assert said and not {unicodedata.category(character) for character in said} & {"Cc", "Cs"}, name


def test_odd_names_through_every_change(tmp_path: Path) -> None:
    """Remembered, renamed, merged, split, undone and forgotten, each beside all the others."""
    names = acceptable([*ODD, *invented(60, seed=7)])
    with Store.open(tmp_path / "store.db") as store:
        store.bring([incoming(name) for name in names])
        store.remember(crop(1), "somebody else")
        before = store.concepts()
        for name in names[::8]:
            with pytest.raises(DuplicateName):
                store.remember(crop(2), name)
            merged = store.merge(name, "somebody else")
            assert merged.aliases == (name,)
            assert store.split("somebody else", [merged.views[1].id], name).name == name
            assert len(store.undo_last(2)) == 2
        assert store.concepts() == [*before[:-1], store.concept("somebody else")]
        for name in names[::8]:
            store.forget(name)
            with pytest.raises(UnknownConcept):
                store.concept(name)
        assert {concept.name for concept in store.concepts()} == {*names, "somebody else"} - {*names[::8]}
        assert store.check() == []
