"""Span masking, alone and with SpanBERT's boundary objective: the losses, what they reach, and what can be learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from plmtrain import backbones, objectives
from plmtrain.data.rows.rows import Rows
from plmtrain.keyed_random import Keys
from plmtrain.nn.boundary import SpanBoundaryHead
from plmtrain.nn.heads import TiedHead
from plmtrain.programs.masked.spans import SpanMasked
from plmtrain.programs.program import AnyProgram
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.span_mlm import SpanMLMSettings
from plmtrain.settings.objectives.spanbert import SpanBERTSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(200, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))
TINY = EncoderSettings(name="tiny", layers=2, width=32, heads=2, feed_forward=64, positions=64, segments=0)
OBJECTIVES = {"span_mlm": SpanMLMSettings(name="span_mlm"), "spanbert": SpanBERTSettings(name="spanbert", position_width=20)}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def program(kind: str = "spanbert", model: EncoderSettings = TINY, **changes: Any) -> AnyProgram:
    built = objectives.build(OBJECTIVES[kind].changed(changes), model, VOCABULARY)
    assert isinstance(built, SpanMasked)
    return built


def text(seed: int, rows: int, width: int, *, ragged: bool = False) -> Rows:
    draw = np.random.default_rng(seed)
    tokens = draw.integers(5, VOCABULARY.size, (rows, width))
    tokens[draw.random((rows, width)) < 0.05] = 3
    starts = (draw.random((rows, width)) < 0.7) | (tokens == 3)
    lengths = draw.integers(0, width + 1, rows) if ragged else np.full(rows, width)
    return Rows(tokens=tokens, lengths=lengths, word_starts=starts, text=tokens.reshape(-1).astype(np.uint16))


def keys(rows: int, epoch: int = 0) -> Keys:
    return Keys(11, np.full(rows, epoch, np.int64), np.arange(rows))


def learner(made: AnyProgram, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    built = made.build(lambda model: backbones.build(model, VOCABULARY.size))
    with torch.no_grad():
        for parameter in built.parameters():  # zero biases would hide what is not added
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return built


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_losses_are_those_of_the_paper(kind: str, ragged: bool) -> None:
    """Written out token by token (sections 3.1 and 3.2): from its own state, and from x[s - 1], x[e + 1] and its place."""
    made = program(kind, boundary_targets=3) if kind == "spanbert" else program(kind)
    model = learner(made).eval()
    rows = text(7, 6, 50, ragged=ragged)
    batch = made.collate(rows, keys(6))
    terms, carry = made.loss(model, batch, {})
    assert tuple(terms) == made.terms == (("mlm",) if kind == "span_mlm" else ("mlm", "sbo"))
    assert carry == {}

    positions, labels = batch.targets["positions"].tolist(), batch.targets["labels"].tolist()
    ids = batch.inputs.ids.clone().flatten()
    ids[positions] = batch.targets["labels"]
    hidden = model.backbone.encode(batch.inputs).flatten(0, 1)
    scores = model.token_scores(batch.inputs).flatten(0, 1)
    expected = {"mlm": torch.tensor(0.0), "sbo": torch.tensor(0.0)}
    counted = {"mlm": 0, "sbo": 0}
    right = {"mlm": 0, "sbo": 0}
    chosen = set(positions)
    for position, label in zip(positions, labels, strict=True):
        expected["mlm"] += functional.cross_entropy(scores[position], torch.tensor(label))
        counted["mlm"] += 1
        right["mlm"] += int(scores[position].argmax() == label)
        start, end = position, position
        while start - 1 in chosen:
            start -= 1
        while end + 1 in chosen:
            end += 1
        if kind == "spanbert" and position - start < 3 and not {ids[start - 1].item(), ids[end + 1].item()} & {0, 2, 3}:
            head = model.boundary_head
            place = head.place.weight[position - start]
            inner = functional.gelu(head.first(torch.cat((hidden[start - 1], hidden[end + 1], place))))
            inner = functional.gelu(head.second(head.first_norm(inner)))
            guess = model.backbone.embedding_weight @ head.second_norm(inner) + head.bias
            expected["sbo"] += functional.cross_entropy(guess, torch.tensor(label))
            counted["sbo"] += 1
            right["sbo"] += int(guess.argmax() == label)
    for name, term in terms.items():
        assert counted[name] > 10
        torch.testing.assert_close(term.total, expected[name], rtol=1e-5, atol=1e-4)
        assert term.normaliser == batch.normalisers[name] == counted[name]
        assert term.counts["accuracy"] == right[name]
        assert not made.loss(model.train(), batch, {})[0][name].counts
        model.eval()
    masked = batch.inputs.ids.flatten()[positions] == 4
    lost = functional.cross_entropy(scores[positions], torch.tensor(labels), reduction="none")[masked]
    counts = terms["mlm"].counts
    measured = made.measures(
        {f"mlm/{name}": counts[name].double().detach().numpy() for name in ("hidden", "hidden_tokens")}, None
    )
    assert measured == {"hidden_loss": pytest.approx(lost.mean().item(), rel=1e-5)}


def test_a_model_whose_head_has_no_layer_keeps_it_so() -> None:
    made = program(model=TINY.model_copy(update={"head_layer": False}))
    assert isinstance(learner(made).head, TiedHead)


def test_the_weight_of_the_boundary_loss_is_the_settings() -> None:
    made = program(boundary_weight=0.25)
    terms, _ = made.loss(learner(made), made.collate(text(1, 4, 40), keys(4)), {})
    assert [terms[name].weight for name in ("mlm", "sbo")] == [1.0, 0.25]


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_parameter_gets_a_gradient(kind: str) -> None:
    made = program(kind, mask_probability=0.4)  # spans of 15 tokens, so that all places are trained
    model = learner(made).train()
    rows = text(8, 200, TINY.positions - 2)
    terms, _ = made.loss(model, made.collate(rows, keys(200)), {})
    torch.stack([term.total for term in terms.values()]).sum().backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert silent == []
    if kind == "spanbert":
        assert model.boundary_head.place.weight.grad.abs().sum(1).all()


def test_boundaries_see_nothing_of_the_span_but_through_the_encoder() -> None:
    """The second term's gradient with respect to the states within spans is exactly zero."""
    made = program()
    model = learner(made)
    batch = made.collate(text(9, 4, 40), keys(4))
    hidden = model.backbone.encode(batch.inputs).detach().flatten(0, 1).requires_grad_()
    model.backbone.encode_at = lambda inputs, at: hidden.index_select(0, at)
    made.loss(model, batch, {})[0]["sbo"].total.backward()
    reached = set(hidden.grad.abs().sum(1).nonzero().flatten().tolist())
    assert reached == set(batch.targets["left"].tolist()) | set(batch.targets["right"].tolist())
    assert not reached & set(batch.targets["positions"].tolist())


@pytest.mark.parametrize(("tokens", "chosen"), [([[3, 3], [3, 3]], 0), ([[9], [9]], 2)])
def test_terms_without_targets_are_zeros_on_the_graph(tokens: list[list[int]], chosen: int) -> None:
    """Rows of document ends alone; rows of one token, whose span touches both ends."""
    made = program()
    model = learner(made).train()
    ids = np.array(tokens)
    rows = Rows(
        tokens=ids, lengths=np.full(2, ids.shape[1]), word_starts=np.ones(ids.shape, np.bool_), text=np.array([9], np.uint8)
    )
    batch = made.collate(rows, keys(2))
    assert batch.normalisers == {"mlm": chosen, "sbo": 0}
    terms, _ = made.loss(model, batch, {})
    assert terms["sbo"].total.item() == 0
    (terms["sbo"].total + terms["mlm"].total).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    assert not model.boundary_head.first.weight.grad.any()


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_eight_rows_are_learnt_by_heart(kind: str) -> None:
    made = program(kind, model=TINY.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0}))
    torch.manual_seed(0)
    model = made.build(lambda settings: backbones.build(settings, VOCABULARY.size))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batch = made.collate(text(10, 8, 30), keys(8))
    for _ in range(120):
        terms, _ = made.loss(model, batch, {})
        means = torch.stack([term.total / term.normaliser for term in terms.values()])
        optimizer.zero_grad()
        means.sum().backward()
        optimizer.step()
    assert means.max().item() < 0.05  # log(200) = 5.3 to begin with


def test_masks_are_filled_by_the_likeliest_tokens() -> None:
    made = program()
    model = learner(made).eval()
    rows = Rows(tokens=np.array([[9, 4, 8, 4], [9, 10, 0, 0]]), lengths=np.array([4, 2]), word_starts=np.ones((2, 4), np.bool_))
    batch = made.answering.collate(rows)
    answers = made.answering.predict(model, batch)
    assert [[mask["position"] for mask in answer["masks"]] for answer in answers] == [[1, 3], []]
    assert answers[0]["masks"][0]["best"] == model.token_scores(batch.inputs)[0, 2].argmax()


def test_inspect_counts_spans() -> None:
    made, rows = program(), text(11, 200, 60)
    batch = made.collate(rows, keys(200))
    shown = made.inspect(batch)
    assert shown.rates["specials touched"][0] == 0
    assert shown.rates["predicted"] == (len(batch.targets["labels"]), int((rows.tokens != 3).sum()))
    spans = int((torch.diff(batch.targets["positions"]) > 1).sum()) + 1
    assert sum(shown.histograms["span length in words"].values()) == spans
    assert sum(size * times for size, times in shown.histograms["span length in tokens"].items()) == len(batch.targets["labels"])
    assert shown.rates["spans with boundaries"] == (len(batch.targets["left"]), spans)
    assert shown.rates["predicted from boundaries"] == (batch.normalisers["sbo"], batch.normalisers["mlm"])


def test_inspect_draws_the_boundaries_of_spans() -> None:
    """By hand: the neighbours of each run of targets, where neither is a special token, and the run's first tokens between."""
    made, rows = program(), text(11, 50, 60)
    batch = made.collate(rows, keys(50))
    ids, width = batch.inputs.ids, batch.inputs.ids.shape[1]
    for row, shown in enumerate(made.inspect(batch).rows):
        places = sorted(at - row * width for at in batch.targets["positions"].tolist() if at // width == row)
        drawn = ["blank"] * width
        for first in (place for place in places if place - 1 not in places):
            last = next(place for place in range(first, width) if place + 1 not in places)
            if not VOCABULARY.is_special[ids[row, [first - 1, last + 1]]].any():
                drawn[first - 1] = drawn[last + 1] = "boundary"
                drawn[first : last + 1] = ["asked" if at < 15 else "blank" for at in range(last + 1 - first)]
        line = shown.lines["boundaries"]
        assert [mark for _, mark in line] == drawn
        assert [token for token, _ in line] == ids[row].tolist()


def test_the_head_narrows_to_the_embeddings() -> None:
    head = SpanBoundaryHead(32, 16, 200, "gelu", 1e-12, places=15, place_width=20)
    logits = head(torch.randn(7, 32), torch.randn(7, 32), torch.arange(7), torch.randn(200, 16))
    assert logits.shape == (7, 200)
    count = sum(parameter.numel() for parameter in head.parameters())
    assert count == 15 * 20 + (2 * 32 + 20) * 32 + 3 * 32 + 32 * 16 + 3 * 16 + 200


def test_the_recipe_is_the_paper_s() -> None:
    settings = pretrain_settings(compose(["experiment=spanbert"]))
    chosen, optimizer, trainer = settings.objective, settings.optimizer, settings.trainer
    assert isinstance(chosen, SpanBERTSettings)
    assert (chosen.mask_probability, chosen.stop_probability, chosen.longest_span) == (0.15, 0.2, 10)
    assert (chosen.mask_share, chosen.random_share, chosen.boundary_targets, chosen.position_width) == (0.8, 0.1, 15, 200)
    assert chosen.boundary_weight == 1.0
    assert (optimizer.lr, optimizer.eps, optimizer.weight_decay, optimizer.clip_norm) == (1e-4, 6e-6, 0.01, None)
    assert (settings.schedule.type, settings.schedule.warmup, settings.schedule.end) == ("linear", 10000, 0.0)
    assert (trainer.steps, trainer.batch_size, trainer.sequence_length) == (2_400_000, 256, 512)
    assert (settings.tokenizer.vocab_size, settings.tokenizer.lowercase) == (28996, False)
    assert settings.data.isolate_documents
    # BERT-base cased, 108,340,804 parameters with its head; and the boundary head.
    model = settings.model
    assert isinstance(model, EncoderSettings)
    with torch.device("meta"):
        built = objectives.build(chosen, model, Vocabulary(28996, VOCABULARY.roles, VOCABULARY.special_ids)).build(
            lambda made: backbones.build(made, 28996)
        )
    head = 15 * 200 + (2 * 768 + 200) * 768 + 768 + 2 * 768 + 768 * 768 + 768 + 2 * 768 + 28996
    assert sum(parameter.numel() for parameter in nn.ModuleList([built]).parameters()) == 108_340_804 + head
