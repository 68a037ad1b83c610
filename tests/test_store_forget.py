"""What is forgotten leaves no byte behind, and undo stays sound."""

import base64
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from children import files, filled, held
from crops import crop
from kinsight.errors import ConceptError, DuplicateName, NothingToUndo, StoreBusy
from kinsight.store import Changes, Incoming, IncomingCrop, Owner, Store, now
from kinsight.store.forgetting import _named_in
from kinsight.types import Kind


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


FORGOTTEN = unicodedata.normalize("NFD", "Zölestine Übermütig")


def traces(name: str, info: str, seeds: tuple[int, ...]) -> list[bytes]:
    """What must not be found: spellings of the name, the info, slices of pictures, vectors."""
    needles = [unicodedata.normalize(form, name).encode() for form in ("NFC", "NFD")]
    needles += [spelling.casefold().encode() for spelling in (name, unicodedata.normalize("NFC", name))]
    needles += [info.encode(), b"Secondname", b"secondname", b"Thirdname", b"thirdname"]
    for seed in seeds:
        picture, vector = crop(seed).picture_jpeg, crop(seed).vector
        needles += [picture[start : start + 16] for start in range(0, len(picture) - 16, 200)]
        needles.append(vector.tobytes()[:16])
    return needles


def found_in(path: Path, needles: list[bytes]) -> list[bytes]:
    content = b"".join(files(path).values())
    return [needle for needle in needles if needle in content]


def live(store: Store) -> None:
    """A life of a concept among others that leaves traces everywhere."""
    store.remember(crop(1), "Momo", info="a friend of Zölestine Übermütig")
    store.remember(crop(2), FORGOTTEN, "dog", "her secret info")
    store.add_view(FORGOTTEN, crop(3))
    store.add_negative(FORGOTTEN, crop(4))
    store.add_negative("Momo", crop(2))
    store.edit("Momo", Changes(info="a friend of nobody"))
    store.edit(FORGOTTEN, Changes(name="Secondname", add_aliases=("Thirdname", FORGOTTEN)))
    store.edit("Secondname", Changes(remove_aliases=("Thirdname",), info="Her secret info, changed"))
    store.remember(crop(5), "Bobo")
    store.edit("Bobo", Changes(category="cat"))


def test_forget_leaves_no_byte_behind(path: Path) -> None:
    needles = traces(FORGOTTEN, "secret info", (2, 3, 4))
    with Store.open(path) as store:
        live(store)
        assert set(found_in(path, needles)) > {needles[0], b"Secondname", b"Thirdname", b"secret info"}
        store.forget("secondname")
        assert found_in(path, needles) == []
        assert [concept.name for concept in store.concepts()] == ["Momo", "Bobo"]
        assert store.concept("Momo").negatives == ()
        assert [entry.summary for entry in store.history()] == [
            'changed the category of "Bobo"',
            'remembered "Bobo"',
        ]
        assert store.size()["vector"] == 2
        assert store.check() == []
        store.undo()
        store.undo()
        with pytest.raises(NothingToUndo):
            store.undo()
        assert store.concept("Momo").info == "a friend of nobody"
    assert found_in(path, needles) == []


def test_forget_says_who_still_mentions_it(path: Path) -> None:
    with Store.open(path) as store:
        store.remember(crop(1), "Ann", info="the aunt of Momo")
        store.remember(crop(2), "Momo", info="her name is Momo")
        store.remember(crop(3), "Momona", info="nobody's, momo\u0301 least of all")
        store.remember(crop(4), "Tom")
        store.edit("Tom", Changes(add_aliases=("MOMO's cat",)))
        assert store.forget("momo").mentioned_by == ("Ann", "Tom")
        assert store.concept("Ann").info == "the aunt of Momo"
        assert store.forget("Tom").mentioned_by == ()


def test_forget_keeps_the_undo_of_others_with_a_longer_name(path: Path) -> None:
    with Store.open(path) as store:
        store.remember(crop(1), "Anna")
        store.remember(crop(2), "Ann")
        store.edit("Anna", Changes(name="Anna Lena"))
        store.forget("Ann")
        assert store.undo() == 'renamed "Anna" to "Anna Lena"'
        assert [concept.name for concept in store.concepts()] == ["Anna"]


def test_forget_takes_others_changes_that_name_it(path: Path) -> None:
    with Store.open(path) as store:
        store.remember(crop(1), "Tom")
        store.remember(crop(2), "Zorro")
        store.remember(crop(3), "Zorro the Second")
        store.edit("Tom", Changes(add_aliases=("Zorro's friend", "ze'Zorro")))
        store.edit("Tom", Changes(remove_aliases=("Zorro's friend", "ze'Zorro"), category="cat"))
        store.edit("Zorro the Second", Changes(category="dog"))
        told = store.would_forget("Zorro")
        assert (told.photos, told.changes, len(store.history())) == (0, 3, 6)
        assert store.forget("Zorro") == told
        assert [entry.summary for entry in store.history()] == [
            'changed the category of "Zorro the Second"',
            'remembered "Zorro the Second"',
        ]
        store.forget("Zorro the Second")
    assert found_in(path, [b"Zorro", b"zorro"]) == []


@pytest.mark.parametrize(
    "text,named",
    [
        ("anna and ann", True),
        ("Anna", False),
        ("ann's", True),
        ("my-ANN_1.jpg", True),
        ("/home/hannes/annex", False),
        ("Joann, Ann", True),
    ],
)
def test_a_name_in_a_text(text: str, named: bool) -> None:
    assert _named_in(text, {"ann"}) == named


def test_a_name_in_a_text_without_spaces() -> None:
    assert _named_in("我的拉拉在这里", {"拉拉"}) and _named_in("ולאה", {"לאה"})


def test_forget_never_lets_undo_jump_over_a_change(path: Path) -> None:
    with Store.open(path) as store:
        store.remember(crop(1), "Momo")
        store.edit("Momo", Changes(name="Lala"))
        store.edit("Lala", Changes(name="Mimi"))
        store.remember(crop(2), "Lala")
        store.edit("Mimi", Changes(info="x"))
        store.forget("Lala")
        store.undo()
        with pytest.raises(NothingToUndo):
            store.undo()
        assert store.concept("Mimi").info == ""


def test_undo_does_not_give_a_name_to_two(path: Path) -> None:
    with Store.open(path) as store:
        store.remember(crop(1), "Momo")
        store.edit("Momo", Changes(name="Mimi"))
        store.remember(crop(2), "Lala")
        store.edit("Lala", Changes(name="Momo"))
        store.remember(crop(3), "Lala")
        store.forget("Lala")
        before = store.concepts()
        with pytest.raises(DuplicateName, match='"Momo" is taken by now'):
            store.undo()
        assert store.concepts() == before


def test_forget_while_another_process_reads_is_finished_later(path: Path) -> None:
    needles = traces(FORGOTTEN, "secret info", (2, 3))
    with Store.open(path, timeout=0.05) as store:
        live(store)
        with (
            held(path, "deferred"),
            pytest.raises(StoreBusy, match="is forgotten, but traces of it are still"),
        ):
            store.forget("secondname")
        assert [concept.name for concept in store.concepts()] == ["Momo", "Bobo"]
        assert found_in(path, needles)
        with Store.open(path):
            assert found_in(path, needles) == []


def test_forget_takes_former_names_and_shown_negatives_out_of_the_journal(path: Path) -> None:
    with Store.open(path) as store:
        store.remember(crop(1), "Momo", info="the rival of Zorro")
        store.remember(crop(2), "Zorro")
        store.edit("Zorro", Changes(name="Lala"))
        store.edit("Momo", Changes(info="nobody's rival"))
        store.remember(crop(3), "Bobo")
        store.add_negative("Bobo", crop(2))
        store.add_negative("Bobo", crop(4))
        store.forget("Lala")
        assert [entry.summary for entry in store.history()] == ['noted a picture that is not "Bobo"']
        assert len(store.concept("Bobo").negatives) == 1
    assert found_in(path, [b"Zorro", b"zorro", b"Lala"]) == []


def test_a_negative_that_was_taken_away_goes_too(path: Path) -> None:
    """The journal keeps it for undo, and it shows the forgotten."""
    encoded = base64.b64encode(crop(2).picture_jpeg)[:60]
    with Store.open(path) as store:
        store.remember(crop(1), "Momo")
        store.remember(crop(2), "Lala")
        store.add_view("Lala", crop(3))
        store.add_negative("Momo", crop(2))
        store.edit("Momo", Changes(remove_negatives=(1,)))
        assert found_in(path, [encoded])
        store.forget_crop("Lala", ("view", 2))
        assert found_in(path, [encoded]) == []
        store.add_negative("Momo", crop(3))
        store.edit("Momo", Changes(remove_negatives=(2,)))
        store.forget("Lala")
    assert found_in(path, [encoded, base64.b64encode(crop(3).picture_jpeg)[:60]]) == []


def test_forget_gives_the_room_back(path: Path) -> None:
    filled(path, 1)
    before = path.stat().st_size
    with Store.open(path) as store:
        store.remember(crop(7), "Lala")
        for seed in range(8, 40):
            store.add_view("Lala", crop(seed))
        store.forget("Lala")
        assert path.stat().st_size <= before + 4096
        assert path.with_name("store.db-wal").stat().st_size < 20_000


def test_a_view_alone_is_forgotten_and_its_concept_stays(path: Path) -> None:
    needles = traces("Nobody", "no info", (3,))
    with Store.open(path) as store:
        store.remember(crop(1), "Momo")
        concept = store.remember(crop(2), "Lala", info="her info")
        view = store.add_view("Lala", crop(3)).views[1].id
        store.add_negative("Momo", crop(3))
        store.edit("Lala", Changes(category="dog"))
        assert found_in(path, needles)
        assert (
            store.forget_crop("Lala", ("view", view)).changes == 4
        )  # all but the last: both concepts, the view, the negative
        assert found_in(path, needles) == []
        left = store.concept("Lala")
        assert (left.views, left.info, left.category) == (concept.views, "her info", "dog")
        assert store.concept("Momo").negatives == ()
        assert [entry.verb for entry in store.history()] == ["edit"]
        store.undo()
        assert store.concept("Lala").category == ""
        assert store.check() == []


def test_a_view_that_came_from_another_one_is_forgotten_with_what_tells_of_it(path: Path) -> None:
    with Store.open(path) as store:
        store.remember(crop(1), "Momo")
        store.remember(crop(2), "Lala")
        view = store.add_view("Lala", crop(3)).views[1].id
        store.move([view], "Lala", "Momo")
        store.remember(crop(4), "Bobo")
        store.forget_crop("Momo", ("view", view))
        assert [entry.summary for entry in store.history()] == ['remembered "Bobo"']
        assert found_in(path, traces("Nobody", "no info", (3,))) == []


@pytest.mark.parametrize("kind", ["view", "negative"])
def test_a_picture_that_was_taught_twice_is_forgotten_whole(path: Path, kind: Kind) -> None:
    """Also where one of the two was taken away before; what others have of it stays theirs."""
    with Store.open(path) as store:
        store.remember(crop(1), "Momo")
        store.remember(crop(2), "Lala")
        add = store.add_view if kind == "view" else store.add_negative
        copies = [crop(3), crop(4), *(replace(crop(3), photo_sha256=f"{file:064x}") for file in (91, 92))]
        ids = [add("Lala", one).crops(kind)[-1].id for one in copies]  # the same photo in other files, say
        first, other, copy, third = ids
        store.edit(
            "Lala", Changes(remove_views=(copy,)) if kind == "view" else Changes(remove_negatives=(copy,))
        )
        would = store.would_forget_crop("Lala", (kind, first))
        assert would.copies == (copy, third)
        assert store.forget_crop("Lala", (kind, first)) == would
        assert found_in(path, traces("Nobody", "no info", (3,))) == []
        assert [one.id for one in store.concept("Lala").crops(kind)][-1] == other
        assert store.forget_crop("Lala", (kind, other)).copies == ()
        assert store.check() == []


def test_the_copies_of_the_only_picture_are_not_forgotten_alone(path: Path) -> None:
    with Store.open(path) as store:
        first = store.remember(crop(1), "Momo").views[0].id
        store.add_view("Momo", crop(1))
        with pytest.raises(ConceptError, match="without any view"):
            store.forget_crop("Momo", ("view", first))
        store.add_view("Momo", crop(2))
        store.forget_crop("Momo", ("view", first))
        assert found_in(path, traces("Nobody", "no info", (1,))) == []


def test_what_was_taken_away_before_a_merge_is_forgotten_alone(path: Path) -> None:
    """Of both, also after a second merge, and not by the name of somebody else."""
    with Store.open(path) as store:
        gone: list[Owner] = []
        for number, name in enumerate(("Momo", "Lala", "Bobo")):
            store.remember(crop(10 * number + 1), name)
            view = store.add_view(name, crop(10 * number + 2)).views[1].id
            negative = store.add_negative(name, crop(10 * number + 3)).negatives[0].id
            store.edit(name, Changes(remove_views=(view,), remove_negatives=(negative,)))
            gone += [("view", view), ("negative", negative)]
        store.remember(crop(31), "Kim")
        store.merge("Lala", "Momo")
        store.merge("Momo", "Bobo")
        for owner in gone:
            with pytest.raises(ConceptError, match=f'"Kim" has no {owner[0]} {owner[1]}'):
                store.forget_crop("Kim", owner)
        needles = traces("Nobody", "no info", (2, 3, 12, 13, 22, 23))
        assert len(found_in(path, needles)) > 6
        store.forget_crop("Bobo", gone[2])  # it was Lala's; with it goes what tells of her, merges too
        assert found_in(path, traces("Nobody", "no info", (12,))) == []
        assert len(store.concept("Bobo").views) == 3 and store.check() == []


def test_what_came_in_together_is_not_the_same_one(path: Path) -> None:
    """Both are in one entry of the journal, and one of the two is gone, merged into a third."""
    with Store.open(path) as store:
        store.remember(crop(1), "Bobo")
        incoming = [
            Incoming(name, (), "", "", None, now(), now(), tuple(map(from_elsewhere, seeds)), ())
            for name, seeds in (("Lala", (2,)), ("Tom", (3, 4)))
        ]
        store.bring(incoming)
        taken = store.concept("Tom").views[1].id
        store.edit("Tom", Changes(remove_views=(taken,)))
        store.merge("Tom", "Bobo")
        with pytest.raises(ConceptError, match=f'"Lala" has no view {taken}'):
            store.forget_crop("Lala", ("view", taken))
        store.forget_crop("Bobo", ("view", taken))
        assert [len(concept.views) for concept in store.concepts()] == [2, 1]


def from_elsewhere(seed: int) -> IncomingCrop:
    view = crop(seed)
    return IncomingCrop(lambda: view.picture_jpeg, view.xyxy, view.photo_sha256, now())


def test_neither_the_only_view_nor_anothers_is_forgotten_alone(path: Path) -> None:
    with Store.open(path) as store:
        (only,) = store.remember(crop(1), "Momo").views
        store.remember(crop(2), "Lala")
        before = store.concepts()
        with pytest.raises(ConceptError, match=r"without any view: .*forget"):
            store.forget_crop("Momo", ("view", only.id))
        with pytest.raises(ConceptError, match=r'"Lala" has no view 1: the views of "Lala" are: 2'):
            store.forget_crop("Lala", ("view", only.id))
        assert len(store.history()) == 2
        assert store.concepts() == before
