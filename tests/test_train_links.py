"""What helps the pocket language model to look, and what is thrown away or carried over afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

from kinsight.errors import ModelError
from kinsight_export.gguf_file import converter, to_gguf, to_mmproj
from kinsight_train.loop import Run, Schedule
from kinsight_train.mllm import links as linking
from kinsight_train.mllm.gaze import Gazes, Gazing, train_gaze
from kinsight_train.mllm.gaze import loss_of as gaze_loss
from kinsight_train.mllm.lessons import batched, packed
from kinsight_train.mllm.links import ANSWER, ASKED, CLUES, LOOKS, NAME, PHOTO, REFERENCE, Links
from kinsight_train.mllm.model import Mllm, deepened, save_hf, strengthen_positions
from kinsight_train.mllm.restore import restore_tokenizer, restore_weights
from kinsight_train.mllm.sorts import Lesson, about_looks, about_what_was_told, looks_only
from kinsight_train.mllm.tokenizer import MllmTokenizer
from tiny_mllm import SHAPE, make_tokenizer

pytestmark = pytest.mark.train

DEEP = replace(SHAPE, layers=5)
FEW = Schedule(steps=4, batch=2, peak_lr=3e-3, warmup=2, save_every=2, seed=4)


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


def test_the_first_look_is_learned_and_a_resumed_one_is_equal(
    tokenizer: MllmTokenizer, tmp_path: Path
) -> None:
    def trained(folder: Path, schedule: Schedule) -> tuple[Mllm, list[str]]:
        model, said = Mllm(DEEP, tokenizer, seed=1), []
        torch.manual_seed(3)
        links = Links(DEEP.hidden)
        train_gaze((model, links), tokenizer.file, schedule, Run(folder, said.append, 0, report_every=1))
        return model, said

    once, said = trained(tmp_path / "once", FEW)
    again, _ = trained(tmp_path / "again", FEW)
    before = Mllm(DEEP, tokenizer, seed=1).state_dict()
    changed = {name for name, value in once.state_dict().items() if not torch.equal(value, before[name])}
    assert any("vision_tower" in name for name in changed)
    assert {name.split("layers.")[1][0] for name in changed if "language_model.layers" in name} == {"1"}
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in once.state_dict().items())
    assert "presence" in said[-1]


def test_the_gaze_falls_on_the_one_shown_after_some_steps(tokenizer: MllmTokenizer) -> None:
    model = Mllm(DEEP, tokenizer, seed=1)
    gazing, batch = Gazing(model, Links(DEEP.hidden)), Gazes(tokenizer.file, 3, 3, DEEP)(0)
    optimiser = torch.optim.AdamW(gazing.parameters(), lr=3e-3)
    looks = []
    for _ in range(40):
        losses = gaze_loss(gazing, batch)
        looks.append(losses["looks"].item())
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    assert looks[-1] < looks[0] / 2


def test_a_deeper_model_says_the_same_where_its_new_layers_are_silent(tokenizer: MllmTokenizer) -> None:
    model = Mllm(SHAPE, tokenizer, seed=1).eval()
    deep = deepened(model, Mllm(replace(SHAPE, layers=4), tokenizer, seed=2), (1, 3)).eval()
    rows = batched([packed(looks_only(np.random.default_rng(2)), tokenizer, SHAPE)], tokenizer).rows
    wanted = torch.ones_like(rows.tokens, dtype=torch.bool)
    with torch.no_grad():
        assert not torch.allclose(model(rows, wanted), deep(rows, wanted), atol=1e-3)
        for number in (1, 3):
            layer = deep.net.model.language_model.layers[number]
            layer.post_attention_layernorm.weight.fill_(-1)
            layer.post_feedforward_layernorm.weight.fill_(-1)
        torch.testing.assert_close(model(rows, wanted), deep(rows, wanted), rtol=0, atol=1e-4)


def test_positions_of_patches_are_told_apart(tokenizer: MllmTokenizer) -> None:
    model = Mllm(SHAPE, tokenizer, seed=1)
    table = model.net.model.vision_tower.vision_model.embeddings.position_embedding.weight
    before = table.detach().clone()
    strengthen_positions(model)
    apart = torch.cdist(table - before, table - before) + 9 * torch.eye(len(table))
    assert apart.min() > 0.5


@pytest.mark.parametrize("layers", [2, 3])
def test_a_model_comes_back_from_its_files(tokenizer: MllmTokenizer, tmp_path: Path, layers: int) -> None:
    """Weights and vocabulary out of the converted files; another shape is refused."""
    model = Mllm(SHAPE, tokenizer, seed=1)
    checkpoint = save_hf(model, tokenizer, tmp_path / "checkpoint")
    llm, mmproj = tmp_path / "llm.gguf", tmp_path / "mmproj.gguf"
    tools = converter(Path("build/converter"))
    to_gguf(checkpoint, llm, "f32", tools)
    to_mmproj(checkpoint, mmproj, "f32", tools)
    again = MllmTokenizer(restore_tokenizer(llm, tmp_path / "again.model"), SHAPE.picture_tokens)
    for text in ("Lala is a red dog.", " two  spaces ", "日本語 😀", "a\n\nb"):
        assert again.text(text) == tokenizer.text(text)
        assert again.decode(again.text(text)) == text
    back = Mllm(replace(SHAPE, layers=layers), again, seed=2)
    if layers != SHAPE.layers:
        with pytest.raises(ModelError, match="same shape"):
            restore_weights(back, llm, mmproj)
        return
    restore_weights(back, llm, mmproj)
    for name, value in back.state_dict().items():
        rtol = 1e-3 if "mm_input_projection" in name else 0  # the converter keeps it in float16
        torch.testing.assert_close(value, model.state_dict()[name], rtol=rtol, atol=1e-6)


def test_looks_go_from_layer_to_layer() -> None:
    """Every hop is read before the next one looks, and the last before the model speaks."""
    layers = [layer for layer, _ in LOOKS.values()]
    assert layers == sorted(set(layers))
    assert layers[-1] < 5
    assert list(LOOKS) == [linking.REFERENCE, linking.NAME, linking.ASKED, linking.ANSWER]
