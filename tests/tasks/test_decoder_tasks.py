"""Fine-tuning as in GPT-1's paper (Radford et al. 2018, sections 3.2, 3.3): rows, the language-model loss, both orders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from support.memory_rows import VOCABULARY
from support.sentence_twin import randomise
from support.tiny_task import examples, program, tiny_model

from plmtrain import backbones
from plmtrain.batch import Batch
from plmtrain.errors import SettingsErrors
from plmtrain.interop.families.gpt1 import FAMILY
from plmtrain.interop.placing import named_tensors
from plmtrain.keyed_random import Keys
from plmtrain.programs.row_tasks import RowLearner
from plmtrain.runs.command_settings import settings_for
from plmtrain.tasks.classification import Classification
from plmtrain.training.step import whole_loss

START, DELIMITER, EXTRACT, ROWS = 2, 3, 4, 6
torch.set_num_threads(1)


def built(task: Classification) -> tuple[RowLearner, Batch]:
    """A learner with random weights, and a batch of rows of several lengths."""
    learner = task.build(lambda model: backbones.build(model, VOCABULARY.size)).eval()
    randomise(learner)
    rows = examples(ROWS, task.row_shape(24).length).fetch(np.arange(ROWS))
    return learner, task.collate(rows, Keys(0, np.zeros(ROWS, np.int64), np.arange(ROWS)))


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_language_model_loss_is_transformers_own(symmetric: bool) -> None:
    task = program(tiny_model("gpt1"), length=24, symmetric=symmetric)
    learner, batch = built(task)
    shape = FAMILY.config(task.model) | {"vocab_size": VOCABULARY.size}
    other = transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(**shape)).eval()
    names = named_tensors(learner.backbone, FAMILY.backbone(task.model))
    other.load_state_dict({f"transformer.{name}": tensor for name, tensor in names.items()}, strict=False)
    ids, real = batch.inputs.ids, batch.inputs.layout.tokens
    assert real is not None
    assert not real.all()
    with torch.no_grad():
        expected = other(ids, attention_mask=real.long(), labels=ids.masked_fill(~real, -100)).loss
        terms, _ = task.loss(learner, batch, {})
    torch.testing.assert_close(terms["lm"].total / terms["lm"].normaliser, expected, atol=1e-5, rtol=1e-5)
    assert terms["lm"].normaliser == float(real[:, 1:].sum())
    whole = whole_loss(terms, batch.normalisers)
    torch.testing.assert_close(whole, terms["classification"].total / ROWS + 0.5 * expected)


def test_a_row_has_its_three_tokens() -> None:
    task = program(tiny_model("gpt1"), length=24)
    rows = examples(1, task.row_shape(24).length).fetch(np.arange(1))
    assert rows.others is not None
    first, second = (part.tokens[0, : part.lengths[0]].tolist() for part in (rows, rows.others))
    batch = task.batch(rows, {}, torch.arange(1))
    (real,) = np.asarray(batch.inputs.layout.tokens)
    assert batch.inputs.ids[0].numpy()[real].tolist() == [START, *first, DELIMITER, *second, EXTRACT]


def test_both_orders_of_a_pair_are_added() -> None:
    """The head is linear and has no bias, so that its scores of the sum are the sum of its scores."""
    model = tiny_model("gpt1")
    both, one = (program(model, length=24, symmetric=symmetric) for symmetric in (True, False))
    learner, _ = built(both)
    alone, _ = built(one)
    alone.load_state_dict(learner.state_dict())
    rows = examples(ROWS, both.row_shape(24).length).fetch(np.arange(ROWS))
    assert rows.others is not None
    turned = type(rows.others)(
        tokens=rows.others.tokens,
        lengths=rows.others.lengths,
        word_starts=rows.others.word_starts,
        others=type(rows.others)(tokens=rows.tokens, lengths=rows.lengths, word_starts=rows.word_starts),
    )
    samples = torch.arange(ROWS)
    with torch.no_grad():
        sums = [learner.scores(both.batch(each, {}, samples).inputs) for each in (rows, turned)]
        parts = [alone.scores(one.batch(each, {}, samples).inputs) for each in (rows, turned)]
    torch.testing.assert_close(sums[0], parts[0] + parts[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(sums[0], sums[1], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(parts[0], parts[1], atol=1e-3)
    answers = both.answering.predict(learner, both.answering.collate(rows))
    assert [answer["sample"] for answer in answers] == list(range(ROWS))
    assert len(both.inspect(built(both)[1]).rows) == 2 * ROWS


def test_the_weight_is_the_family_s_unless_chosen() -> None:
    words = ["data.files=[a.tsv]", "task=classification", "task.labels=[no,yes]", "trainer.sequence_length=16"]
    weights = []
    for chosen in (["model=gpt1"], ["model=gpt1", "task.lm_weight=0"], ["model=gpt2"], ["model=gpt2", "task.lm_weight=0.2"]):
        settings = settings_for("finetune", [*words, *chosen])
        task = Classification(settings.task, settings.model, VOCABULARY, 16)
        weights.append((task.lm_weight, task.terms))
    alone, both = ("classification",), ("classification", "lm")
    assert weights == [(0.5, both), (0, alone), (0, alone), (0.2, both)]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (["model=bert", "task.lm_weight=0.5"], "model=bert is no decoder"),
        (["model=bert", "task.text=[a,b]", "task.symmetric=true"], "task.symmetric has no meaning for model=bert"),
        (["model=gpt1", "task.symmetric=true"], "symmetric is of pairs"),
    ],
)
def test_settings_without_a_meaning_are_refused(chosen: list[str], words: str) -> None:
    with pytest.raises(SettingsErrors, match=words):
        settings_for("finetune", ["data.files=[a.tsv]", "task=classification", "task.labels=[no,yes]", *chosen])
