"""Permutation language modelling: what is predicted, the loss by its definition, the memory, and what ``inspect`` counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.permuted import TINY, VOCABULARY, batch_at, keys, learner, program, streams, targets
from torch.nn import functional

from plmtrain import backbones
from plmtrain.backbones.two_stream import Memory
from plmtrain.batch import Inputs
from plmtrain.data.rows.rows import Rows, side_by_side
from plmtrain.data.rows.streams import Streams
from plmtrain.errors import SettingsError
from plmtrain.keyed_random import Keys
from plmtrain.training.evaluation import evaluate
from plmtrain.training.group import Group
from plmtrain.training.step import Step

STILL = {"dropout": 0.0, "attention_dropout": 0.0}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(12, 70),
    context=st.integers(2, 9),
    reuse=st.sampled_from([None, 0, 1, 7]),
    perm_size=st.sampled_from([None, 1, 5, 100]),
    num_predict=st.sampled_from([None, 1, 9]),
    share=st.sampled_from([0.0, 0.5]),
    isolate=st.booleans(),
    seed=st.integers(0, 99),
)
def test_batches_are_what_the_paper_says(
    length: int,
    context: int,
    reuse: int | None,
    perm_size: int | None,
    num_predict: int | None,
    share: float,
    isolate: bool,
    seed: int,
) -> None:
    """Odd lengths too: every row has its targets, ordinary tokens in both parts, in an order of their own."""
    plm = program(context=context, reuse_len=reuse, perm_size=perm_size, num_predict=num_predict, random_share=share)
    source = streams(plm, length, 3, isolate=isolate, seed=seed)
    samples = np.random.default_rng(seed).integers(0, len(source), 4)
    batch = plm.collate(source.fetch(samples), keys(samples, seed))
    ids = batch.inputs.ids
    assert ids.shape == (4, length)
    assert batch.layout.ranks is not None
    assert (batch.layout.documents is None) == (not isolate)
    stretch = length // 2 if reuse is None else reuse
    wanted = num_predict or round(length / context)
    behind = wanted * (length - stretch) // length
    for row, columns in enumerate(targets(batch)):
        assert columns == sorted(set(columns))
        special = torch.from_numpy(VOCABULARY.is_special)[ids[row]]
        assert not special[columns].any()
        for part, budget in ((slice(0, stretch), wanted - behind), (slice(stretch, length), behind)):
            chosen = [column for column in columns if part.start <= column < part.stop]
            assert len(chosen) == min(budget, int((~special[part]).sum()))
        ranks = batch.layout.ranks[row]
        ordered = torch.isin(ids[row], torch.tensor([3, 4]))
        ordered[columns] = True
        first, second = ranks[:stretch], ranks[stretch:]
        assert (first[~ordered[:stretch]] == -1).all()
        assert len(second[~ordered[stretch:]].unique()) <= 1
        assert not stretch or first.max() < second.min()
        assert len(ranks[ordered].unique()) == int(ordered.sum())
        assert (second[ordered[stretch:]] > stretch).all()
    assert batch.targets["labels"].tolist() == [
        int(ids[row, column]) for row, columns in enumerate(targets(batch)) for column in columns
    ]
    assert batch.normalisers == {"plm": float(len(batch.targets["labels"]))}
    assert batch.fresh.tolist() == (samples < 3).tolist()


def test_rows_without_room_for_segments_are_refused() -> None:
    with pytest.raises(SettingsError, match="too short for two segments") as caught:
        program(reuse_len=60).row_shape(64)
    assert "65 or more" in caught.value.remedy
    assert program(reuse_len=60).row_shape(65).length == 62


def test_a_row_does_not_depend_on_its_batch_and_differs_between_epochs() -> None:
    plm = program()
    source = streams(plm, 40, 8)
    samples = np.arange(24)
    whole = plm.collate(source.fetch(samples), keys(samples))
    other = plm.collate(source.fetch(samples), keys(samples, 1))
    for row in (0, 7, 23):
        alone = plm.collate(source.fetch(samples[row : row + 1]), keys(samples[row : row + 1]))
        assert targets(alone)[0] == targets(whole)[row]
        assert alone.layout.ranks is not None and whole.layout.ranks is not None  # noqa: PT018
        assert alone.layout.ranks[0].tolist() == whole.layout.ranks[row].tolist()
        assert alone.inputs.ids[0].tolist() == whole.inputs.ids[row].tolist()
    assert all(one != two for one, two in zip(targets(whole), targets(other), strict=True))


@pytest.mark.parametrize("remembering", [False, True])
def test_the_loss_is_that_of_each_target_predicted_by_itself(remembering: bool) -> None:
    """Row after row and target after target, with a mask of who sees whom made pair by pair."""
    plm = program()
    model = learner(plm).eval()
    source = streams(plm, 30, 3)
    batch = batch_at(plm, source, 1)
    carry: Any = plm.loss(model, batch_at(plm, source, 0), {})[1] if remembering else {}
    terms, _ = plm.loss(model, batch, carry)
    expected, right = torch.zeros(()), 0
    for row, columns in enumerate(targets(batch)):
        one = slice(row, row + 1)
        memory = Memory(carry["memory"][one], carry["memory_documents"][one]) if remembering else None
        assert batch.layout.ranks is not None
        assert batch.inputs.segments is not None
        layout = replace(batch.layout, ranks=batch.layout.ranks[one])
        own = Inputs(ids=batch.inputs.ids[one], layout=layout, segments=batch.inputs.segments[one])
        for column in columns:
            hidden, _ = model.streams.predict(own, torch.tensor([[column]]), memory)
            scores = model.scores(hidden[0])
            expected = expected + functional.cross_entropy(scores, own.ids[0, column : column + 1])
            right += int(scores.argmax() == own.ids[0, column])
    torch.testing.assert_close(terms["plm"].total, expected)
    assert terms["plm"].counts["accuracy"] == right
    assert not plm.loss(model.train(), batch, carry)[0]["plm"].counts


def test_the_memory_is_the_stretch_of_the_rows_before() -> None:
    plm = program(mem_len=20)
    model = learner(plm).eval()
    source = streams(plm, 30, 3)
    first, second = batch_at(plm, source, 0), batch_at(plm, source, 1)
    _, carry = plm.loss(model, first, {})
    assert {name: list(tensor.shape) for name, tensor in carry.items()} == {
        "memory": [3, 2, 15, 32],
        "memory_documents": [3, 15],
    }
    torch.testing.assert_close(carry["memory"][:, 0], model.streams.token(first.inputs.ids[:, :15]))
    _, after = plm.loss(model, second, carry)
    assert after["memory"].shape == (3, 2, 20, 32)
    torch.testing.assert_close(after["memory"][:, :, :5], carry["memory"][:, :, -5:])
    assert not any(tensor.requires_grad for tensor in after.values())
    assert plm.loss(model, second, carry)[0]["plm"].total != plm.loss(model, second, {})[0]["plm"].total
    # No memory is carried where there is nothing to carry it in.
    for nothing in (program(mem_len=0), program(reuse_len=0)):
        assert nothing.loss(model, second, {})[1] == {}


@pytest.mark.parametrize(("length", "perm_size"), [(29, None), (29, 4), (30, 7)])
def test_what_is_remembered_and_what_is_predicted_know_nothing_of_what_comes_later(length: int, perm_size: int | None) -> None:
    """The gradient of every prediction with respect to every token of later rank is exactly zero, and so is that of the memory
    with respect to all that stands behind the stretch."""
    plm = program(perm_size=perm_size, context=2)
    model = learner(plm).eval()
    source = streams(plm, length, 2)
    carry = plm.loss(model, batch_at(plm, source, 0), {})[1]
    batch = batch_at(plm, source, 1)
    ids, ranks = batch.inputs.ids, batch.layout.ranks
    assert ranks is not None
    embedded = model.streams.token(ids).detach().requires_grad_()
    hook = model.streams.token.register_forward_hook(lambda *_: embedded)
    memory = Memory(carry["memory"], carry["memory_documents"])
    hidden, read = model.streams.predict(batch.inputs, batch.targets["places"], memory)
    hook.remove()
    weights = torch.linspace(1, 2, hidden.shape[-1])
    for row, columns in enumerate(targets(batch)):
        for turn, column in enumerate(columns):
            (gradient,) = torch.autograd.grad((hidden[row, turn] * weights).sum(), embedded, retain_graph=True)
            reached = gradient.abs().sum(-1) > 0
            assert not reached[1 - row].any()
            assert reached[row].tolist() == (ranks[row] < ranks[row, column]).tolist()
    kept = torch.stack([states[:, : length // 2] for states in read])
    (gradient,) = torch.autograd.grad((kept * weights).sum(), embedded)
    assert (gradient[:, : length // 2].abs().sum(-1) > 0).all()
    assert not gradient[:, length // 2 :].any()


def test_fresh_rows_remember_nothing_whatever_was_there() -> None:
    """Not even a number that is none: what is hidden is still multiplied by zero."""
    plm = program()
    model = learner(plm).eval()
    batch = batch_at(plm, streams(plm, 30, 3), 0)
    poison = {"memory": torch.full((3, 2, 22, 32), torch.nan), "memory_documents": torch.zeros(3, 22, dtype=torch.int64)}
    alone, beside = plm.loss(model, batch, {}), plm.loss(model, batch, poison)
    torch.testing.assert_close(beside[0]["plm"].total, alone[0]["plm"].total)
    assert (beside[1]["memory_documents"][:, :7] == -1).all()
    mixed, _ = plm.loss(model, replace(batch, fresh=torch.tensor([True, False, True])), poison)
    assert not mixed["plm"].total.isfinite()


def test_isolated_documents_see_nothing_of_those_before_in_row_or_memory() -> None:
    """What a document's targets get is the same whatever stands in the documents before it."""
    plm = program(random_share=0.0)
    model = learner(plm).eval()
    source = streams(plm, 40, 2, isolate=True)
    store = source._store
    losses = []
    for other in (60, 50):
        tokens = store.tokens.copy()
        tokens[: int(store.documents[1])] = other
        changed = Streams(replace(store, tokens=tokens), plm.row_shape(40).length, 2, advance=20, isolate_documents=True)
        carry: Any = {}
        hidden = []
        for time in range(8):
            samples = time * 2 + np.arange(1)
            batch = plm.collate(changed.fetch(samples), keys(samples))
            places = torch.arange(40)[None]
            memory = Memory(carry["memory"], carry["memory_documents"]) if carry else None
            states, _ = model.streams.predict(batch.inputs, places, memory)
            assert batch.layout.documents is not None
            hidden.append(states[batch.layout.documents > 1])
            carry = plm.loss(model, batch, carry)[1]
        losses.append(torch.cat(hidden))
    assert len(losses[0]) > 40
    torch.testing.assert_close(*losses)


def test_every_parameter_gets_a_gradient() -> None:
    plm = program()
    model = learner(plm).train()
    source = streams(plm, 64, 8)
    _, carry = plm.loss(model, batch_at(plm, source, 0), {})
    plm.loss(model, batch_at(plm, source, 1), carry)[0]["plm"].total.backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert silent == []


def test_a_batch_without_targets_is_a_zero_on_the_graph() -> None:
    plm = program()
    model = learner(plm).train()
    rows = side_by_side([(np.full(37, VOCABULARY["unk"]), np.ones(37, np.bool_))] * 2, VOCABULARY["pad"])
    term = plm.loss(model, plm.collate(rows, keys(np.arange(2))), {})[0]["plm"]
    assert (term.normaliser, term.total.item()) == (0, 0)
    term.total.backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_eight_rows_are_learnt_by_heart() -> None:
    plm = program(TINY.model_copy(update=STILL), random_share=0.0)
    torch.manual_seed(0)
    model = plm.build(lambda model: backbones.build(model, VOCABULARY.size))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batch = batch_at(plm, streams(plm, 30, 8), 0)
    for _ in range(150):
        term = plm.loss(model, batch, {})[0]["plm"]
        optimizer.zero_grad()
        (term.total / term.normaliser).backward()
        optimizer.step()
    assert term.total.item() / term.normaliser < 0.05  # log(120) = 4.8 to begin with


def test_predict_fills_each_mask_from_everything_but_the_masks() -> None:
    plm = program()
    model = learner(plm).eval()
    rows = side_by_side([(np.array(ids), np.ones(len(ids), np.bool_)) for ids in ([9, 6, 18, 6], [9, 10], [6, 17, 17])], 5)
    batch = plm.answering.collate(rows)
    assert batch.inputs.ids.tolist() == [[9, 6, 18, 6, 4, 3], [5, 5, 9, 10, 4, 3], [5, 6, 17, 17, 4, 3]]
    assert batch.inputs.segments.tolist() == [[0, 0, 0, 0, 0, 2], [3, 3, 0, 0, 0, 2], [3, 0, 0, 0, 0, 2]]
    answers = plm.answering.predict(model, batch)
    assert [answer["sample"] for answer in answers] == [0, 1, 2]
    assert [[mask["position"] for mask in answer["masks"]] for answer in answers] == [[1, 3], [], [0]]
    # Whatever stands in the place of the masks, the answers are the same: here, other tokens predicted last.
    ids = batch.inputs.ids.clone()
    ids[ids == 6] = 99
    hidden, _ = model.streams.predict(replace(batch.inputs, ids=ids), torch.tensor([[1, 3], [2, 3], [1, 2]]))
    probabilities = model.scores(hidden).softmax(-1)
    for row, turn, place in ((0, 0, 1), (0, 1, 3), (2, 0, 0)):
        (mask,) = (mask for mask in answers[row]["masks"] if mask["position"] == place)
        best, likely = zip(*mask["candidates"], strict=True)
        assert list(likely) == pytest.approx(probabilities[row, turn].sort(descending=True).values[:5].tolist(), rel=1e-4)
        assert mask["best"] == best[0] == probabilities[row, turn].argmax()
    # Padding on the left changes nothing.
    alone = plm.answering.predict(model, plm.answering.collate(side_by_side([(rows.tokens[2, :3], rows.word_starts[2, :3])], 5)))
    assert [p for _, p in alone[0]["masks"][0]["candidates"]] == pytest.approx(
        [p for _, p in answers[2]["masks"][0]["candidates"]], rel=1e-4
    )


def test_token_scores_are_the_content_streams() -> None:
    plm = program()
    model = learner(plm).eval()
    batch = batch_at(plm, streams(plm, 30, 3), 0)
    plain = replace(batch.inputs, layout=replace(batch.layout, ranks=None))
    scores = model.token_scores(plain)
    assert scores.shape == (3, 30, 120)
    torch.testing.assert_close(scores, model.scores(model.backbone.encode(plain)))


def test_inspect_counts_and_draws_what_was_done() -> None:
    plm = program()
    source = streams(plm, 40, 20)
    batch = batch_at(plm, source, 2)
    shown = plm.inspect(batch)
    columns = targets(batch)
    ids = batch.inputs.ids
    special = torch.from_numpy(VOCABULARY.is_special)[ids]
    assert shown.rates["predicted"] == (sum(map(len, columns)), int((~special).sum()))
    assert shown.rates["specials touched"] == (0, int(special.sum()))
    assert batch.layout.ranks is not None
    seen = sum(
        int((batch.layout.ranks[row] < batch.layout.ranks[row, column]).sum())
        for row, predicted in enumerate(columns)
        for column in predicted
    )
    assert shown.rates["seen by a target"] == (seen, sum(map(len, columns)) * 40)
    assert shown.histograms["predicted per row"] == {round(40 / 6): 20}
    assert sum(run * times for run, times in shown.histograms["consecutive targets"].items()) == sum(map(len, columns))
    for row, predicted in enumerate(columns):
        lines = dict(shown.rows[row].lines)
        assert [token for token, _ in lines["row"]] == ids[row].tolist()
        assert [column for column, (_, mark) in enumerate(lines["row"]) if mark == "target"] == predicted
        order = sorted(predicted, key=lambda column: int(batch.layout.ranks[row, column]))  # type: ignore[index]
        assert [token for token, _ in lines["order"]] == ids[row][order].tolist()
        pictures = [label for label in lines if label.endswith("sees")]
        assert pictures[0] == "1. sees"
        assert pictures[-1] == f"{len(predicted)}. sees"
        for label in pictures:
            place = order[int(label.split(".")[0]) - 1]
            visible = [mark not in ("blank", "asked") for _, mark in lines[label]]
            assert visible == (batch.layout.ranks[row] < batch.layout.ranks[row, place]).tolist()
            assert [column for column, (_, mark) in enumerate(lines[label]) if mark == "asked"] == [place]
    assert any("objective.reuse_len" in note for note in shown.notes)


def test_rows_that_are_no_streams_remember_nothing() -> None:
    plm = program()
    rows = Rows(tokens=np.full((2, 37), 20), lengths=np.full(2, 37), word_starts=np.ones((2, 37), np.bool_))
    assert plm.collate(rows, keys(np.arange(2))).fresh.all()


def test_the_unigram_loss_is_that_of_all_predicted_tokens() -> None:
    """None of them is visible: in NumPy, from the tokens that stand in the predicted places of all held-out batches."""
    plm = program()
    source, unigram = streams(plm, 30, 3), np.linspace(1, 9, VOCABULARY.size)
    values = evaluate(Step(learner(plm), "fp32"), plm, source, Group("cpu", 60, 1), batch_size=3, unigram=unigram, limit=4)
    assert values is not None
    predicted: list[int] = []
    for time in range(4):
        samples = time * 3 + np.arange(3)
        batch = plm.collate(source.fetch(samples), Keys(0, np.zeros(3, np.int64), samples))
        ids = batch.inputs.ids.numpy()
        predicted += [int(ids[row, column]) for row, columns in enumerate(targets(batch)) for column in columns]
    assert len(predicted) == 4 * 3 * round(30 / 6)
    assert values["unigram_loss"] == pytest.approx(unigram[predicted].mean())
    assert plm.baseline is not None
    assert f"predicted tokens {values['loss']:.3f} nats each" in plm.baseline.compare(values)
    alone = evaluate(Step(learner(plm), "fp32"), plm, source, Group("cpu", 60, 1), batch_size=3, limit=4)
    assert alone == pytest.approx({name: value for name, value in values.items() if name != "unigram_loss"})
