"""What the store keeps, refuses, gives back and takes back."""

import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crops import crop
from kinsight.errors import ConceptError, DuplicateName, NothingToUndo, StoreError, UnknownConcept
from kinsight.store import Changes, NewView, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


def test_remembers_what_it_was_given(store: Store) -> None:
    view, other, negative = crop(1), crop(2), crop(3)
    concept = store.remember(view, " Lala ", "dog", "Likes tea.\nHates cats.")
    store.add_view("lala", other)
    store.add_negative("LALA", negative)

    assert (concept.name, concept.category, concept.info) == ("Lala", "dog", "Likes tea.\nHates cats.")
    known = store.concept("lala")
    assert store.concepts() == [known]
    assert [v.xyxy for v in known.views] == [view.xyxy, other.xyxy]
    assert [v.photo_sha256 for v in known.negatives] == [negative.photo_sha256]
    assert [store.view_picture(v.id) for v in known.views] == [view.picture_jpeg, other.picture_jpeg]
    assert store.picture("negative", known.negatives[0].id) == negative.picture_jpeg
    assert known.created.endswith("+00:00")
    assert store.check() == []


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db") as store:
        before = [store.remember(crop(i), f"concept {i}") for i in range(3)]
    with Store.open(tmp_path / "store.db") as store:
        assert store.concepts() == before
        assert store.undo() == 'remembered "concept 2"'
        assert store.concepts() == before[:2]


@pytest.mark.parametrize("other", ["Lala", "LALA", "  lala\n", "Lála", "la"])
def test_a_name_is_given_once(store: Store, other: str) -> None:
    store.remember(crop(1), unicodedata.normalize("NFD", "lála"))
    store.remember(crop(2), "Lala")
    store.edit("Lala", Changes(add_aliases=("La",)))
    with pytest.raises(DuplicateName, match="choose another name"):
        store.remember(crop(3), other)
    assert store.size()["concept"] == 2
    assert store.size()["view"] == 2


def test_case_and_composition_of_accents_do_not_matter(store: Store) -> None:
    store.remember(crop(1), "Straße Ά\u0345\u0301")
    for same in ("STRASSE Ά\u0345\u0301", "strasse ᾴ\u0301"):
        assert store.concept(same).id == 1


def test_an_unknown_name_is_answered_with_those_that_come_close(store: Store) -> None:
    with pytest.raises(UnknownConcept, match="begin with remember"):
        store.concept("Lala")
    store.remember(crop(1), "Lala")
    with pytest.raises(UnknownConcept, match=r'nothing called "Lola" .* did you mean "Lala"'):
        store.concept("Lola")
    for attempt in (
        lambda: store.add_view("Zoe", crop(2)),
        lambda: store.add_negative("Zoe", crop(2)),
        lambda: store.edit("Zoe", Changes(info="x")),
        lambda: store.forget("Zoe"),
    ):
        with pytest.raises(UnknownConcept):
            attempt()
    assert store.size()["vector"] == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("\u200b\u200e", "empty"),
        ("a" * 501, "501 characters"),
        ("a\0b", "U+0000"),
        ("a\x1b[31mb", "U+001B"),
        ("a\ud800b", "U+D800"),
    ],
)
def test_names_that_cannot_be_kept_are_refused_with_the_reason(store: Store, name: str, reason: str) -> None:
    store.remember(crop(0), "Lala")
    before = store.concepts()
    for attempt in (
        lambda: store.remember(crop(1), name),
        lambda: store.edit("Lala", Changes(name=name)),
        lambda: store.edit("Lala", Changes(add_aliases=("fine", name))),
        lambda: store.concept(name),
    ):
        with pytest.raises(ConceptError) as caught:
            attempt()
        assert reason in str(caught.value)
    assert store.concepts() == before


def test_a_long_info_is_refused(store: Store) -> None:
    store.remember(crop(0), "Lala", info="i" * 10_000)
    with pytest.raises(ConceptError, match="the info has 10001 characters, at most 10000"):
        store.edit("Lala", Changes(info="i" * 10_001))


anything = st.one_of(
    st.text(max_size=80),
    st.text(st.characters(), max_size=20),
    st.text(alphabet="aAßİıſ\u0301\u0345ﬁe\u200d👩🏽‍🚀אב\u202e<>\"'{}%;\\/\n\r\t \x00\x1f", max_size=30),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=anything, info=anything)
@example(name="<__media__>", info="<end_of_turn>{name}%s\n</s>")
@example(name="Robert'); drop table concept;--", info='"\\u0000"')
@example(name="../../etc/passwd", info="C:\\con")
@example(name="a\nb", info="\r\n")
@example(name="👩‍👩‍👧 " + "ש" * 400, info="مرحبا")
def test_any_text_is_kept_or_refused(store: Store, name: str, info: str) -> None:
    try:
        store.remember(crop(1), name, category=info[:5], info=info)
    except ConceptError as error:
        printable = all(
            unicodedata.category(c) not in ("Cc", "Cs") or c in "\n\r\t" for c in name.strip() + info.strip()
        )
        visible = any(unicodedata.category(c) not in ("Cc", "Cf", "Zs", "Zl", "Zp") for c in name)
        assert not (printable and visible), error
        return
    kept = unicodedata.normalize("NFC", name).strip()
    for spelling in (name, kept, unicodedata.normalize("NFD", name), f" {name}\n", kept.casefold()):
        found = store.concept(spelling)
        assert found.name == kept
    assert found.info == unicodedata.normalize("NFC", info).strip()
    assert store.undo() == f'remembered "{kept}"'
    assert store.concepts() == []


def test_names_inside_other_names_are_told_apart(store: Store) -> None:
    for seed, name in enumerate(("Ann", "Anna", "Anna Lena", "anna%", "ann_", "Ann\nLena")):
        store.remember(crop(seed), name)
    assert [store.concept(concept.name) for concept in store.concepts()] == store.concepts()


def test_edit_changes_everything_at_once_and_undo_takes_it_back(store: Store) -> None:
    store.remember(crop(1), "Lala", "dog", "old")
    before = store.edit("Lala", Changes(add_aliases=("Lulu", "Lili")))
    assert before.names == ("Lala", "Lulu", "Lili")

    changes = Changes("Momo", "cat", "new", add_aliases=("Lala", "Lele"), remove_aliases=("LULU",))
    after = store.edit("lili", changes)
    assert (after.names, after.category, after.info) == (("Momo", "Lili", "Lala", "Lele"), "cat", "new")
    with pytest.raises(UnknownConcept):
        store.concept("Lulu")

    summary = store.undo()
    for part in ('removed the alias "Lulu"', 'renamed "Lala" to "Momo"', "category", "info", '"Lele"'):
        assert part in summary
    assert store.concepts() == [before]


def test_an_alias_can_become_the_name_and_the_case_can_change(store: Store) -> None:
    store.remember(crop(1), "lala")
    before = store.edit("lala", Changes(add_aliases=("Momo",)))
    assert store.edit("lala", Changes(name="Lala")).names == ("Lala", "Momo")
    assert store.edit("lala", Changes(name="momo")).names == ("momo",)
    store.undo()
    store.undo()
    assert store.concepts() == [before]


def test_an_edit_that_fails_changes_nothing(store: Store) -> None:
    store.remember(crop(1), "Lala")
    store.remember(crop(2), "Momo")
    store.edit("Momo", Changes(add_aliases=("Mo",)))
    before, generation = store.concepts(), store.generation()
    for changes, problem in (
        (Changes(info="new", add_aliases=("x", "mo")), '"mo" is the name of another one'),
        (Changes(info="new", name="MOMO"), '"MOMO" is the name of another one'),
        (Changes(info="new", remove_aliases=("Mo",)), '"Mo" is no alias of "Lala"'),
    ):
        with pytest.raises(ConceptError, match=problem):
            store.edit("Lala", changes)
    assert (store.concepts(), store.generation()) == (before, generation)


def test_an_edit_without_a_difference_is_no_change(store: Store) -> None:
    store.remember(crop(1), "Lala", "dog", "info")
    generation, history = store.generation(), store.history()
    store.edit("Lala", Changes("Lala", " dog", "info ", add_aliases=("LALA",)))
    assert (store.generation(), store.history()) == (generation, history)


def test_undo_goes_back_to_the_beginning(store: Store) -> None:
    states = [store.concepts()]
    for change in (
        lambda: store.remember(crop(1), "Lala"),
        lambda: store.remember(crop(2), "Momo"),
        lambda: store.add_view("Lala", crop(3)),
        lambda: store.add_negative("Momo", crop(4)),
        lambda: store.edit("Lala", Changes(name="Lulu", add_aliases=("Lala",))),
    ):
        change()
        states.append(store.concepts())
    assert [entry.verb for entry in store.history()] == ["edit", "negative", "view", "remember", "remember"]
    assert [entry.summary for entry in store.history(2)] == [
        'renamed "Lala" to "Lulu", added the alias "Lala"',
        'noted a picture that is not "Momo"',
    ]
    store.put_vectors("later", [("view", 1)], crop(9).vector[np.newaxis])
    while states:
        assert store.concepts() == states.pop()
        if states:
            store.undo()
    with pytest.raises(NothingToUndo):
        store.undo()
    assert set(store.size().values()) == {0}


def test_ids_are_never_used_twice(store: Store) -> None:
    first = store.remember(crop(1), "Lala")
    store.undo()
    second = store.remember(crop(1), "Lala")
    assert second.id != first.id
    assert second.views[0].id != first.views[0].id


def test_vectors_come_out_as_they_went_in(store: Store) -> None:
    lala, momo = store.remember(crop(1), "Lala"), store.remember(crop(2), "Momo")
    store.add_view("Lala", crop(3))
    store.add_negative("Momo", crop(4))
    stored = store.vectors("e")
    assert stored.generation == store.generation()
    assert stored.view_concepts.tolist() == [lala.id, momo.id, lala.id]
    assert stored.view_ids.tolist() == [1, 2, 3]
    assert stored.negative_concepts.tolist() == [momo.id]
    assert (stored.views.dtype, stored.view_ids.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(stored.views, [crop(i).vector for i in (1, 2, 3)])
    np.testing.assert_array_equal(stored.negatives, [crop(4).vector])
    assert store.vectors("another").views.shape == (0, 0)
    store.undo()
    assert store.vectors("e").negatives.shape == (0, 8)


def test_a_new_embedder_sees_all_crops_again(store: Store) -> None:
    store.remember(crop(1), "Lala")
    store.add_negative("Lala", crop(2))
    owners = store.views_without_vector("new")
    assert owners == [("view", 1), ("negative", 1)]
    vectors = np.stack([crop(i, dim=16).vector for i in (11, 12)])
    history = store.history()

    assert store.put_vectors("new", [*owners, ("view", 99)], np.concatenate([vectors, vectors[:1]])) == 2

    assert store.views_without_vector("new") == []
    np.testing.assert_array_equal(store.vectors("new").views, vectors[:1])
    np.testing.assert_array_equal(store.vectors("e").views, [crop(1).vector])
    assert store.history() == history
    with pytest.raises(StoreError, match='"new" gives 8 numbers, but 16'):
        store.add_view("Lala", crop(3, embedder="new"))
    assert len(store.concept("Lala").views) == 1


def test_a_vector_can_be_replaced(store: Store) -> None:
    store.remember(crop(1), "Lala")
    assert store.put_vectors("e", [("view", 1)], crop(2).vector[np.newaxis]) == 1
    np.testing.assert_array_equal(store.vectors("e").views, [crop(2).vector])
    assert store.size()["vector"] == 1
    with pytest.raises(ValueError, match="one vector an owner"):
        store.put_vectors("e", [], crop(2).vector[np.newaxis])


def test_the_generation_grows_with_every_change(store: Store) -> None:
    seen = [store.generation()]
    for change in (
        lambda: store.remember(crop(1), "Lala"),
        lambda: store.add_view("Lala", crop(2)),
        lambda: store.edit("Lala", Changes(info="x")),
        lambda: store.put_vectors("new", [("view", 1)], crop(9).vector[np.newaxis]),
        store.undo,
        lambda: store.forget("Lala"),
    ):
        change()
        seen.append(store.generation())
    assert all(later > earlier for earlier, later in pairwise(seen))


def test_a_picture_that_is_gone_is_said_to_be_gone(store: Store) -> None:
    with pytest.raises(StoreError, match="there is no view 7"):
        store.view_picture(7)


def test_crops_are_checked_when_they_are_made() -> None:
    good = crop(1)
    for wrong, problem in (
        ({"picture_jpeg": b""}, "no bytes"),
        ({"xyxy": (5.0, 0.0, 5.0, 1.0)}, "x0 < x1"),
        ({"xyxy": (0.0, 0.0, float("nan"), 1.0)}, "x0 < x1"),
        ({"vector": good.vector * 2}, "unit"),
        ({"vector": good.vector.astype(np.float64)}, "float32"),
        ({"vector": good.vector[np.newaxis]}, r"\(dim,\)"),
        ({"vector": np.full(8, np.nan, np.float32)}, "unit"),
    ):
        with pytest.raises(ValueError, match=problem):
            NewView(**{**vars(good), **wrong})


def test_ten_thousand_concepts_are_read_in_a_handful_of_queries(store: Store) -> None:
    for seed in range(20):
        store.remember(crop(seed), f"concept {seed}")
    asked: list[str] = []
    with store._db.tracer(lambda sql, _: asked.append(sql)):
        assert len(store.concepts()) == 20
    assert len(asked) <= 5


def test_a_view_is_no_negative_of_its_own(store: Store) -> None:
    """Else it would be as near to what is not Lala as anything can be, and nothing would be Lala any more."""
    store.remember(crop(1), "Lala")
    store.remember(crop(2), "Tom")
    mend = "no other view; .* `kinsight forget Lala` deletes all"
    for extra in (None, crop(3)):
        if extra:
            store.add_view("Lala", extra)
            mend = "`kinsight edit Lala --no-view 1`.* `kinsight move`"
        with pytest.raises(ConceptError, match=f'this is view 1 of "Lala" itself.*{mend}'):
            store.add_negative("lala", crop(1))
    assert store.concept("Lala").negatives == ()
    assert len(store.add_negative("Tom", crop(1)).negatives) == 1
    assert len(store.add_negative("Lala", crop(80, photo=f"{1:064x}")).negatives) == 1
