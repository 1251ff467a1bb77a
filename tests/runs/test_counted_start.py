"""Weights that begin with what is counted in the text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.memory_rows import VOCABULARY

from plmtrain import backbones, objectives
from plmtrain.backbones import Backbone
from plmtrain.data.corpus.cooccurrence import Information
from plmtrain.nn.token_vectors import token_vectors
from plmtrain.programs.learner import Learner
from plmtrain.runs.counted_start import start_counted
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings

COUNTS = np.arange(VOCABULARY.size) % 7 * 3


def information() -> Information:
    """Every token that occurs has neighbours."""
    dense = np.random.default_rng(0).exponential(1.0, (len(COUNTS), 40)) * (COUNTS > 0)[:, None]
    rows, columns = dense.nonzero()
    return Information(rows, columns, dense[rows, columns], dense.shape)


CORPUS: Any = SimpleNamespace(token_counts=lambda: COUNTS, mutual_information=information)


def learners(*words: str) -> tuple[Learner, Learner]:
    """The same fresh learner twice, one of them begun with counts."""
    settings = pretrain_settings(compose(words))
    program = objectives.build(settings.objective, settings.model, VOCABULARY)
    both = []
    for _ in range(2):
        torch.manual_seed(3)
        both.append(program.build(lambda model: backbones.build(model, VOCABULARY.size + 3)))  # a family adds rows
    assert "counted" in start_counted(both[1], CORPUS, seed=5)
    return both[0], both[1]


SHAPE = ["model.layers=2", "model.width=16", "model.heads=2", "model.feed_forward=32"]

KINDS = {
    "mlm": ["model=bert", "objective=mlm", *SHAPE],
    "rtd": ["model=electra", "objective=rtd", "model.embedding_width=8", *SHAPE],
    "sop": ["model=albert", "objective=sop", "model.embedding_width=8", *SHAPE],
    "clm": ["model=gpt2", "objective=clm", *SHAPE],
    "plm": ["model=xlnet", "objective=plm", *SHAPE],
    "bart": ["model=bart", "objective=bart", *SHAPE],
    "span_corruption": ["model=t5_v1_1_small", "objective=span_corruption", *SHAPE],
    "deberta": ["model=deberta", "objective=mlm", *SHAPE],
}


@pytest.mark.parametrize("words", KINDS.values(), ids=KINDS)
def test_embeddings_begin_with_vectors_in_their_own_scale(words: list[str]) -> None:
    before, after = learners(*words)
    known = torch.from_numpy(COUNTS > 0)
    for old, new in zip(_backbones(before), _backbones(after), strict=True):
        was, now = old.embedding_weight.detach(), new.embedding_weight.detach()
        assert torch.equal(now[: len(known)][~known], was[: len(known)][~known])
        assert torch.equal(now[len(known) :], was[len(known) :])
        expected = token_vectors(information(), now.shape[1], 5)[known]
        assert torch.allclose(now[: len(known)][known] / was.std(), expected, atol=1e-4)


def _backbones(learner: Learner) -> list[Backbone]:
    return [module for module in learner.modules() if isinstance(module, Backbone)]


@pytest.mark.parametrize("name", ["mlm", "rtd", "sop", "plm", "deberta"])
def test_output_biases_begin_with_the_logarithm_of_frequencies(name: str) -> None:
    before, after = learners(*KINDS[name])
    weights, fresh = dict(after.named_parameters()), dict(before.named_parameters())
    biases = [key for key, weight in weights.items() if weight.shape == (VOCABULARY.size + 3,)]
    assert biases
    shares = np.maximum(COUNTS, 0.5) / COUNTS.sum()
    for key in biases:
        assert torch.allclose(weights[key][: len(shares)].exp().double(), torch.from_numpy(shares))
        assert torch.equal(weights[key][len(shares) :], fresh[key][len(shares) :])


@pytest.mark.parametrize("name", ["mlm", "rtd"])
def test_the_first_layer_of_encoders_looks_beside(name: str) -> None:
    changed = _changed(KINDS[name])
    of_attention = {key for key in changed if "query_key_value" in key}
    assert of_attention
    assert all("layers.0.attention.query_key_value.weight" in key for key in of_attention)
    assert any("position" in key for key in changed)


@pytest.mark.parametrize(
    "words",
    [
        ["model=xlm_clm", "objective=encoder_clm", "data=sample", *SHAPE],  # sees only its left
        KINDS["sop"],  # its first layer is its last one, too
    ],
    ids=["causal", "shared"],
)
def test_other_encoders_do_not_look_beside(words: list[str]) -> None:
    assert not [key for key in _changed(words) if "position" in key or "attention" in key]


def test_only_output_biases_are_set_where_other_biases_are_as_long() -> None:
    """The head's own layer is as wide as there are tokens."""
    rows = VOCABULARY.size + 3
    width = [f"model.width={rows}", "model.heads=1", "model.layers=1", "model.feed_forward=8"]
    assert [key for key in _changed(["model=bert", "objective=mlm", *width]) if key.endswith("bias")] == ["head.bias"]


def test_a_model_that_reads_characters_begins_with_output_biases() -> None:
    changed = _changed(["model=elmo", "size=tiny", "objective=bilm", "tokenizer=word"])
    assert changed
    assert all(key.endswith("bias") for key in changed)


def _changed(words: list[str]) -> list[str]:
    before, after = learners(*words)
    fresh = dict(before.named_parameters())
    return [key for key, weight in after.named_parameters() if not torch.equal(weight, fresh[key])]
