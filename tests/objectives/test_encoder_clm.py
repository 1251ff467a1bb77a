"""Causal language modelling with XLM's encoder (Lample and Conneau 2019, section 3.2): its loss, and what predictions see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.memory_rows import MemoryRows, vocabulary_of
from support.parallel_store import corpus
from torch.nn import functional

from plmtrain import backbones
from plmtrain.batch import Inputs
from plmtrain.data.rows.rows import Rows
from plmtrain.data.rows.translations import LanguageRows, Translations
from plmtrain.errors import SettingsErrors
from plmtrain.keyed_random import Keys
from plmtrain.objectives.encoder_clm import EncoderCLM
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import finetune_settings, pretrain_settings
from plmtrain.settings.identity import kind_of
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.encoder_clm import EncoderCLMSettings

VOCABULARY = vocabulary_of("xlm")
MODEL = EncoderSettings(
    name="xlm",
    family="xlm",
    layers=2,
    width=16,
    heads=2,
    feed_forward=64,
    positions=40,
    segments=0,
    languages=("en", "de", "ko"),
    causal=True,
    head_layer=False,
    dropout=0.0,
    attention_dropout=0.0,
)


def made(model: EncoderSettings = MODEL) -> tuple[EncoderCLM, Any]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    program = EncoderCLM(EncoderCLMSettings(name="clm", by_language=bool(model.languages)), model, VOCABULARY)
    learner = program.build(lambda shape: backbones.build(shape, VOCABULARY.size))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return program, learner


def collated(program: EncoderCLM, rows: Rows) -> Any:
    return program.collate(rows, Keys(1, np.zeros(len(rows), np.int64), np.arange(len(rows))))


def test_each_token_of_a_text_is_predicted_from_those_before_it() -> None:
    """The loss by its definition over rows of one language each; neither frames nor padding are predicted."""
    source = Translations(corpus(60, 0, languages=3), 20, translation_share=0.0, exponent=0.7)
    rows = source.fetch(np.arange(9))
    assert isinstance(rows, LanguageRows)
    program, learner = made()
    batch = collated(program, rows)
    terms, _ = program.loss(learner, batch, {})
    with torch.no_grad():
        scores = learner.token_scores(batch.inputs).log_softmax(-1)
    total, count = 0.0, 0
    for row, length in enumerate(rows.lengths.tolist()):
        assert batch.inputs.ids[row, 0] == batch.inputs.ids[row, length + 1] == VOCABULARY["sep"]
        assert (batch.inputs.segments[row] == int(rows.languages[row])).all()
        for place in range(length):
            assert batch.inputs.ids[row, place + 1] == rows.tokens[row, place]
            total -= float(scores[row, place, rows.tokens[row, place]])
            count += 1
    assert (terms["clm"].total.item(), terms["clm"].normaliser) == (pytest.approx(total, rel=1e-5), count)
    terms["clm"].total.backward()
    assert not [name for name, each in learner.named_parameters() if each.grad is None or not each.grad.any()]


@pytest.mark.parametrize("documents", [False, True])
def test_no_prediction_sees_its_target_or_what_follows(documents: bool) -> None:
    """Nor, with isolated documents, another document than that of its target."""
    program, learner = made(MODEL.model_copy(update={"languages": ()}))
    rows = MemoryRows(2, 12, vocabulary=VOCABULARY).fetch(np.arange(2))
    if documents:
        rows = replace(rows, documents=np.arange(12)[None].repeat(2, 0) // 5)
    batch = collated(program, rows)
    assert batch.targets["positions"].tolist() == [*range(12), *range(14, 26)]
    embedded = functional.embedding(batch.inputs.ids, learner.backbone.embedding_weight).detach().requires_grad_()
    learner.backbone.embeddings.token.register_forward_hook(lambda module, given, output: embedded)
    states = learner.backbone.encode(batch.inputs)
    for place in range(12):
        (gradient,) = torch.autograd.grad(states[0, place].square().sum(), embedded, retain_graph=True)
        reached = set(gradient[0].any(dim=-1).nonzero()[:, 0].tolist())
        document = [0, *range(1, 13)]
        first = 0 if not documents else next(p for p in document if min(p, 11) // 5 == place // 5)
        assert reached == set(range(first, place + 1)), place
        assert not gradient[1].any()


def test_every_position_reads_as_it_predicts() -> None:
    """A layout without a rule is causal by the model's own setting, also at single positions."""
    _, learner = made()
    ids = torch.tensor([[1, 20, 21, 22, 23, 1]])
    longer = learner.backbone.eval().encode(Inputs(ids=ids))
    shorter = learner.backbone.encode(Inputs(ids=ids[:, :4]))
    torch.testing.assert_close(longer[:, :4], shorter)
    torch.testing.assert_close(learner.backbone.encode_at(Inputs(ids=ids), torch.tensor([2, 5])), longer[0, [2, 5]])


def test_eight_rows_are_learnt_by_heart() -> None:
    """Whose first tokens tell them apart."""
    program, learner = made(MODEL.model_copy(update={"languages": ()}))
    rows = MemoryRows(8, 8, vocabulary=VOCABULARY).fetch(np.arange(8))
    tokens = rows.tokens.copy()
    tokens[:, 0] = VOCABULARY.ordinary_ids[:8]
    batch = collated(program, replace(rows, tokens=tokens))
    optimiser = torch.optim.Adam(learner.train().parameters(), lr=0.01)
    for _ in range(250):
        terms, _ = program.loss(learner, batch, {})
        loss = terms["clm"].total / terms["clm"].normaliser
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # The first token of a row cannot be known: the logarithm of eight, once in eight positions.
    assert loss.item() < np.log(8) / 8 + 0.05


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["model=xlm", "objective=encoder_clm"], "objective=encoder_clm does not go with model=xlm"),
        (["model=xlm_clm", "objective=mlm"], "in which a position sees only what is to its left"),
        (["model=bert", "objective=encoder_clm", "model.causal=true"], "causal is of family xlm"),
        (["model=xlm_clm", "objective=multilingual_clm"], "reads parallel text"),
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str], what: str) -> None:
    with pytest.raises(SettingsErrors, match=what):
        pretrain_settings(compose(words))


def test_a_causal_model_is_fine_tuned_in_both_directions() -> None:
    files = ["model=xlm_clm", "data.files=[x.tsv]"]
    with pytest.raises(SettingsErrors, match="reads the first state of a row"):
        finetune_settings(compose(files, primary="finetune"))
    finetune_settings(compose([*files, "model.causal=false"], primary="finetune"))
    assert kind_of("model.causal") == "trajectory"  # so that it can be said beside init=
