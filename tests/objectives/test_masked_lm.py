"""Masked language modelling: what it does to rows, its loss, and what it can learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from plmtrain import backbones, objectives
from plmtrain.batch import Batch
from plmtrain.data.rows.rows import Rows
from plmtrain.errors import SettingsError
from plmtrain.keyed_random import Keys
from plmtrain.objectives.masked_lm import MaskedLM
from plmtrain.programs.masked.program import MaskedLearner
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(200, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))
ROBERTA = Vocabulary(200, {"cls": 0, "bos": 0, "pad": 1, "sep": 2, "eos": 2, "unk": 3, "mask": 199}, (0, 1, 2, 3, 199))
TINY = EncoderSettings(name="tiny", layers=2, width=32, heads=2, feed_forward=64, positions=64)

KINDS: dict[str, dict[str, Any]] = {
    "mlm": {"copies": 10, "random_tokens": "all"},
    "dynamic_mlm": {"budget": "stochastic"},
    "whole_word_mlm": {"whole_words": True},
    "capped": {"max_predictions": 3},
    "of_candidates": {"budget_counts": "candidates", "mask_probability": 0.4},
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def program(vocabulary: Vocabulary = VOCABULARY, model: EncoderSettings = TINY, **changes: Any) -> MaskedLM:
    built = objectives.build(MaskedLMSettings(name="test", **changes), model, vocabulary)
    assert isinstance(built, MaskedLM)
    return built


def text(seed: int, rows: int, width: int, *, ragged: bool = False, vocabulary: Vocabulary = VOCABULARY) -> Rows:
    draw = np.random.default_rng(seed)
    tokens = draw.choice(vocabulary.ordinary_ids, (rows, width))
    tokens[draw.random((rows, width)) < 0.05] = vocabulary["sep"]
    tokens[draw.random((rows, width)) < 0.02] = vocabulary["unk"]
    starts = (draw.random((rows, width)) < 0.7) | vocabulary.is_special[tokens]
    lengths = draw.integers(0, width + 1, rows) if ragged else np.full(rows, width)
    return Rows(tokens=tokens, lengths=lengths, word_starts=starts)


def keys(rows: int, epoch: int = 0, first: int = 0) -> Keys:
    return Keys(11, np.full(rows, epoch, np.int64), np.arange(first, first + rows))


def masks(batch: Batch) -> list[tuple[list[int], list[int], list[int]]]:
    """For each row its predicted columns, what the model reads there, and the original tokens."""
    width = batch.inputs.ids.shape[1]
    positions, labels = batch.targets["positions"], batch.targets["labels"]
    read = batch.inputs.ids.flatten()[positions]
    rows = positions // width
    return [
        ((positions[rows == row] % width).tolist(), read[rows == row].tolist(), labels[rows == row].tolist())
        for row in range(len(batch.inputs.ids))
    ]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 7), width=st.integers(1, 60), ragged=st.booleans(), roberta=st.booleans())
def test_the_original_is_recoverable_and_nothing_else_is_touched(
    kind: str, seed: int, rows: int, width: int, ragged: bool, roberta: bool
) -> None:
    vocabulary = ROBERTA if roberta else VOCABULARY
    given_rows = text(seed, rows, width, ragged=ragged, vocabulary=vocabulary)
    before = given_rows.tokens.copy()
    batch = program(vocabulary, **KINDS[kind]).collate(given_rows, keys(rows, epoch=seed % 3))
    assert np.array_equal(given_rows.tokens, before)
    assert batch.inputs.segments is batch.inputs.positions is batch.inputs.decoder is None
    assert {tensor.dtype for tensor in (batch.inputs.ids, *batch.targets.values(), batch.samples)} == {torch.int64}

    original = batch.inputs.ids.clone().flatten()
    original[batch.targets["positions"]] = batch.targets["labels"]
    original = original.view(rows, width + 2)
    for row, length in enumerate(given_rows.lengths):
        expected = [vocabulary["cls"], *before[row, :length], vocabulary["sep"]] + [vocabulary["pad"]] * (width - length)
        assert original[row].tolist() == expected
    assert not vocabulary.is_special[batch.targets["labels"].numpy()].any()
    assert torch.all(torch.diff(batch.targets["positions"]) > 0)
    assert batch.normalisers == {"mlm": len(batch.targets["labels"])}

    if np.all(given_rows.lengths == width):
        assert batch.layout.tokens is None
    else:
        assert batch.layout.tokens is not None
        assert batch.layout.tokens.sum(1).tolist() == (given_rows.lengths + 2).tolist()
        assert batch.layout.tokens.flatten()[batch.targets["positions"]].all()


@pytest.mark.parametrize("ragged", [False, True])
def test_rows_predict_as_many_tokens_as_the_paper_says(ragged: bool) -> None:
    rows = text(1, 50, 60, ragged=ragged)
    ordinary = [int((~VOCABULARY.is_special[rows.tokens[row, :length]]).sum()) for row, length in enumerate(rows.lengths)]

    def counts(**changes: Any) -> list[int]:
        return [len(columns) for columns, _, _ in masks(program(**changes).collate(rows, keys(50)))]

    bert = [min(n, max(1, round((length + 2) * 0.15))) for n, length in zip(ordinary, rows.lengths.tolist(), strict=True)]
    assert counts() == bert
    assert counts(max_predictions=4) == [min(n, 4) for n in bert]
    assert counts(budget_counts="candidates") == [min(n, max(1, round(n * 0.15))) for n in ordinary]
    whole = counts(whole_words=True)
    assert all(chosen <= allowed for chosen, allowed in zip(whole, bert, strict=True))
    roberta = counts(budget="stochastic")
    shares = (rows.lengths + 2) * 0.15
    assert all(n == most or int(share) <= n <= int(share) + 1 for n, most, share in zip(roberta, ordinary, shares, strict=True))


def test_whole_words_stay_whole() -> None:
    rows = text(2, 40, 60)
    starts = rows.word_starts.copy()
    starts[:, 0] = True
    starts[:, 1:] |= VOCABULARY.is_special[rows.tokens[:, :-1]]
    for row, (columns, _, _) in enumerate(masks(program(whole_words=True).collate(rows, keys(40)))):
        word = np.cumsum(starts[row])
        chosen = np.zeros(60, np.bool_)
        chosen[np.array(columns) - 1] = True
        for one in np.unique(word[chosen]):
            assert chosen[word == one].all()


def test_masks_differ_between_epochs_and_samples_and_return_with_their_key() -> None:
    rows, masked = text(3, 6, 60), program()
    first = masks(masked.collate(rows, keys(6)))
    assert first == masks(masked.collate(rows, keys(6)))
    for other in (keys(6, epoch=1), keys(6, first=6), replace(keys(6), seed=12)):
        again = masks(masked.collate(rows, other))
        assert all(old[0] != new[0] for old, new in zip(first, again, strict=True))


def test_static_masks_cycle_through_their_copies() -> None:
    rows, static = text(4, 3, 60), program(copies=3)
    by_epoch = [masks(static.collate(rows, keys(3, epoch=epoch))) for epoch in range(7)]
    assert by_epoch[0] == by_epoch[3] == by_epoch[6]
    assert by_epoch[1] == by_epoch[4]
    assert by_epoch[0] != by_epoch[1] != by_epoch[2] != by_epoch[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_s_mask_does_not_depend_on_its_batch(kind: str) -> None:
    rows, masked = text(5, 700, 58, ragged=True), program(**KINDS[kind])  # more than a stretch of 2**15 tokens
    together = masks(masked.collate(rows, keys(700)))
    for row in (0, 1, 17, 545, 546, 547, 699):
        length = max(1, int(rows.lengths[row]))
        alone = Rows(
            tokens=rows.tokens[row : row + 1, :length],
            lengths=rows.lengths[row : row + 1],
            word_starts=rows.word_starts[row : row + 1, :length],
        )
        assert masks(masked.collate(alone, keys(1, first=row))) == together[row : row + 1]


@pytest.mark.parametrize(("random_tokens", "lowest"), [("ordinary", 5), ("all", 0)])
def test_random_tokens_come_from_the_whole_vocabulary_or_its_ordinary_part(random_tokens: str, lowest: int) -> None:
    masked = program(random_tokens=random_tokens, mask_share=0.0, random_share=1.0, mask_probability=0.5)
    read = np.concatenate([read for _, read, _ in masks(masked.collate(text(6, 800, 60), keys(800)))])
    assert read.min() == lowest
    counts = np.bincount(read, minlength=200)[lowest:]
    expected = len(read) / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < len(counts) + 4 * (2 * len(counts)) ** 0.5


def test_documents_are_carried_over_to_the_framing_tokens() -> None:
    rows = Rows(
        tokens=np.array([[9, 3, 8, 7], [9, 3, 8, 0]]),
        lengths=np.array([4, 3]),
        word_starts=np.ones((2, 4), np.bool_),
        documents=np.array([[0, 0, 1, 1], [0, 0, 1, 5]]),
    )
    documents = program().collate(rows, keys(2)).layout.documents
    assert documents is not None
    assert documents.tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]]


def learner(masked: MaskedLM, seed: int = 0) -> MaskedLearner:
    torch.manual_seed(seed)
    built = masked.build(lambda model: backbones.build(model, masked.vocabulary.size))
    with torch.no_grad():
        for parameter in built.parameters():  # zero biases would hide what is not added
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return built


@pytest.mark.parametrize("ragged", [False, True])
def test_the_loss_is_the_cross_entropy_at_the_predicted_positions(ragged: bool) -> None:
    masked = program()
    model = learner(masked).eval()
    batch = masked.collate(text(7, 5, 40, ragged=ragged), keys(5))
    labels = torch.full((5 * 42,), -100)
    labels[batch.targets["positions"]] = batch.targets["labels"]
    logits = model.token_scores(batch.inputs)
    assert logits.shape == (5, 42, 200)

    terms, carry = masked.loss(model, batch, {})
    assert set(terms) == set(masked.terms)
    assert carry == {}
    expected = functional.cross_entropy(logits.flatten(0, 1), labels, ignore_index=-100, reduction="sum")
    torch.testing.assert_close(terms["mlm"].total, expected)
    assert terms["mlm"].normaliser == (labels != -100).sum()
    right = (logits.flatten(0, 1).argmax(-1) == labels).sum()
    assert terms["mlm"].counts["accuracy"] == right
    assert not masked.loss(model.train(), batch, {})[0]["mlm"].counts


def test_every_parameter_gets_a_gradient() -> None:
    masked = program(model=TINY.model_copy(update={"segments": 0}))
    model = learner(masked).train()
    width = TINY.positions
    masked.loss(model, masked.collate(text(8, 16, width - 2), keys(16)), {})[0]["mlm"].total.backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert silent == []


def test_a_batch_without_targets_is_a_zero_on_the_graph() -> None:
    masked = program(budget="stochastic", mask_probability=1e-9)
    model = learner(masked).train()
    batch = masked.collate(text(9, 2, 20), keys(2))
    term = masked.loss(model, batch, {})[0]["mlm"]
    assert term.normaliser == 0
    assert term.total.item() == 0
    term.total.backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_eight_rows_are_learnt_by_heart() -> None:
    masked = program(copies=1, model=TINY.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0}))
    torch.manual_seed(0)
    model = masked.build(lambda settings: backbones.build(settings, masked.vocabulary.size))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rows = text(10, 8, 30)
    for epoch in range(150):
        term = masked.loss(model, masked.collate(rows, keys(8, epoch=epoch)), {})[0]["mlm"]
        optimizer.zero_grad()
        (term.total / term.normaliser).backward()
        optimizer.step()
    assert term.total.item() / term.normaliser < 0.05  # log(200) = 5.3 to begin with


def test_predict_fills_each_mask_with_the_likeliest_tokens() -> None:
    masked = program()
    model = learner(masked).eval()
    rows = Rows(
        tokens=np.array([[9, 4, 8, 4], [9, 10, 0, 0], [4, 7, 7, 0]]),
        lengths=np.array([4, 2, 3]),
        word_starts=np.ones((3, 4), np.bool_),
    )
    batch = masked.answering.collate(rows)
    assert batch.inputs.ids.tolist()[2] == [2, 4, 7, 7, 3, 0]
    answers = masked.answering.predict(model, batch)
    assert [answer["sample"] for answer in answers] == [0, 1, 2]
    assert [[mask["position"] for mask in answer["masks"]] for answer in answers] == [[1, 3], [], [0]]
    probabilities = model.token_scores(batch.inputs).softmax(-1)
    for row, column in ((0, 1), (0, 3), (2, 0)):
        (mask,) = (mask for mask in answers[row]["masks"] if mask["position"] == column)
        ids, likely = zip(*mask["candidates"], strict=True)
        expected = probabilities[row, column + 1]
        assert list(likely) == pytest.approx(expected.sort(descending=True).values[:5].tolist())
        assert list(likely) == pytest.approx(expected[list(ids)].tolist())
        assert mask["best"] == ids[0] == expected.argmax()


def test_inspect_counts_what_was_done() -> None:
    masked, rows = program(random_tokens="all"), text(11, 300, 60, ragged=True)
    batch = masked.collate(rows, keys(300))
    shown = masked.inspect(batch)
    by_row = masks(batch)
    read, labels = (np.concatenate(part).astype(int) for part in list(zip(*by_row, strict=True))[1:])
    ordinary = sum(int((~VOCABULARY.is_special[rows.tokens[row, :length]]).sum()) for row, length in enumerate(rows.lengths))
    n = len(read)
    assert shown.rates["predicted"] == (n, ordinary)
    assert shown.rates["masked"] == (int((read == 4).sum()), n)
    assert shown.rates["kept"] == (int((read == labels).sum()), n)
    assert shown.rates["random"] == (int(((read != 4) & (read != labels)).sum()), n)
    assert shown.rates["specials touched"] == (0, int(rows.lengths.sum()) + 600 - ordinary)
    histogram = shown.histograms["predicted per row"]
    assert sum(histogram.values()) == 300
    assert sum(size * times for size, times in histogram.items()) == n

    for row, (columns, inputs, originals) in enumerate(by_row):
        lines = shown.rows[row].lines
        length = int(rows.lengths[row]) + 2
        assert {len(line) for line in lines.values()} == {length}
        assert [token for token, _ in lines["original"]] == [2, *rows.tokens[row, : length - 2], 3]
        assert [lines["input"][column][0] for column in columns] == inputs
        assert {column for column, (_, mark) in enumerate(lines["target"]) if mark == "target"} == set(columns)
        for column, here, was in zip(columns, inputs, originals, strict=True):
            expected = "kept" if here == was else "masked" if here == 4 else "random"
            assert lines["input"][column][1] == expected
        marks = {mark for column, (_, mark) in enumerate(lines["input"]) if column not in columns}
        assert marks <= {"plain", "special"}


def test_a_vocabulary_without_a_mask_is_refused() -> None:
    with pytest.raises(SettingsError, match="mask"):
        program(Vocabulary(10, {"pad": 0, "cls": 1, "sep": 2}, (0, 1, 2)))


def test_rows_leave_room_for_the_framing_tokens() -> None:
    assert program().row_shape(128).length == 126
