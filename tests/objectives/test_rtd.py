"""Replaced token detection: what each of its two losses sees and changes, its draws, and what it measures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from support.replaced_tokens import DISENTANGLED, TINY, VOCABULARY, keys, learner, program, text
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Inputs
from plmtrain.data.rows.pair_rows import PairRows
from plmtrain.data.rows.rows import Rows
from plmtrain.keyed_random import Keys
from plmtrain.optim import optimizer
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer_training import train
from plmtrain.training.evaluation import evaluate
from plmtrain.training.group import Group
from plmtrain.training.step import Step, whole_loss


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


class Says(nn.Module):
    """A generator's head that always proposes the same tokens."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        return 1000.0 * functional.one_hot(self.tokens, len(embeddings)).float() + 0 * hidden.sum()


LENT = {
    "encoder": {f"backbone.embeddings.{table}.weight" for table in ("token", "position", "segment", "norm")}
    | {"backbone.embeddings.norm.bias"},
    "disentangled": {"backbone.token.weight"},
}
"""By the kind of a model, what a discriminator lends its generator in full."""


@pytest.mark.parametrize("model_settings", [TINY, DISENTANGLED, DISENTANGLED.model_copy(update={"mask_decoder": False})])
@pytest.mark.parametrize("sharing", ["full", "none", "gradient_disentangled"])
def test_the_discriminators_loss_reaches_the_generator_through_fully_shared_embeddings_alone(
    model_settings: Any, sharing: str
) -> None:
    rtd = program(model_settings, share_embeddings=sharing)
    model = learner(rtd, std=0.1)
    terms, _ = rtd.loss(model, rtd.collate(text(0, 4, 20), keys(4)), {})
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = dict(zip(names, torch.autograd.grad(terms["rtd"].total, parameters, allow_unused=True), strict=True))
    for name, gradient in gradients.items():
        if name.startswith("generator"):
            assert gradient is None or not gradient.any(), name
        else:
            assert gradient is not None, name
            assert gradient.any(), name
    terms, _ = rtd.loss(model, rtd.collate(text(0, 4, 20), keys(4)), {})
    gradients = dict(zip(names, torch.autograd.grad(terms["mlm"].total, parameters, allow_unused=True), strict=True))
    reached = {name for name, gradient in gradients.items() if gradient is not None and not name.startswith("generator")}
    assert reached == (LENT[model_settings.kind] if sharing == "full" else set())


@pytest.mark.parametrize("model_settings", [TINY, DISENTANGLED])
def test_the_discriminator_reads_the_sum_of_the_generators_table_and_its_own(model_settings: Any) -> None:
    """He et al. 2021, section 3.3: E_D = sg(E_G) + E_delta, which is zero at first; by itself it has the sum."""
    rtd = program(model_settings, share_embeddings="gradient_disentangled")
    model = learner(rtd)
    (name,) = (name for name, _ in model.named_parameters() if name.endswith("offset"))
    offset = model.get_parameter(name)
    assert not offset.any()
    assert torch.equal(model.backbone.embedding_weight, model.generator.embedding_weight)
    nn.init.normal_(offset, std=0.5)
    alone = model.models()["discriminator"][0]
    expected = model.generator.embedding_weight + offset
    assert torch.equal(alone.embedding_weight, expected)
    assert alone.state_dict().keys() == {key.replace("offset", "weight") for key in model.backbone.state_dict()}
    inputs = rtd.collate(text(0, 4, 20), keys(4)).inputs
    model.eval()
    torch.testing.assert_close(alone.eval().encode(inputs), model.backbone.encode(inputs))
    with torch.no_grad():  # what the generator learns reaches the discriminator's table
        model.generator.embedding_weight[7] += 1
    torch.testing.assert_close(model.backbone.embedding_weight[7], expected[7] + 1)
    torch.testing.assert_close(alone.embedding_weight[7], expected[7])


def test_the_disentangled_head_compares_each_state_with_the_first() -> None:
    """The authors' ``LMMaskPredictionHead``: a norm of the sum of both, a layer, GELU, a layer."""
    model = learner(program(DISENTANGLED), std=0.3).eval()
    inputs = Inputs(ids=torch.randint(5, 120, (3, 9), generator=torch.Generator().manual_seed(0)))
    states, head = model.backbone.encode(inputs), model.head
    summed = torch.stack([states[:, place] + states[:, 0] for place in range(9)], dim=1)
    inner = functional.layer_norm(summed, (32,), head.norm.weight, head.norm.bias, eps=1e-7)
    inner = functional.gelu(inner @ head.dense.weight.T + head.dense.bias)
    torch.testing.assert_close(model.discriminator_logits(inputs), (inner @ head.score.weight.T + head.score.bias)[..., 0])


def test_a_disentangled_generator_predicts_by_the_mask_decoder() -> None:
    rtd = program(DISENTANGLED, share_embeddings="gradient_disentangled")
    model = learner(rtd, std=0.2).eval()
    batch = rtd.collate(text(3, 5, 25, ragged=True), keys(5))
    hidden = model.generator.predicting(batch.inputs, model.generator_head)
    logits = model.generator_head(hidden, model.generator.embedding_weight)
    torch.testing.assert_close(model.token_scores(batch.inputs), logits)
    positions, labels = batch.targets["positions"], batch.targets["labels"]
    expected = functional.cross_entropy(logits.flatten(0, 1)[positions], labels, reduction="sum")
    torch.testing.assert_close(rtd.loss(model, batch, {})[0]["mlm"].total, expected)
    nn.init.zeros_(model.generator_head.position.weight)
    assert not torch.allclose(model.token_scores(batch.inputs), logits)


def test_how_sharing_was_said_before() -> None:
    """Runs of earlier versions recorded a truth."""
    assert [program(share_embeddings=value).settings.share_embeddings for value in (True, False)] == ["full", "none"]


def test_nothing_is_listed_twice() -> None:
    """The discriminator owns the shared tables; the generator's part of the checkpoint and of the optimiser has none."""
    rtd = program()
    model = learner(rtd)
    tables = [name for name, tensor in model.state_dict().items() if tuple(tensor.shape) == (120, 24)]
    assert tables == ["backbone.embeddings.token.weight"]
    assert [name for name in model.state_dict() if name.startswith("generator.embeddings")] == [
        "generator.embeddings.projection.weight",
        "generator.embeddings.projection.bias",
    ]
    assert model.generator.embedding_weight is model.backbone.embedding_weight
    held = optimizer.build(model, pretrain_settings(compose([])).optimizer)
    assert sum(len(group["params"]) for group in held.param_groups) == len(list(model.parameters())) == len(model.state_dict())
    other = learner(rtd, seed=1)
    other.load_state_dict(model.state_dict())
    batch = rtd.collate(text(0, 4, 20), keys(4))
    losses = [rtd.loss(made.eval(), batch, {})[0] for made in (model, other)]
    assert all(torch.equal(losses[0][name].total, losses[1][name].total) for name in rtd.terms)


def test_every_parameter_learns() -> None:
    for changes in ({}, {"share_embeddings": "none"}, {"share_embeddings": "gradient_disentangled"}):
        rtd = program(**changes)
        model = learner(rtd)
        terms, _ = rtd.loss(model, rtd.collate(text(0, 4, 20), keys(4)), {})
        torch.stack([term.total for term in terms.values()]).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_tokens_are_replaced_at_chosen_positions_and_nowhere_else() -> None:
    rtd, rows = program(), text(1, 30, 40, ragged=True)
    batch = rtd.collate(rows, keys(30))
    positions, labels = batch.targets["positions"], batch.targets["labels"]
    original = batch.inputs.ids.flatten().index_copy(0, positions, labels).view(30, 42)
    assert all(
        torch.equal(original[row, 1 : n + 1], torch.from_numpy(rows.tokens[row, :n])) for row, n in enumerate(rows.lengths)
    )
    drawn = torch.where(torch.arange(len(labels)) % 3 == 0, labels, (labels + 1) % 120)
    written, replaced = rtd.write(batch, drawn)
    assert torch.equal(written.flatten()[positions], drawn)
    assert torch.equal(replaced, written != original)
    elsewhere = torch.ones(replaced.numel(), dtype=torch.bool)
    elsewhere[positions] = False
    assert not replaced.flatten()[elsewhere].any()
    assert torch.equal(written.flatten()[elsewhere], original.flatten()[elsewhere])
    assert replaced.sum() == (torch.arange(len(labels)) % 3 != 0).sum()


def test_a_generator_that_is_always_right_replaces_nothing() -> None:
    rtd = program()
    model = learner(rtd).eval()
    batch = rtd.collate(text(2, 6, 30), keys(6))
    model.generator_head = Says(batch.targets["labels"])  # type: ignore[assignment]
    terms, _ = rtd.loss(model, batch, {})
    assert terms["mlm"].counts["replaced"] == 0
    assert terms["rtd"].counts["logits"][1].sum() == 0
    original = batch.inputs.ids.flatten().index_copy(0, batch.targets["positions"], batch.targets["labels"]).view(6, 32)
    verdicts = model.discriminator_logits(replace(batch.inputs, ids=original))
    expected = functional.softplus(verdicts).sum()  # -log(1 - sigmoid(x)) of every token
    torch.testing.assert_close(terms["rtd"].total, expected)


def test_the_loss_is_the_generators_and_fifty_times_the_discriminators() -> None:
    """Each against its definition, over ragged rows: padding is in neither."""
    rtd, rows = program(), text(3, 7, 25, ragged=True)
    model = learner(rtd, std=0.1).eval()
    batch = rtd.collate(rows, keys(7))
    terms, _ = rtd.loss(model, batch, {})
    positions, labels, ids = batch.targets["positions"], batch.targets["labels"], batch.inputs.ids
    proposals = model.token_scores(batch.inputs).flatten(0, 1)[positions]
    torch.testing.assert_close(terms["mlm"].total, functional.cross_entropy(proposals, labels, reduction="sum"))
    assert terms["mlm"].normaliser == len(positions)

    cumulative = proposals.double().softmax(1).cumsum(1)
    drawn = torch.searchsorted(cumulative, batch.draws["uniforms"][:, None], right=True)[:, 0]
    written = ids.flatten().index_copy(0, positions, drawn).view_as(ids)
    original = ids.flatten().index_copy(0, positions, labels).view_as(ids)
    total = torch.zeros(())
    for row, length in enumerate((rows.lengths + 2).tolist()):  # each by itself, without padding
        verdicts = model.head(model.backbone.encode(Inputs(ids=written[row : row + 1, :length])))[0]
        wrong = (written != original)[row, :length].float()
        total = total + functional.binary_cross_entropy(verdicts.sigmoid(), wrong, reduction="sum")
    torch.testing.assert_close(terms["rtd"].total, total, rtol=1e-4, atol=1e-4)
    assert terms["rtd"].normaliser == int((rows.lengths + 2).sum())
    assert terms["rtd"].counts["logits"].sum() == int((~VOCABULARY.is_special[original.numpy()]).sum())

    parts = {name: term.total / term.normaliser for name, term in terms.items()}
    loss = whole_loss(terms, batch.normalisers)
    torch.testing.assert_close(loss, parts["mlm"] + 50 * parts["rtd"])
    light = program(discriminator_weight=1.0).loss(model, batch, {})[0]
    torch.testing.assert_close(whole_loss(light, batch.normalisers), parts["mlm"] + parts["rtd"])


def test_draws_belong_to_samples_and_not_to_batches() -> None:
    rtd, rows = program(), text(4, 9, 30)
    whole = rtd.collate(rows, keys(9))
    parts = [
        rtd.collate(
            Rows(tokens=rows.tokens[at], lengths=rows.lengths[at], word_starts=rows.word_starts[at]), keys(n, first=at.start)
        )
        for at, n in ((slice(0, 2), 2), (slice(2, 3), 1), (slice(3, 9), 6))
    ]
    for kind, name in (("draws", "uniforms"), ("targets", "labels")):
        assert torch.equal(getattr(whole, kind)[name], torch.cat([getattr(part, kind)[name] for part in parts]))
    later = rtd.collate(rows, keys(9, epoch=1))
    assert not np.isin(later.draws["uniforms"], whole.draws["uniforms"]).any()
    assert whole.draws["uniforms"].min() >= 0
    assert whole.draws["uniforms"].max() < 1


def test_masks_are_electras() -> None:
    """85 % masked, 15 % left, none random; of each row 15 % of its length, special tokens counted."""
    rtd = program()
    shown = rtd.inspect(rtd.collate(text(5, 500, 62), keys(500)))
    masked, predicted = shown.rates["masked"]
    assert predicted == 500 * round(0.15 * 64)
    assert abs(masked / predicted - 0.85) < 4 * (0.85 * 0.15 / predicted) ** 0.5
    assert shown.rates["random"] == (0, predicted)
    assert shown.rates["kept"] == (predicted - masked, predicted)
    assert shown.rates["specials touched"][0] == 0
    assert any("generator" in note for note in shown.notes)


def test_rows_of_segments_are_laid_out_as_pairs_or_alone() -> None:
    """[CLS] A [SEP] B [SEP], or [CLS] A [SEP], as ELECTRA's data are; special tokens are original in both."""
    rtd = program(segments={})
    tokens = np.arange(5, 5 + 18).reshape(3, 6)
    segments = np.array([[0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]])
    lengths = np.array([6, 5, 4])
    rows = PairRows(tokens=tokens, lengths=lengths, word_starts=np.ones((3, 6), np.bool_), segments=segments)
    batch = rtd.collate(rows, keys(3))
    original = batch.inputs.ids.clone().flatten()
    original[batch.targets["positions"]] = batch.targets["labels"]
    assert original.view(3, 9).tolist() == [
        [2, 5, 6, 3, 7, 8, 9, 10, 3],
        [2, 11, 12, 13, 14, 3, 15, 3, 0],
        [2, 17, 18, 19, 20, 3, 0, 0, 0],
    ]
    assert batch.inputs.segments is not None
    assert batch.inputs.segments.tolist() == [[0] * 4 + [1] * 5, [0] * 6 + [1, 1, 0], [0] * 9]
    assert batch.layout.tokens is not None
    assert batch.layout.tokens.sum(1).tolist() == [9, 8, 6]
    assert batch.normalisers == {"mlm": len(batch.targets["labels"]), "rtd": 23, "tokens": 23}
    terms, _ = rtd.loss(learner(rtd, std=0.1), batch, {})
    assert all(term.total.isfinite() for term in terms.values())
    with pytest.raises(ValidationError, match="with_replacement draws single tokens"):
        program(with_replacement=True, whole_words=True)


def test_eight_rows_are_learnt_by_heart() -> None:
    """The generator fills every mask, and what it still draws wrong the discriminator finds."""
    model_settings = TINY.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0})
    rtd = program(model_settings, generator_width=1.0, copies=1)
    model = learner(rtd)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    rows = text(7, 8, 20)
    for epoch in range(350):
        batch = rtd.collate(rows, keys(8, epoch=epoch))
        terms, _ = rtd.loss(model, batch, {})
        optimiser.zero_grad()
        whole_loss(terms, batch.normalisers).backward()
        optimiser.step()
    values = {name: term.total.item() / term.normaliser for name, term in terms.items()}
    assert values["mlm"] < 0.1  # log(120) = 4.8 to begin with
    assert values["rtd"] < 0.05


class MemoryRows:
    """Rows in memory."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, indices: np.ndarray) -> Rows:
        rows = self.rows
        return Rows(tokens=rows.tokens[indices], lengths=rows.lengths[indices], word_starts=rows.word_starts[indices])


def test_held_out_measures_are_those_of_all_tokens_at_once() -> None:
    """In batches of any size: counts add up, the area is scikit-learn's but for the width of a bin, and losses are means."""
    from sklearn import metrics

    rtd, rows = program(), text(8, 40, 30, ragged=True)
    model = learner(rtd, std=0.3)
    with torch.no_grad():  # verdicts spread around zero
        model.head.score.weight.mul_(500)
        shown = rtd.answering.collate(rows)
        model.head.score.bias.sub_(model.discriminator_logits(shown.inputs).mean())
    group, unigram = Group("cpu", 60, 1), np.linspace(1, 9, VOCABULARY.size)
    measured = [evaluate(Step(model, "fp32"), rtd, MemoryRows(rows), group, batch_size=size, unigram=unigram) for size in (40, 7)]
    assert measured[0] is not None
    assert measured[0] == pytest.approx(measured[1], rel=1e-5)

    model.eval()
    batch = rtd.collate(rows, Keys(0, np.zeros(40, np.int64), np.arange(40)))
    positions, labels, ids = batch.targets["positions"], batch.targets["labels"], batch.inputs.ids
    proposals = model.token_scores(batch.inputs).detach().flatten(0, 1)[positions]
    cumulative = proposals.double().softmax(1).cumsum(1)
    drawn = torch.searchsorted(cumulative, batch.draws["uniforms"][:, None], right=True)[:, 0]
    written, replaced = rtd.write(batch, drawn)
    verdicts = model.discriminator_logits(replace(batch.inputs, ids=written)).detach()
    original = ids.flatten().index_copy(0, positions, labels).view_as(ids)
    asked = ~torch.from_numpy(VOCABULARY.is_special[original.numpy()])
    assert 1 < verdicts.std() < 5
    auc = metrics.roc_auc_score(replaced[asked], verdicts[asked])
    assert measured[0]["rtd/auc"] == pytest.approx(auc, abs=5e-4)
    assert measured[0]["rtd/auc_low"] < measured[0]["rtd/auc"] < measured[0]["rtd/auc_high"]
    assert measured[0]["mlm/replaced"] == pytest.approx((drawn != labels).float().mean().item())
    masked = ids.flatten()[positions] == VOCABULARY["mask"]
    lost = functional.cross_entropy(proposals[masked], labels[masked]).item()
    assert measured[0]["hidden_loss"] == pytest.approx(lost, rel=1e-5)
    assert measured[0]["hidden_unigram_loss"] == pytest.approx(unigram[labels[masked].numpy()].mean())
    assert "perplexity" not in measured[0]


def test_a_discriminator_that_knows_nothing_has_no_area_to_boast_of() -> None:
    rtd = program()
    model = learner(rtd).eval()
    nn.init.zeros_(model.head.score.weight)
    with torch.no_grad():
        terms, _ = rtd.loss(model, rtd.collate(text(9, 8, 30), keys(8)), {})
    counts = {
        f"{name}/{what}": count.numpy().astype(float) for name, term in terms.items() for what, count in term.counts.items()
    }
    assert rtd.measures(counts, None)["rtd/auc"] == 0.5


def test_a_loss_that_is_not_finite_is_returned_and_not_an_error() -> None:
    rtd = program()
    model = learner(rtd)
    nn.init.constant_(model.generator_head.bias, torch.nan)
    for training in (True, False):
        terms, _ = rtd.loss(model.train(training), rtd.collate(text(9, 8, 30), keys(8)), {})
        assert terms["mlm"].total.isnan()


def test_texts_are_judged_token_by_token() -> None:
    sentences = ["the cat sat on the mat .", "a dog ran to the cat ."]
    family = TokenizerSettings(type="wordpiece", family="bert", vocab_size=80, lowercase=True)
    tokenizer = train(iter(sentences * 20), family)
    rtd = program(vocabulary=tokenizer.vocabulary)
    model = learner(rtd, std=0.2).eval()
    rows = rtd.answering.questions(["the [MASK] sat", "a dog"], tokenizer)
    assert tokenizer.vocabulary["mask"] not in rows.tokens  # a name in the text is text
    batch = rtd.answering.collate(rows)
    probabilities = model.discriminator_logits(batch.inputs).sigmoid()
    for row, answer in enumerate(rtd.answering.predict(model, batch)):
        length = int(rows.lengths[row])
        assert answer["sample"] == row
        assert answer["replaced"] == pytest.approx(probabilities[row, 1 : length + 1].tolist())
        read = rtd.answering.read_out(
            "text", rows.tokens[row, :length], {**answer, "replaced": [0.2] * (length - 1) + [0.9]}, tokenizer
        )
        assert [token["replaced"] for token in read.values["tokens"]] == [0.2] * (length - 1) + [0.9]
        assert read.lines[0].count("[") - read.lines[0].count("[MASK") >= 1
        assert "90%" in read.lines[0]

    asked = rtd.answering.questions(sentences, tokenizer)
    shown = rtd.answering.demonstrate(model, asked, tokenizer)
    assert len(shown.rows) == 2
    for cells, sentence in zip(shown.rows, sentences, strict=True):
        assert cells[1] in sentence
        assert f"[{cells[1]}]" not in cells[0]  # another token stands there
