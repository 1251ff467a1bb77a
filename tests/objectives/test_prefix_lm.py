"""The prefix language model of a decoder: what is predicted, what each position sees, and how a prompt is continued."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.memory_rows import VOCABULARY, MemoryRows
from torch.nn import functional

from plmtrain import backbones, objectives
from plmtrain.batch import Inputs, Layout
from plmtrain.data.rows.rows import side_by_side
from plmtrain.keyed_random import Keys
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.models.decoder import DecoderSettings
from plmtrain.settings.objectives.prefix_lm import PrefixLMSettings

TINY = DecoderSettings(
    name="tiny", layers=2, width=16, heads=2, feed_forward=32, positions=32, dropout=0.0, attention_dropout=0.0
)
LENGTH = 20


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def made(seed: int = 0) -> tuple[Any, Any]:
    program: Any = objectives.build(PrefixLMSettings(name="prefix_lm"), TINY, VOCABULARY)
    torch.manual_seed(seed)
    learner = program.build(lambda model: backbones.build(model, VOCABULARY.size))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return program, learner


def batch_of(program: Any, rows: int) -> tuple[Any, np.ndarray]:
    tokens = MemoryRows(rows, program.row_shape(LENGTH).length).fetch(np.arange(rows))
    return program.collate(tokens, Keys(1, np.zeros(rows, np.int64), np.arange(rows))), tokens.tokens


def test_the_tokens_after_the_prefix_are_predicted_and_the_loss_is_theirs() -> None:
    program, learner = made()
    batch, tokens = batch_of(program, 12)
    prefixes = batch.layout.prefixes.tolist()
    assert set(prefixes) <= set(range(1, LENGTH + 1))
    assert len(set(prefixes)) > 4
    expected = [token for row, prefix in zip(tokens.tolist(), prefixes, strict=True) for token in row[prefix:]]
    assert batch.targets["labels"].tolist() == expected
    (term,) = program.loss(learner, batch, {})[0].values()
    logits = learner.token_scores(batch.inputs)
    losses = functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(tokens[:, 1:].reshape(-1)), reduction="none")
    predicted = torch.arange(LENGTH) >= batch.layout.prefixes[:, None] - 1
    torch.testing.assert_close(term.total, losses.view(12, LENGTH)[predicted].sum())
    assert term.normaliser == predicted.sum()


def test_nothing_that_is_predicted_is_seen() -> None:
    """By gradients: a position sees the prefix and what stands before it, all of that, and nothing else."""
    program, learner = made()
    batch, _ = batch_of(program, 6)
    table = learner.backbone.token.weight.detach()
    for row, prefix in enumerate(batch.layout.prefixes.tolist()):
        for place in range(LENGTH):
            states = table[batch.inputs.ids[row : row + 1]].requires_grad_()
            learner.backbone.token.forward = lambda ids, states=states: states
            inputs = Inputs(ids=batch.inputs.ids[row : row + 1], layout=batch.layout.map(lambda one, row=row: one[row : row + 1]))
            learner.backbone.encode(inputs)[0, place].sum().backward()
            seen = states.grad[0].abs().sum(-1) > 0
            assert seen.tolist() == [other < max(prefix, place + 1) for other in range(LENGTH)]


def test_a_prompt_sees_itself_whole_when_it_is_continued() -> None:
    """Token by token from the cache, prompts of several lengths side by side: as the most likely token of whole rows."""
    program, learner = made()
    prompts = [[9, 8, 7, 30, 12, 6], [44, 5, 6], [20]]
    rows = side_by_side([(np.array(prompt), np.ones(len(prompt), np.bool_)) for prompt in prompts], 0)
    asked: Any = type(program.answering)(program, GenerationSettings(max_new_tokens=6))
    answers = asked.predict(learner.eval(), asked.collate(rows))
    for prompt, answer in zip(prompts, answers, strict=True):
        whole = list(prompt)
        for token in answer["written"]:
            layout = Layout(causal=True, prefixes=torch.tensor([len(prompt)]))
            scores = learner.token_scores(Inputs(ids=torch.tensor([whole]), layout=layout))[0, -1]
            assert token == int(scores.argmax())
            whole.append(token)


def test_inspection() -> None:
    program, _ = made()
    batch, tokens = batch_of(program, 4)
    for row, shown in zip(tokens.tolist(), program.inspect(batch).rows, strict=True):
        assert [token for line in ("prefix", "target") for token, _ in shown.lines[line]] == row


def test_a_window_is_refused() -> None:
    with pytest.raises(Exception, match="reads a prefix in both directions"):
        pretrain_settings(compose(["model=gpt3_125m", "objective=prefix_lm", "data=sample"]))
    assert pretrain_settings(compose(["model=gpt3_125m", "model.window=null", "objective=prefix_lm", "data=sample"]))
