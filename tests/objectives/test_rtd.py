"""Replaced token detection: what each of its two losses sees and changes, its draws, and what it measures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain import backbones, objectives
from plmtrain.data.rows import Rows
from plmtrain.keyed_random import Keys
from plmtrain.nn.heads import MaskedLMHead
from plmtrain.objectives.rtd import ReplacedTokenDetection, RTDLearner
from plmtrain.optim import optimizer
from plmtrain.settings.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.rtd import RTDSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer_training import train
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.evaluation import evaluate
from plmtrain.training.group import Group
from plmtrain.training.step import Step, whole_loss

VOCABULARY = Vocabulary(120, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))
TINY = EncoderSettings(
    name="tiny", family="electra", layers=2, width=32, heads=2, feed_forward=64, embedding_width=24, positions=64
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def program(model: EncoderSettings = TINY, vocabulary: Vocabulary = VOCABULARY, **changes: Any) -> ReplacedTokenDetection:
    built = objectives.build(RTDSettings(name="test", **{"generator_width": 0.5, **changes}), model, vocabulary)
    assert isinstance(built, ReplacedTokenDetection)
    return built


def learner(of: ReplacedTokenDetection, seed: int = 0, std: float | None = None) -> RTDLearner:
    torch.manual_seed(seed)
    built = of.build(lambda model: backbones.build(model, of.vocabulary.size))
    if std is not None:  # every parameter away from zeros and ones, where errors hide
        for parameter in built.parameters():
            nn.init.normal_(parameter, std=std)
    return built


def text(seed: int, rows: int, width: int, *, ragged: bool = False) -> Rows:
    random = np.random.default_rng(seed)
    tokens = random.integers(5, VOCABULARY.size, (rows, width))
    tokens[random.random((rows, width)) < 0.05] = VOCABULARY["sep"]
    lengths = random.integers(1, width + 1, rows) if ragged else np.full(rows, width)
    return Rows(tokens=tokens, lengths=lengths, word_starts=random.random((rows, width)) < 0.7)


def keys(rows: int, epoch: int = 0, first: int = 0) -> Keys:
    return Keys(11, np.full(rows, epoch, np.int64), np.arange(first, first + rows))


class Says(nn.Module):
    """A generator's head that always proposes the same tokens."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        return 1000.0 * functional.one_hot(self.tokens, len(embeddings)).float() + 0 * hidden.sum()


@pytest.mark.parametrize("shared", [True, False])
def test_the_discriminators_loss_reaches_the_generator_through_shared_embeddings_alone(shared: bool) -> None:
    rtd = program(share_embeddings=shared)
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
    lent = {"backbone.embeddings.token.weight", "backbone.embeddings.position.weight", "backbone.embeddings.segment.weight"}
    lent |= {"backbone.embeddings.norm.weight", "backbone.embeddings.norm.bias"}
    assert {name for name, gradient in gradients.items() if gradient is not None and not name.startswith("generator")} == (
        lent if shared else set()
    )


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
    found = [rtd.loss(made.eval(), batch, {})[0] for made in (model, other)]
    assert all(torch.equal(found[0][name].total, found[1][name].total) for name in rtd.terms)


def test_every_parameter_learns() -> None:
    for changes in ({}, {"share_embeddings": False}):
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
    original = batch.inputs["ids"].flatten().index_copy(0, positions, labels).view(30, 42)
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
    original = batch.inputs["ids"].flatten().index_copy(0, batch.targets["positions"], batch.targets["labels"]).view(6, 32)
    expected = functional.softplus(model.verdicts(original, batch.layout)).sum()  # -log(1 - sigmoid(x)) of every token
    torch.testing.assert_close(terms["rtd"].total, expected)


def test_the_loss_is_the_generators_and_fifty_times_the_discriminators() -> None:
    """Each against its definition, over ragged rows: padding is in neither."""
    rtd, rows = program(), text(3, 7, 25, ragged=True)
    model = learner(rtd, std=0.1).eval()
    batch = rtd.collate(rows, keys(7))
    terms, _ = rtd.loss(model, batch, {})
    positions, labels, ids = batch.targets["positions"], batch.targets["labels"], batch.inputs["ids"]
    proposals = rtd.token_scores(model, batch).flatten(0, 1)[positions]
    torch.testing.assert_close(terms["mlm"].total, functional.cross_entropy(proposals, labels, reduction="sum"))
    assert terms["mlm"].normaliser == len(positions)

    cumulative = proposals.double().softmax(1).cumsum(1)
    drawn = torch.searchsorted(cumulative, batch.draws["uniforms"][:, None], right=True)[:, 0]
    written = ids.flatten().index_copy(0, positions, drawn).view_as(ids)
    original = ids.flatten().index_copy(0, positions, labels).view_as(ids)
    total = torch.zeros(())
    for row, length in enumerate((rows.lengths + 2).tolist()):  # each by itself, without padding
        verdicts = model.head(model.backbone.encode(written[row : row + 1, :length], replace(batch.layout, tokens=None)))[0]
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


SHAPES = [  # experiment, discriminator, generator by itself (transformers' ElectraForPreTraining and ElectraForMaskedLM)
    ("electra_small", 13_549_057, 4_620_026),
    ("electra_base", 109_483_009, 33_740_602),
    ("electra_large", 335_142_913, 51_295_290),
]


@pytest.mark.parametrize(("experiment", "discriminator", "generator"), SHAPES)
def test_published_sizes(experiment: str, discriminator: int, generator: int) -> None:
    settings = pretrain_settings(compose([f"experiment={experiment}"]))
    vocabulary = replace(VOCABULARY, size=30522)
    rtd = objectives.build(settings.objective, settings.model, vocabulary)
    assert isinstance(rtd, ReplacedTokenDetection)
    with torch.device("meta"):
        model = rtd.build(lambda shape: backbones.build(shape, 30522))
    parts = {
        name: sum(parameter.numel() for module in modules for parameter in module.parameters())
        for name, modules in rtd.models(model).items()
    }
    assert parts == {"discriminator": discriminator, "generator": generator}
    shared = 30522 + 512 + 2 + 2  # rows of the tables, and the norm
    width = settings.model.embedding_width or settings.model.width  # type: ignore[attr-defined]
    assert sum(parameter.numel() for parameter in model.parameters()) == discriminator + generator - shared * width


def test_the_recipes_say_what_the_paper_says() -> None:
    recipes = {
        "electra_small": (0.15, 0.25, 5e-4, 128, 1_000_000, 128),
        "electra_base": (0.15, 1 / 3, 2e-4, 256, 766_000, 512),
        "electra_large": (0.25, 0.25, 2e-4, 2048, 400_000, 512),
    }
    for experiment, expected in recipes.items():
        made = pretrain_settings(compose([f"experiment={experiment}"]))
        assert isinstance(made.objective, RTDSettings)
        found = (made.objective.mask_probability, made.objective.generator_width, made.optimizer.lr)
        assert (*found, made.trainer.batch_size, made.trainer.steps, made.trainer.sequence_length) == expected
        assert made.objective.mask_share == 0.85
        assert (made.objective.generator_weight, made.objective.discriminator_weight) == (1, 50)
        assert (made.optimizer.eps, made.optimizer.bias_correction, made.optimizer.weight_decay) == (1e-6, False, 0.01)
        assert (made.schedule.warmup, made.schedule.decay_from, made.schedule.multiply_warmup) == (10_000, "start", True)


def test_both_models_compute_what_transformers_computes() -> None:
    """Tensors are copied by hand into transformers' classes: logits, both losses, and ragged padding."""
    transformers = pytest.importorskip("transformers")
    rtd = program()
    model = learner(rtd, std=0.15).eval()
    batch = rtd.collate(text(6, 5, 30, ragged=True), keys(5))
    assert batch.layout.tokens is not None
    attended = batch.layout.tokens.long()

    for part, theirs in (("discriminator", transformers.ElectraForPreTraining), ("generator", transformers.ElectraForMaskedLM)):
        backbone, head = rtd.models(model)[part]
        shape = rtd.generator_settings() if part == "generator" else TINY
        config = transformers.ElectraConfig(
            vocab_size=120,
            embedding_size=24,
            hidden_size=shape.width,
            num_hidden_layers=2,
            num_attention_heads=shape.heads,
            intermediate_size=shape.feed_forward,
            max_position_embeddings=64,
        )
        peer = theirs(config).eval()
        tensors = _in_their_names(backbone, head, f"{part}_predictions")
        if isinstance(head, MaskedLMHead):
            tensors |= {"generator_lm_head.bias": head.bias, "generator_lm_head.weight": backbone.embedding_weight}
        peer.load_state_dict(tensors)
        if part == "generator":
            wanted = torch.full_like(batch.inputs["ids"], -100).flatten()
            wanted[batch.targets["positions"]] = batch.targets["labels"]
            there = peer(batch.inputs["ids"], attention_mask=attended, labels=wanted.view_as(batch.inputs["ids"]))
            ours = rtd.token_scores(model, batch)
            real = batch.layout.tokens
            loss = rtd.loss(model, batch, {})[0]["mlm"]
        else:
            drawn = (batch.targets["labels"] * 7) % 120
            written, replaced = rtd.write(batch, drawn)
            there = peer(written, attention_mask=attended, labels=replaced.long())
            ours = model.verdicts(written, batch.layout)
            real = batch.layout.tokens
            expected = functional.binary_cross_entropy_with_logits(ours[real], replaced[real].float())
            torch.testing.assert_close(there.loss, expected, rtol=1e-4, atol=1e-5)
            loss = None
        torch.testing.assert_close(ours[real], there.logits[real], rtol=1e-4, atol=1e-5)
        if loss is not None:
            torch.testing.assert_close(loss.total / loss.normaliser, there.loss, rtol=1e-4, atol=1e-5)


def _in_their_names(backbone: nn.Module, head: nn.Module, at: str) -> dict[str, Tensor]:
    """A model's tensors as transformers' ELECTRA calls them; query, key and value are one tensor of ours."""
    replacements = {
        "embeddings.token": ["embeddings.word_embeddings"],
        "embeddings.position": ["embeddings.position_embeddings"],
        "embeddings.segment": ["embeddings.token_type_embeddings"],
        "embeddings.norm": ["embeddings.LayerNorm"],
        "embeddings.projection": ["embeddings_project"],
        "attention.query_key_value": [f"attention.self.{name}" for name in ("query", "key", "value")],
        "attention.output": ["attention.output.dense"],
        "attention_norm": ["attention.output.LayerNorm"],
        "feed_forward_in": ["intermediate.dense"],
        "feed_forward_out": ["output.dense"],
        "feed_forward_norm": ["output.LayerNorm"],
    }
    found = {}
    for name, tensor in backbone.named_parameters():
        where, _, kind = name.rpartition(".")
        block, within = (where[: len("layers.0.")], where[len("layers.0.") :]) if where.startswith("layers.") else ("", where)
        theirs = replacements[within]
        for their, part in zip(theirs, tensor.chunk(len(theirs)), strict=True):
            found[f"electra.{block.replace('layers', 'encoder.layer')}{their}.{kind}"] = part
    for name, tensor in head.named_parameters():
        if name != "bias":
            found[f"{at}.{name.replace('norm', 'LayerNorm').replace('score', 'dense_prediction')}"] = tensor
    return found


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
    metrics = pytest.importorskip("sklearn.metrics")
    rtd, rows = program(), text(8, 40, 30, ragged=True)
    model = learner(rtd, std=0.3)
    with torch.no_grad():  # verdicts spread around zero
        model.head.score.weight.mul_(500)
        shown = rtd.collate_for_prediction(rows)
        model.head.score.bias.sub_(model.verdicts(shown.inputs["ids"], shown.layout).mean())
    group = Group("cpu", 60, 1)
    found = [
        evaluate(Step(model, "fp32"), rtd, MemoryRows(rows), group, batch_size=size)  # type: ignore[arg-type]
        for size in (40, 7)
    ]
    assert found[0] is not None
    assert found[0] == pytest.approx(found[1], rel=1e-5)

    model.eval()
    batch = rtd.collate(rows, Keys(0, np.zeros(40, np.int64), np.arange(40)))
    positions, labels, ids = batch.targets["positions"], batch.targets["labels"], batch.inputs["ids"]
    proposals = rtd.token_scores(model, batch).detach().flatten(0, 1)[positions]
    cumulative = proposals.double().softmax(1).cumsum(1)
    drawn = torch.searchsorted(cumulative, batch.draws["uniforms"][:, None], right=True)[:, 0]
    written, replaced = rtd.write(batch, drawn)
    verdicts = model.verdicts(written, batch.layout).detach()
    original = ids.flatten().index_copy(0, positions, labels).view_as(ids)
    asked = ~torch.from_numpy(VOCABULARY.is_special[original.numpy()])
    assert 1 < verdicts.std() < 5
    auc = metrics.roc_auc_score(replaced[asked], verdicts[asked])
    assert found[0]["rtd/auc"] == pytest.approx(auc, abs=5e-4)
    assert found[0]["rtd/auc_low"] < found[0]["rtd/auc"] < found[0]["rtd/auc_high"]
    assert found[0]["mlm/replaced"] == pytest.approx((drawn != labels).float().mean().item())
    unseen = ids.flatten()[positions] == VOCABULARY["mask"]
    lost = functional.cross_entropy(proposals[unseen], labels[unseen]).item()
    assert found[0]["mlm/unseen_loss"] == pytest.approx(lost, rel=1e-5)
    assert "perplexity" not in found[0]


def test_a_discriminator_that_knows_nothing_has_no_area_to_boast_of() -> None:
    rtd = program()
    model = learner(rtd).eval()
    nn.init.zeros_(model.head.score.weight)
    with torch.no_grad():
        terms, _ = rtd.loss(model, rtd.collate(text(9, 8, 30), keys(8)), {})
    counts = {
        f"{name}/{what}": count.numpy().astype(float) for name, term in terms.items() for what, count in term.counts.items()
    }
    assert rtd.measures(counts)["rtd/auc"] == 0.5


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
    rows = rtd.questions(["the [MASK] sat", "a dog"], tokenizer)
    assert tokenizer.vocabulary["mask"] not in rows.tokens  # a name in the text is text
    batch = rtd.collate_for_prediction(rows)
    probabilities = model.verdicts(batch.inputs["ids"], batch.layout).sigmoid()
    for row, answer in enumerate(rtd.predict(model, batch)):
        length = int(rows.lengths[row])
        assert answer["sample"] == row
        assert answer["replaced"] == pytest.approx(probabilities[row, 1 : length + 1].tolist())
        read = rtd.read_out("text", rows.tokens[row, :length], {**answer, "replaced": [0.2] * (length - 1) + [0.9]}, tokenizer)
        assert [token["replaced"] for token in read.values["tokens"]] == [0.2] * (length - 1) + [0.9]
        assert read.lines[0].count("[") - read.lines[0].count("[MASK") >= 1
        assert "90%" in read.lines[0]

    asked = rtd.questions(sentences, tokenizer)
    shown = rtd.demonstrate(model, asked, tokenizer)
    assert len(shown.rows) == 2
    for cells, sentence in zip(shown.rows, sentences, strict=True):
        assert cells[1] in sentence
        assert f"[{cells[1]}]" not in cells[0]  # another token stands there
