"""Merge, split and move views, and taking several changes back at once."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from children import files
from crops import crop
from kinsight.errors import ConceptError, DuplicateName, NothingToUndo, UnknownConcept
from kinsight.store import Changes, Incoming, IncomingCrop, Naming, Store, now
from kinsight.types import Concept


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """Lala with three views and a negative, Tom with two views and a negative that shows Lala."""
    with Store.open(path) as opened:
        opened.remember(crop(1), "Lala", "dog", "She loves the sea.")
        opened.add_view("Lala", crop(2))
        opened.add_view("Lala", crop(3))
        opened.add_negative("Lala", crop(20))
        opened.edit("Lala", Changes(add_aliases=("Lalita",)))
        opened.remember(crop(11), "Tom", "cat", "He sleeps.")
        opened.add_view("Tom", crop(12))
        opened.add_negative("Tom", crop(2))
        opened.edit("Tom", Changes(add_aliases=("Tommy",)))
        yield opened


TABLES = ("concept", "alias", "view", "negative", "vector")


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that the store holds, but for the journal."""
    with sqlite3.connect(path) as db:
        found = {table: db.execute(f"select * from {table} order by id").fetchall() for table in TABLES}
    db.close()
    return found


def photos(concept: Concept) -> list[int]:
    """Seeds of the views."""
    return [int(view.photo_sha256, 16) for view in concept.views]


def test_merge(store: Store, path: Path) -> None:
    before, lala = rows(path), store.concept("Lala")
    merged = store.merge("tommy", "LALITA")
    assert store.concepts() == [merged]
    assert (merged.id, merged.name, merged.category) == (lala.id, "Lala", "dog")
    assert merged.aliases == ("Lalita", "Tommy", "Tom")
    assert merged.info == "She loves the sea.\nHe sleeps."
    assert photos(merged) == [1, 2, 3, 11, 12]
    assert [int(n.photo_sha256, 16) for n in merged.negatives] == [20]  # that Tom is not Lala is no longer so
    assert store.concept("tom") == merged
    assert store.size()["vector"] == 6
    assert (store.history(1)[0].verb, store.history(1)[0].summary) == ("merge", 'merged "Tom" into "Lala"')
    assert store.undo() == 'merged "Tom" into "Lala"'
    assert rows(path) == before
    assert store.check() == []


def test_merge_fills_what_is_empty(store: Store, path: Path) -> None:
    store.remember(crop(30), "Momo")
    with sqlite3.connect(path) as db:
        db.execute("update concept set fingerprint = ? where name = 'Tom'", (json.dumps({"fur": "grey"}),))
    db.close()
    merged = store.merge("Tom", "Momo")
    assert (merged.category, merged.info, merged.fingerprint) == ("cat", "He sleeps.", {"fur": "grey"})
    assert store.merge("Lala", "Momo").fingerprint == {"fur": "grey"}
    assert store.concept("Momo").category == "cat"


def test_merge_refuses(store: Store, path: Path) -> None:
    store.edit("Lala", Changes(info="l" * 6000))
    store.edit("Tom", Changes(info="t" * 6000))
    before = rows(path)
    with pytest.raises(ConceptError, match=r"12001 characters together, at most 10000.*shorten one"):
        store.merge("Tom", "Lala")
    with pytest.raises(ConceptError, match='"Lala" cannot be merged into itself'):
        store.merge("Lala", "lalita")
    with pytest.raises(UnknownConcept, match='did you mean "Tommy" or "Tom"'):
        store.merge("Lala", "Tomm")
    assert rows(path) == before
    assert store.history(1)[0].verb == "edit"


def test_split(store: Store, path: Path) -> None:
    before = rows(path)
    lala = store.concept("Lala")
    second, third = lala.views[1:]
    momo = store.split("Lala", [third.id, second.id, third.id], " Momo ")
    assert (momo.name, momo.category, momo.info, momo.aliases) == ("Momo", "dog", "", ())
    assert momo.views == (second, third)
    assert store.concept("Lala").views == lala.views[:1]
    assert store.history(1)[0].summary == 'split 2 views of "Lala" off as "Momo"'
    vectors = store.vectors("e")
    assert vectors.view_concepts.tolist() == [1, 3, 3, 2, 2]
    store.undo()
    assert rows(path) == before


def test_what_was_merged_can_be_split_again(store: Store, path: Path) -> None:
    store.merge("Tom", "Lala")
    before = rows(path)
    tom = store.split("Lala", [view.id for view in store.concept("Lala").views[3:]], "Tom")
    assert photos(tom) == [11, 12]
    assert store.concept("Lala").aliases == ("Lalita", "Tommy")
    store.undo()
    assert rows(path) == before


def test_move(store: Store, path: Path) -> None:
    before = rows(path)
    wrong = store.concept("Lala").views[1]
    tom = store.move([wrong.id], "lalita", "tom")
    assert photos(tom) == [2, 11, 12]
    assert photos(store.concept("Lala")) == [1, 3]
    assert store.history(1)[0].summary == 'moved 1 view of "Lala" to "Tom"'
    store.undo()
    assert rows(path) == before


def test_views_and_negatives_are_taken_away_and_come_back(store: Store, path: Path) -> None:
    before = rows(path)
    lala = store.concept("Lala")
    first, second, third = (view.id for view in lala.views)
    (negative,) = (crop.id for crop in lala.negatives)
    left = store.edit("Lala", Changes(remove_views=(third, first), remove_negatives=(negative,)))
    assert ([view.id for view in left.views], left.negatives) == ([second], ())
    assert store.history(1)[0].summary == (
        f'took views {first}, {third} of "Lala" away, took negative {negative} of "Lala" away'
    )
    assert len(store.vectors("e").view_ids) == 3
    store.undo()
    assert rows(path) == before


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (Changes(remove_views=(1, 2, 3)), 'leave "Lala" without any view: .*kinsight forget'),
        (Changes(remove_views=(4,)), 'has no view 4: the views of "Lala" are: 1, 2, 3'),
        (Changes(info="new", remove_negatives=(9,)), 'has no negative 9: the negatives of "Lala" are: 1$'),
    ],
)
def test_what_is_not_there_is_not_taken_away(
    store: Store, path: Path, changes: Changes, problem: str
) -> None:
    before = rows(path)
    with pytest.raises(ConceptError, match=problem):
        store.edit("Lala", changes)
    assert rows(path) == before


def test_a_negative_must_be_taken_back_before_it_is_a_view(store: Store) -> None:
    with pytest.raises(ConceptError, match=r'not "Lala": it is negative 1 .*edit Lala --no-negative 1'):
        store.add_view("Lalita", crop(20))
    store.edit("Lala", Changes(remove_negatives=(1,)))
    assert photos(store.add_view("Lala", crop(20))) == [1, 2, 3, 20]


def negatives(concept: Concept) -> list[int]:
    return [int(negative.photo_sha256, 16) for negative in concept.negatives]


def test_no_verb_makes_a_view_a_negative_of_its_own(store: Store, path: Path) -> None:
    """Where a view is put by hand, or both are new, the negative goes; else the new one is refused."""
    store.add_negative("Tom", crop(30))
    before = rows(path)
    assert (photos(store.move([2], "Lala", "Tom")), negatives(store.concept("Tom"))) == ([2, 11, 12], [30])
    store.undo()
    assert rows(path) == before and negatives(store.concept("Tom")) == [2, 30]
    assert negatives(store.merge("Lala", "Tom")) == [20, 30]
    store.undo()
    assert negatives(store.merge("Tom", "Lala")) == [20, 30]
    store.undo()
    part = store.split("Lala", [2], "Momo")
    assert (photos(part), part.negatives, rows(path)["negative"]) == ([2], (), before["negative"])
    store.undo()
    for naming, words in (
        (
            Naming("Tom", (crop(60), crop(61), crop(2)), known=True),
            'one of these is not "Tom": it is negative 2 .*--no-negative 2`, or leave it out',
        ),
        (
            Naming("Tom", (crop(60),), (crop(61), crop(11)), known=True),
            'one of these is view 4 of "Tom" itself',
        ),
        (Naming("Tom", (crop(60),), (crop(11),), known=True), '^this is view 4 of "Tom" itself'),
    ):
        with pytest.raises(ConceptError, match=words):
            store.album.name(naming)
        assert rows(path) == before
    kept = store.album.name(Naming("Bruno", (crop(60), crop(2)), (crop(2), crop(61))))
    assert (photos(kept), negatives(kept)) == ([60, 2], [61])
    store.undo()
    assert rows(path) == before and store.check() == []


def test_an_incoming_concept_is_of_one_mind(store: Store) -> None:
    one, other = (
        IncomingCrop(lambda: b"jpeg", crop(seed).xyxy, crop(seed).photo_sha256, now()) for seed in (70, 71)
    )
    zoe = Incoming("Zoe", (), "", "", None, now(), now(), (one,), (one, other))
    store.bring([zoe])
    assert (photos(store.concept("Zoe")), negatives(store.concept("Zoe"))) == ([70], [71])


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        (
            lambda store: store.split("Lala", [5], "Momo"),
            '"Lala" has no view 5: the views of "Lala" are: 1, 2, 3',
        ),
        (lambda store: store.split("Lala", [1, 2, 3], "Momo"), 'without any view: rename "Lala"'),
        (lambda store: store.split("Lala", [], "Momo"), "no view was chosen"),
        (
            lambda store: store.split("Lala", [1], "Tommy"),
            'as an alias of "Tom": `kinsight move 1 --from Lala --to Tommy` gives it these',
        ),
        (lambda store: store.split("Lala", [1], "Lala"), '"Lala" is in the store already'),
        (lambda store: store.split("Lala", [1], "\n"), "the name is empty"),
        (lambda store: store.move([1, 2, 3], "Lala", "Tom"), 'merge "Lala" into "Tom"'),
        (lambda store: store.move([1], "Lala", "Lalita"), 'are of "Lala" already'),
        (lambda store: store.move([4], "Lala", "Tom"), '"Lala" has no view 4'),
        (lambda store: store.move([1], "Lala", "Zoe"), 'nothing called "Zoe"'),
    ],
)
def test_regrouping_refuses_and_leaves_all_as_it_was(
    store: Store, path: Path, deed: Callable[[Store], object], reason: str
) -> None:
    before, generation = rows(path), store.generation()
    with pytest.raises(ConceptError) as caught:
        deed(store)
    assert reason in str(caught.value)
    assert (rows(path), store.generation(), store.history(1)[0].verb) == (before, generation, "edit")


def test_undo_takes_several_back_or_none(store: Store, path: Path) -> None:
    before = rows(path)
    store.split("Lala", [1], "Momo")
    store.move([2], "Lala", "Momo")
    store.merge("Tom", "Momo")
    after = rows(path)
    with pytest.raises(NothingToUndo, match="13 changes cannot be undone, there are only 12"):
        store.undo_last(13)
    assert rows(path) == after
    assert store.undo_last(3) == [
        'merged "Tom" into "Momo"',
        'moved 1 view of "Lala" to "Momo"',
        'split 1 view of "Lala" off as "Momo"',
    ]
    assert rows(path) == before
    assert len(store.undo_last(9)) == 9
    assert all(found == [] for found in rows(path).values())
    with pytest.raises(NothingToUndo, match="nothing to undo"):
        store.undo_last(2)


def test_undo_of_several_stops_at_a_name_that_is_taken_by_now(store: Store) -> None:
    store.edit("Tom", Changes(name="Thomas"))
    store.remember(crop(40), "Tom")
    store.merge("Lala", "Thomas")
    with sqlite3.connect(store.path) as db:  # as forget does with what is about another one
        db.execute("delete from journal where verb = 'remember' and summary like '%Tom%' and id > 8")
    db.close()
    before = rows(store.path)
    with pytest.raises(DuplicateName, match='"Tom" is taken by now'):
        store.undo_last(2)
    assert rows(store.path) == before


def test_forget_finds_what_was_merged_into_it(store: Store, path: Path) -> None:
    """Names, infos and pictures of a concept that became part of another go with that."""
    store.edit("Tom", Changes(name="Formername", info="Formerinfo."))
    store.remember(crop(50), "Zoe", info="A friend of Formername.")
    store.edit("Zoe", Changes(info="A friend."))
    store.edit("Tommy", Changes(name="Thomas", info="He sleeps a lot."))
    store.merge("Thomas", "Lala")
    store.forget("Lala")
    content = b"".join(files(path).values())
    needles = [b"Formername", b"Formerinfo", b"Thomas", b"Tommy", b"Lalita"]
    needles += [crop(seed).picture_jpeg[100:116] for seed in (1, 2, 3, 11, 12, 20)]
    needles += [crop(seed).vector.tobytes()[:16] for seed in (1, 2, 3, 11, 12, 20)]
    assert [needle for needle in needles if needle in content] == []
    assert [concept.name for concept in store.concepts()] == ["Zoe"]
    assert store.check() == []
