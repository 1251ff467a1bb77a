"""Next sentence and sentence order prediction: rows, labels, losses, what is learnt, and what is told of it."""

from __future__ import annotations

import math
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
from plmtrain.data.rows.pair_rows import PairRows
from plmtrain.data.rows.rows import Rows
from plmtrain.keyed_random import Keys
from plmtrain.programs.masked.pairs import PairedLearner, PairedMaskedLM
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.nsp import NextSentenceSettings
from plmtrain.settings.objectives.sop import SentenceOrderSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(200, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))
TINY = EncoderSettings(name="tiny", layers=2, width=32, heads=2, feed_forward=64, positions=64)
KINDS: dict[str, Any] = {"nsp": NextSentenceSettings, "sop": SentenceOrderSettings}

both = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def program(kind: str, model: EncoderSettings = TINY, **changes: Any) -> PairedMaskedLM[Any]:
    built = objectives.build(KINDS[kind](name=kind, **{"copies": 1, **changes}), model, VOCABULARY)
    assert isinstance(built, PairedMaskedLM)
    return built


def pairs(seed: int, rows: int, width: int) -> PairRows:
    """Pairs of random tokens; every other one is full."""
    draw = np.random.default_rng(seed)
    lengths = np.where(np.arange(rows) % 2, width, draw.integers(2, width + 1, rows))
    first = draw.integers(1, lengths)
    tokens = draw.choice(VOCABULARY.ordinary_ids, (rows, width))
    starts = draw.random((rows, width)) < 0.7
    segments = (np.arange(width) >= first[:, None]).astype(np.int64)
    return PairRows(tokens=tokens, lengths=lengths, word_starts=starts, segments=segments, labels=np.arange(rows) // 2 % 2)


def keys(rows: int, epoch: int = 0, first: int = 0) -> Keys:
    return Keys(11, np.full(rows, epoch, np.int64), np.arange(first, first + rows))


def learner(made: PairedMaskedLM[Any]) -> PairedLearner:
    torch.manual_seed(0)
    built = made.build(lambda model: backbones.build(model, VOCABULARY.size))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return built


def originals(batch: Batch) -> torch.Tensor:
    ids = batch.inputs.ids.clone()
    ids.view(-1)[batch.targets["positions"]] = batch.targets["labels"]
    return ids


@both
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 7), width=st.integers(2, 60))
def test_rows_are_cls_a_sep_b_sep(kind: str, seed: int, rows: int, width: int) -> None:
    given_rows = pairs(seed, rows, width)
    batch = program(kind).collate(given_rows, keys(rows))
    assert batch.layout.tokens is not None
    for row, length in enumerate(given_rows.lengths.tolist()):
        first = int((given_rows.segments[row, :length] == 0).sum())
        own = given_rows.tokens[row, :length].tolist()
        expected = [2, *own[:first], 3, *own[first:], 3] + [0] * (width - length)
        assert originals(batch)[row].tolist() == expected
        # The first [SEP] is A's (Devlin et al. 2019, figure 2).
        segments = [0] * (first + 2) + [1] * (length - first + 1) + [0] * (width - length)
        assert batch.inputs.segments[row].tolist() == segments
        assert batch.layout.tokens[row].tolist() == [True] * (length + 3) + [False] * (width - length)
    assert not VOCABULARY.is_special[batch.targets["labels"].numpy()].any()
    assert batch.targets["pairs"].tolist() == given_rows.labels.tolist()  # type: ignore[union-attr]
    assert batch.normalisers == {"mlm": len(batch.targets["labels"]), kind: rows, "tokens": given_rows.lengths.sum() + 3 * rows}


@both
def test_as_many_tokens_are_predicted_as_in_the_papers_code(kind: str) -> None:
    rows = pairs(1, 60, 50)
    batch = program(kind).collate(rows, keys(60))
    predicted = np.bincount(batch.targets["positions"].numpy() // 53, minlength=60)
    allowed = np.maximum(1, np.rint((rows.lengths + 3) * 0.15)).astype(int)
    assert np.all(predicted <= allowed)
    assert predicted.sum() > (0.97 if kind == "sop" else 0.99) * allowed.sum()
    capped = program(kind, max_predictions=3).collate(rows, keys(60))
    assert np.bincount(capped.targets["positions"].numpy() // 53).max() == 3


@both
def test_a_pair_has_one_mask_in_all_epochs_and_another_pair_another(kind: str) -> None:
    rows, static = pairs(2, 6, 50), program(kind)
    first = static.collate(rows, keys(6)).inputs.ids
    assert torch.equal(first, static.collate(rows, keys(6, epoch=3)).inputs.ids)
    assert not torch.equal(first, static.collate(rows, keys(6, first=6)).inputs.ids)
    anew = program(kind, copies=None)
    assert not torch.equal(anew.collate(rows, keys(6)).inputs.ids, anew.collate(rows, keys(6, epoch=3)).inputs.ids)


@both
def test_a_row_does_not_depend_on_its_batch(kind: str) -> None:
    rows, made = pairs(3, 40, 50), program(kind)
    whole = made.collate(rows, keys(40))
    for first, last in ((0, 1), (17, 23), (39, 40)):
        part = replace(
            rows,
            **{name: getattr(rows, name)[first:last] for name in ("tokens", "lengths", "word_starts", "segments", "labels")},
        )
        alone = made.collate(part, keys(last - first, first=first))
        assert torch.equal(alone.inputs.ids, whole.inputs.ids[first:last])
        assert torch.equal(alone.inputs.segments, whole.inputs.segments[first:last])  # type: ignore[arg-type, index]


@both
def test_the_loss_is_that_of_both_questions(kind: str) -> None:
    made = program(kind)
    model = learner(made).eval()
    batch = made.collate(pairs(4, 6, 40), keys(6))
    terms, carry = made.loss(model, batch, {})
    assert (set(terms), carry) == ({"mlm", kind}, {})
    logits = model.token_scores(batch.inputs)
    at = batch.targets["positions"]
    expected = functional.cross_entropy(logits.flatten(0, 1)[at], batch.targets["labels"], reduction="sum")
    torch.testing.assert_close(terms["mlm"].total, expected)
    hidden = model.backbone.encode(batch.inputs)
    verdicts = model.pair_head.scores(torch.tanh(model.pooler.dense(hidden[:, 0])))
    torch.testing.assert_close(terms[kind].total, functional.cross_entropy(verdicts, batch.targets["pairs"], reduction="sum"))
    assert [terms[name].weight for name in terms] == [1.0, 1.0]
    assert not made.loss(model.train(), batch, {})[0][kind].counts


@both
def test_padding_is_not_read(kind: str) -> None:
    made = program(kind)
    model = learner(made).eval()
    batch = made.collate(pairs(5, 6, 40), keys(6))
    ids = batch.inputs.ids.clone()
    ids[~batch.layout.tokens] = 77  # type: ignore[operator]
    other = replace(batch, inputs=replace(batch.inputs, ids=ids))
    for name, term in made.loss(model, batch, {})[0].items():
        torch.testing.assert_close(term.total, made.loss(model, other, {})[0][name].total)


@both
@pytest.mark.parametrize("shared", [False, True])
def test_every_parameter_gets_a_gradient(kind: str, shared: bool) -> None:
    shape = {"shared_layers": True, "always_project": True, "embedding_width": 16} if shared else {}
    made = program(kind, model=TINY.model_copy(update={"positions": 43, **shape}))
    model = learner(made).train()
    terms, _ = made.loss(model, made.collate(pairs(6, 16, 40), keys(16)), {})
    torch.stack([term.total for term in terms.values()]).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


@both
def test_eight_rows_are_learnt_by_heart(kind: str) -> None:
    made = program(kind, model=TINY.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0}))
    torch.manual_seed(0)
    model = made.build(lambda settings: backbones.build(settings, VOCABULARY.size))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rows = pairs(7, 8, 30)
    for epoch in range(150):
        terms, _ = made.loss(model, made.collate(rows, keys(8, epoch)), {})
        optimizer.zero_grad()
        torch.stack([term.total / term.normaliser for term in terms.values()]).sum().backward()
        optimizer.step()
    assert all(term.total.item() / term.normaliser < 0.05 for term in terms.values())


def test_other_families_have_their_own_rows() -> None:
    roberta = Vocabulary(200, {"cls": 0, "bos": 0, "pad": 1, "sep": 2, "eos": 2, "unk": 3, "mask": 199}, (0, 1, 2, 3, 199))
    model = TINY.model_copy(update={"family": "roberta", "segments": 1})
    made = objectives.build(NextSentenceSettings(name="nsp"), model, roberta)
    rows = PairRows(
        tokens=np.array([[9, 8, 7]]),
        lengths=np.array([3]),
        word_starts=np.ones((1, 3), np.bool_),
        segments=np.array([[0, 1, 1]]),
        labels=np.array([0]),
    )
    batch = made.collate(rows, keys(1))
    assert made.row_shape(128).length == 124
    assert originals(batch).tolist() == [[0, 9, 2, 2, 8, 7, 2]]
    assert batch.inputs.segments is None


@both
def test_measures(kind: str) -> None:
    made = program(kind)
    hidden = {"mlm/hidden": np.array([6.0, 3.0]), "mlm/hidden_tokens": np.bincount([7, 8, 8], minlength=200).astype(float)}
    counts = {**hidden, f"{kind}/confusion": np.array([[80.0, 20.0], [30.0, 10.0]])}
    unigram = np.arange(200.0)
    values = made.measures(counts, unigram)
    assert values["hidden_loss"] == 2.0
    assert values["hidden_unigram_loss"] == pytest.approx((7 + 8 + 8) / 3)
    assert values[f"{kind}/balanced_accuracy"] == pytest.approx((0.8 + 0.25) / 2)
    # The interval of Agresti and Coull for each share of right verdicts, and the standard error of their mean.
    margin = 1.96 * math.sqrt(82 / 104 * 22 / 104 / 104 + 12 / 44 * 32 / 44 / 44) / 2
    assert values[f"{kind}/balanced_accuracy_low"] == pytest.approx(0.525 - margin)
    assert values[f"{kind}/balanced_accuracy_high"] == pytest.approx(0.525 + margin)
    counts[f"{kind}/confusion"] = np.array([[80.0, 20.0], [0.0, 0.0]])
    assert made.measures(counts, None) == {"hidden_loss": 2.0}


@both
def test_what_is_counted_is_what_was_judged(kind: str) -> None:
    made = program(kind)
    model = learner(made).eval()
    batch = made.collate(pairs(8, 40, 30), keys(40))
    terms, _ = made.loss(model, batch, {})
    hidden = model.backbone.encode(batch.inputs)
    taken, true = model.verdicts(hidden[:, 0]).argmax(-1), batch.targets["pairs"]
    confusion = [[int(((true == t) & (taken == f)).sum()) for f in (0, 1)] for t in (0, 1)]
    assert terms[kind].counts["confusion"].tolist() == confusion
    assert terms[kind].counts["accuracy"] == confusion[0][0] + confusion[1][1]
    lost, masked = terms["mlm"].counts["hidden"].tolist()
    assert masked == (batch.inputs.ids == 4).sum() == terms["mlm"].counts["hidden_tokens"].sum()
    assert 0 < lost < terms["mlm"].total


@both
def test_predict_fills_masks_of_texts_and_pairs_and_judges_pairs(kind: str) -> None:
    made = program(kind)
    model = learner(made).eval()
    rows = PairRows(
        tokens=np.array([[9, 4, 8, 4], [9, 10, 0, 0], [4, 7, 4, 0]]),
        lengths=np.array([4, 2, 3]),
        word_starts=np.ones((3, 4), np.bool_),
        segments=np.array([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]),
    )
    batch = made.answering.collate(rows)
    assert batch.inputs.ids.tolist() == [[2, 9, 4, 3, 8, 4, 3], [2, 9, 3, 10, 3, 0, 0], [2, 4, 7, 4, 3, 0, 0]]
    answers = made.answering.predict(model, batch)
    assert [[mask["position"] for mask in answer["masks"]] for answer in answers] == [[1, 3], [], [0, 2]]
    assert [made.as_it_was in answer for answer in answers] == [True, True, False]
    hidden = model.backbone.encode(batch.inputs)
    expected = model.verdicts(hidden[:, 0]).softmax(-1)[:, 0]
    assert answers[0][made.as_it_was] == pytest.approx(float(expected[0].detach()))
    # Rows that know of no segments are texts alone.
    alone = made.answering.collate(Rows(tokens=rows.tokens, lengths=rows.lengths, word_starts=rows.word_starts))
    assert alone.inputs.ids[0].tolist() == [2, 9, 4, 8, 4, 3, 0]
    assert not alone.inputs.segments.any()


@both
def test_inspect_tells_pairs_apart(kind: str) -> None:
    made = program(kind)
    shown = made.inspect(made.collate(pairs(9, 8, 30), keys(8)))
    assert shown.rates[f"pairs {made.changed}"] == (4, 8)
    assert [next(iter(row.lines)) for row in shown.rows][:3] == [
        f"original ({made.as_it_was})",
        f"original ({made.as_it_was})",
        f"original ({made.changed})",
    ]
    assert shown.rates["specials touched"][0] == 0


def test_a_model_whose_head_has_no_layer_keeps_it_so() -> None:
    """XLM scores states against its token table alone (Lample and Conneau 2019), whatever it is trained for."""
    from plmtrain import backbones, objectives
    from plmtrain.nn.heads import TiedHead
    from plmtrain.settings.models.encoder import EncoderSettings
    from plmtrain.settings.objectives.nsp import NextSentenceSettings
    from plmtrain.text.vocabulary import Vocabulary

    roles = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
    vocabulary = Vocabulary(50, roles, tuple(roles.values()))
    model = EncoderSettings(name="xlm", layers=1, width=8, heads=2, feed_forward=16, head_layer=False)
    made = objectives.build(NextSentenceSettings(name="nsp"), model, vocabulary)
    learner = made.build(lambda settings: backbones.build(settings, 50))
    assert isinstance(learner.token_head, TiedHead)
