"""Tasks on a mix of the layers of a model that stays as it is, ELMo's or another's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.every_program import PROGRAMS
from support.memory_rows import VOCABULARY
from support.tiny_run import SHAPE, settings_of
from support.tiny_task import examples, program, tiny_model

from plmtrain import backbones
from plmtrain.errors import SettingsErrors
from plmtrain.keyed_random import Keys
from plmtrain.programs.row_tasks import RowLearner
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import run_settings
from plmtrain.settings.kinds import FINETUNE
from plmtrain.tasks.classification import Classification

ELMO = settings_of(*PROGRAMS["bilm"].system, *SHAPE).model
MODELS = {"elmo": ELMO, "bert": tiny_model("bert"), "gpt2": tiny_model("gpt2"), "xlnet": tiny_model("xlnet")}


def keys(count: int) -> Keys:
    return Keys(0, np.zeros(count, np.int64), np.arange(count))


def made(family: str, **features: Any) -> tuple[Classification, RowLearner]:
    task = program(MODELS[family], length=24, **features)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    learner = task.build(lambda model: backbones.build(model, VOCABULARY.size))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return task, learner


def batch_of(task: Classification, count: int = 8, first: int = 0) -> Any:
    rows = examples(12, task.row_shape(24).length)
    return task.collate(rows.fetch(first + np.arange(count)), keys(count))


@pytest.mark.parametrize("family", MODELS)
def test_the_mix_and_the_head_are_trained_and_nothing_else(family: str) -> None:
    task, learner = made(family, features="mix", mix_l2=0.5)
    learner.train()
    batch = batch_of(task)
    terms, _ = task.loss(learner, batch, {})
    assert terms["mix"].weight * float(terms["mix"].total.detach() / terms["mix"].normaliser) == pytest.approx(
        0.5 * float(learner.mix.weights.detach().square().sum())
    )
    torch.stack([term.total * term.weight for term in terms.values()]).sum().backward()
    trained = {name for name, parameter in learner.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    assert trained == {name for name, _ in learner.named_parameters() if not name.startswith("backbone.")}
    assert not learner.backbone.training
    hidden = [learner.hidden(batch.inputs) for _ in range(2)]  # without dropout, in training too
    assert torch.equal(*hidden)
    shares = learner.mix.weights.softmax(0)
    layers = learner.backbone.encode_layers(batch.inputs)
    expected = learner.mix.gamma * sum(share * layer for share, layer in zip(shares, layers, strict=True))
    torch.testing.assert_close(hidden[0], expected)


def test_layer_0_of_elmo_knows_nothing_of_the_words_around() -> None:
    states = []
    for mix_layers in ((0,), (2,), None):
        task, learner = made("elmo", mix_layers=mix_layers)
        inputs = batch_of(task).inputs
        before = learner.hidden(inputs)
        rows = inputs.spelling_rows.clone()
        rows[:, 1] = rows[:, 1].roll(1)
        after = learner.hidden(replace(inputs, spelling_rows=rows))
        states.append((before != after).any(dim=-1).any(dim=0)[:3].tolist())
    assert states == [[False, True, False], [True, True, True], [True, True, True]]


def test_elmo_mixes_unless_told_otherwise() -> None:
    task, learner = made("elmo")
    assert learner.mix is not None
    task, learner = made("elmo", features="states")
    assert learner.mix is None
    task.loss(learner.train(), batch_of(task), {})[0]["classification"].total.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in learner.parameters())
    assert made("bert")[1].mix is None


def test_neither_padding_nor_company_changes_an_answer_of_elmo() -> None:
    task, learner = made("elmo")
    rows = examples(6, task.row_shape(24).length)
    together = task.answering.predict(learner.eval(), task.collate(rows.fetch(np.arange(6)), keys(6)))
    for index, answer in enumerate(together):
        (alone,) = task.answering.predict(learner, task.collate(rows.fetch(np.array([index])), keys(1)))
        assert list(alone["probabilities"].values()) == pytest.approx(list(answer["probabilities"].values()), abs=1e-5)


def test_an_unknown_word_is_read_by_its_letters() -> None:
    """In either text of a pair, at its own place."""
    task, learner = made("elmo")
    rows = examples(12, task.row_shape(24).length).fetch(np.arange(12))
    for texts, change in (
        (rows, lambda other: replace(rows, spellings=other)),
        (rows.others, lambda other: replace(rows, others=replace(rows.others, spellings=other))),
    ):
        row, place = np.argwhere(texts.spellings.any(axis=-1))[0]
        spellings = texts.spellings.copy()
        spellings[row, place, 0] += 1
        batches = [task.collate(each, keys(12)).inputs for each in (rows, change(spellings))]
        assert torch.equal(batches[0].ids, batches[1].ids)
        read = [inputs.spellings[inputs.spelling_rows] for inputs in batches]
        assert (read[0] != read[1]).any(-1).sum() == 1
        with torch.no_grad():
            before, after = (learner.eval().scores(inputs) for inputs in batches)
        assert (before != after).any(dim=1).tolist() == [index == row for index in range(12)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("model=bert task.mix_l2=0.1", "task.mix_l2 is of a mix of layers"),
        ("model=elmo task.features=states task.mix_norm=true", "task.mix_norm is of a mix of layers"),
        ("model=bert task.mix_layers=[0]", "task.mix_layers is of a mix of layers"),
        ("model=elmo task.mix_layers=[0,3]", "task.mix_layers names layer 3, and model=elmo has layers 0 to 2"),
        ("model=elmo task.mix_layers=[0,0]", "mix_layers names one layer twice"),
        ("model=bart task.features=mix", "the layers of model=bart cannot be mixed"),
        ("model=elmo tokenizer=wordpiece", "model=elmo reads the characters of whole words"),
        ("model=elmo task.symmetric=true task.text=[a,b]", "task.symmetric has no meaning"),
        ("model=elmo trainer.compile=true", "model=elmo has a recurrence of its own"),
        ("model=elmo trainer.freeze=[layer.2]", "trainer.freeze names layer.2"),
    ],
)
def test_what_has_no_meaning_is_refused(words: str, told: str) -> None:
    with pytest.raises(SettingsErrors, match=told):
        run_settings(compose([*words.split(), "data.files=[x.tsv]"], primary="finetune"), FINETUNE)
