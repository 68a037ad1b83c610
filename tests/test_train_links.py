"""What helps the pocket language model to look, and is thrown away afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

from kinsight_train.mllm import links as linking
from kinsight_train.mllm import training
from kinsight_train.mllm.cells import ASPECTS, NOTHING, Readers
from kinsight_train.mllm.lessons import Lessons, batched, packed
from kinsight_train.mllm.links import ANSWER, ASKED, CLUES, LOOKS, NAME, PHOTO, REFERENCE, Links
from kinsight_train.mllm.model import Mllm
from kinsight_train.mllm.sorts import (
    Lesson,
    Sort,
    about_a_photo,
    about_a_scene,
    about_looks,
    about_one_picture,
    about_what_was_told,
)
from kinsight_train.mllm.tokenizer import MllmTokenizer
from tiny_mllm import SHAPE, make_tokenizer

pytestmark = pytest.mark.train

DEEP = replace(SHAPE, layers=5)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> MllmTokenizer:
    return make_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def looking(number: int) -> Lesson:
    return about_looks(np.random.default_rng((9, number)), 4)


def test_every_role_is_at_its_places(tokenizer: MllmTokenizer) -> None:
    """Names are marked in list and question, references and photo at their tokens, answers at their begin."""
    asked = answered = 0
    for number in range(8):
        each = looking(number)
        row = packed(each, tokenizer, SHAPE)
        who, role, tokens = (np.array(column) for column in (row.marks.who, row.marks.role, row.tokens))
        assert len(who) == len(role) == len(tokens)
        assert (tokens[np.isin(role, (PHOTO, REFERENCE))] == tokenizer.picture).all()
        for shown, one in enumerate(each.shown, 1):
            own = who == shown
            assert (role[own] == REFERENCE).sum() == SHAPE.picture_tokens
            assert tokenizer.decode(tokens[own & (role == NAME)].tolist()) == one.name
            assert (own & (role == PHOTO)).any() == (one.row is not None)
            assert row.marks.clues[shown - 1][list(CLUES).index("presence")] == (one.row is not None)
            for block in set(row.segment) - {0}:
                here = own & (np.array(row.segment) == block)
                said = tokenizer.decode(tokens[here & (role == ASKED)].tolist())
                assert one.name in said if said else not (here & (role == ANSWER)).any()
                asked += bool(said)
                answered += int((here & (role == ANSWER)).sum())
    assert asked == answered > 20


def test_rows_without_a_photo_have_no_marks(tokenizer: MllmTokenizer) -> None:
    row = packed(about_what_was_told(np.random.default_rng(1), 2), tokenizer, SHAPE)
    assert set(row.marks.role) == {0}


def test_a_looks_attention_is_the_models_own(tokenizer: MllmTokenizer) -> None:
    model = Mllm(SHAPE, tokenizer, seed=1).eval()
    rows = batched([packed(looking(1), tokenizer, SHAPE)], tokenizer).rows
    with torch.no_grad():
        embedded, mask = model.embed(rows), rows.mask()
        states = model.states(embedded, rows.positions, mask)
        model.net.model.language_model.config._attn_implementation = "eager"  # which tells its attention
        added = torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))
        theirs = model.net.model.language_model(
            inputs_embeds=embedded,
            attention_mask={"full_attention": added},
            position_ids=rows.positions,
            use_cache=False,
            output_attentions=True,
        ).attentions
        for layer, head in ((0, 1), (1, 0)):
            ours = model.attention(states[layer], rows.positions, mask, (layer, head)).exp()
            torch.testing.assert_close(ours[0], theirs[layer][0, head], rtol=0, atol=1e-5)


def test_looks_are_judged_by_whom_they_fall_on(
    tokenizer: MllmTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that looks at the right places, or at the first where nobody is, has no loss; another has."""
    model, batch = Mllm(DEEP, tokenizer, seed=1), batched([packed(looking(2), tokenizer, SHAPE)], tokenizer)
    rows, marks, mask = batch.rows, batch.marks, batch.rows.mask()
    states = [torch.zeros(*rows.tokens.shape, SHAPE.hidden)] * 6
    right = torch.full((rows.tokens.shape[1],) * 2, -1e9)
    for place in range(len(right)):
        aim = (marks.role[0] == marks.role[0, place] - 1) & (marks.who[0] == marks.who[0, place])
        aim &= mask[0, 0, place]
        right[place, aim if aim.any() else 0] = 0.0
    losses = {}
    for name, scores in (("right", right), ("wrong", torch.zeros_like(right).log_softmax(-1))):
        monkeypatch.setattr(model, "attention", lambda *_, scores=scores: scores.log_softmax(-1)[None])
        losses[name] = Links(SHAPE.hidden).losses(model, states, (rows.positions, mask), marks)["looks"]
    assert losses["right"].item() == pytest.approx(0, abs=1e-5)
    assert losses["wrong"] > 1


def test_looks_go_from_layer_to_layer() -> None:
    """Every hop is read before the next one looks, and the last before the model speaks."""
    layers = [layer for layer, _ in LOOKS.values()]
    assert layers == sorted(set(layers))
    assert layers[-1] < 5
    assert list(LOOKS) == [linking.REFERENCE, linking.NAME, linking.ASKED, linking.ANSWER]


def test_looks_fall_on_the_one_shown_and_cells_are_read_after_some_steps(tokenizer: MllmTokenizer) -> None:
    """The same three photos over and over: all that helps is learned by the model that is kept."""
    torch.manual_seed(3)
    pupil = training.Pupil(Mllm(DEEP, tokenizer, seed=1), Readers(DEEP))
    batch = Lessons(tokenizer.file, 3, 3, DEEP, [Sort(about_looks, 1.0, 1)], blocks=1)(0)
    optimiser = torch.optim.AdamW(pupil.model.parameters(), lr=3e-3)
    steps = []
    for _ in range(40):
        losses = training.loss_of(pupil, batch)
        steps.append({name: loss.item() for name, loss in losses.items()})
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    assert steps[-1]["looks"] < steps[0]["looks"] / 2
    for name in ("answers", "clues", "patches", "tokens"):
        assert steps[-1][name] < 0.8 * steps[0][name], name


@pytest.mark.parametrize("make", [about_looks, about_a_photo, about_a_scene, about_one_picture])
def test_cells_are_labelled_with_what_their_pictures_show(tokenizer: MllmTokenizer, make: object) -> None:
    """Of every picture one grid: of the photo those in it, of a reference the one it shows."""
    lessons = Lessons(tokenizer.file, 5, 2, SHAPE, [Sort(make, 1.0, 1)], blocks=2)
    for step in range(4):
        batch = lessons(step)
        drawn = [make(np.random.default_rng((5, step, row)), 2) for row in range(2)]
        assert len(batch.cells.tokens) == len(batch.cells.patches) == len(batch.rows.pixels)
        assert batch.cells.patches.shape[1] == (SHAPE.picture_px // SHAPE.patch_px) ** 2
        at = 0
        for each in drawn:
            if each.drawing is not None:
                there = {tuple(thing.individual.values().values()) for thing in each.drawing.things}
                assert looks_seen(batch.cells.tokens[at]) <= there
                at += 1
            for one in each.individuals():
                assert looks_seen(batch.cells.tokens[at]) == {tuple(one.values().values())}
                at += 1
        assert at == len(batch.cells.tokens)


def looks_seen(cells: torch.Tensor) -> set[tuple[str, ...]]:
    """The looks of those whom the cells of one picture show."""
    names = list(linking.ATTRIBUTES)
    known = [row for row in cells.tolist() if row[0] != NOTHING]
    assert len(names) <= len(ASPECTS)
    return {tuple(linking.ATTRIBUTES[name][row[n]] for n, name in enumerate(names)) for row in known}


def test_a_row_of_text_alone_has_no_cells(tokenizer: MllmTokenizer) -> None:
    batch = Lessons(tokenizer.file, 5, 2, SHAPE, [Sort(about_what_was_told, 1.0, 1)], blocks=2)(0)
    assert batch.cells is None
    losses = training.loss_of(training.Pupil(Mllm(DEEP, tokenizer, seed=1), Readers(DEEP)), batch)
    assert losses.keys() == {"answers"}


def test_positions_of_patches_are_told_apart_from_the_start(tokenizer: MllmTokenizer) -> None:
    table = Mllm(SHAPE, tokenizer, seed=1).net.model.vision_tower.vision_model.embeddings.position_embedding
    apart = torch.cdist(table.weight, table.weight) + 9 * torch.eye(len(table.weight))
    assert apart.min() > 0.5
