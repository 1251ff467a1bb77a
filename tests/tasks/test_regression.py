"""Regression: every family's head and loss against transformers' class, validation against scipy, and that it learns."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from support.memory_rows import VOCABULARY
from support.sentence_twin import inputs_of, randomise, twin
from support.tiny_run import in_child, in_group
from support.tiny_task import MODELS, scored_examples, scorer, tiny_model

from plmtrain import backbones
from plmtrain.data.tables.examples import EncodedExamples
from plmtrain.data.tables.labelled import Examples
from plmtrain.data.tables.reader import Example
from plmtrain.data.tables.readers import reader_of
from plmtrain.errors import DataError
from plmtrain.keyed_random import Keys
from plmtrain.programs.row_tasks import RowLearner
from plmtrain.settings.tasks.regression import RegressionSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.tasks.regression import Regression
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train
from plmtrain.training.evaluation import evaluate
from plmtrain.training.group import Group
from plmtrain.training.prediction import by_example
from plmtrain.training.step import Step

torch.set_num_threads(1)


def keys(count: int) -> Keys:
    return Keys(0, np.zeros(count, np.int64), np.arange(count))


def learner_of(task: Regression, seed: int = 0) -> RowLearner:
    torch.manual_seed(seed)
    return task.build(lambda model: backbones.build(model, VOCABULARY.size))


def rows_for(task: Regression, count: int, **more: Any) -> EncodedExamples:
    return scored_examples(count, task.row_shape(task.sequence_length).length, **more)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("family", MODELS)
def test_scores_loss_and_gradients_are_those_of_transformers(family: str, pairs: bool) -> None:
    task = scorer(tiny_model(family), pairs=pairs, length=24)
    learner = learner_of(task).eval()
    randomise(learner)
    batch = task.collate(rows_for(task, 6, pairs=pairs).fetch(np.arange(6)), keys(6))
    other = twin(family, learner, num_labels=1, problem_type="regression")
    theirs = other(**inputs_of(family, batch), labels=batch.targets["scores"].float())
    terms, _ = task.loss(learner, batch, {})
    term = terms["regression"]
    torch.testing.assert_close(learner.scores(batch.inputs), theirs.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(term.total / term.normaliser, theirs.loss, atol=1e-5, rtol=1e-4)
    (term.total / term.normaliser).backward()
    theirs.loss.backward()
    same = {tuple(parameter.shape): parameter.grad for parameter in other.parameters() if parameter.grad is not None}
    grad = learner.head.scores.weight.grad
    torch.testing.assert_close(grad, same[tuple(grad.shape)], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("family", MODELS)
def test_every_parameter_gets_a_gradient(family: str) -> None:
    task = scorer(tiny_model(family), length=24)
    learner = learner_of(task).train()
    terms, _ = task.loss(learner, task.collate(rows_for(task, 8).fetch(np.arange(8)), keys(8)), {})
    terms["regression"].total.backward()
    free = {name for name, parameter in learner.named_parameters() if parameter.requires_grad}
    assert {name for name in free if not learner.get_parameter(name).grad.abs().sum() > 0} == set()


@pytest.mark.parametrize("family", MODELS)
def test_eight_rows_are_overfitted(family: str) -> None:
    model = tiny_model(family, "model.dropout=0", "model.attention_dropout=0", "model.initial_std=0.1")
    task = scorer(model, length=24, dropout=0.0)
    learner = learner_of(task).train()
    batch = task.collate(rows_for(task, 8).fetch(np.arange(8)), keys(8))
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    for _ in range(400):
        terms, _ = task.loss(learner, batch, {})
        loss = terms["regression"].total / 8
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.005:
            break
    assert loss.item() < 0.005
    given = [answer["score"] for answer in task.answering.predict(learner.eval(), batch)]
    assert given == pytest.approx(batch.targets["scores"].tolist(), abs=0.3)


def test_losses_are_sums_of_squares_on_the_scores_as_they_are() -> None:
    task = scorer()
    learner = learner_of(task).eval()
    batch = task.collate(rows_for(task, 12).fetch(np.arange(12)), keys(12))
    (term,) = task.loss(learner, batch, {})[0].values()
    errors = learner.scores(batch.inputs)[:, 0].detach().double().numpy() - batch.targets["scores"].numpy()
    assert term.total.item() == pytest.approx((errors**2).sum(), rel=1e-5)
    assert term.normaliser == 12
    counts = {"regression/errors": term.counts["errors"].detach().double().numpy()}
    assert task.measures(counts, None)["mse"] == pytest.approx((errors**2).mean(), rel=1e-5)
    assert task.loss(learner.train(), batch, {})[0]["regression"].counts == {}


def one_by_one(task: Regression, learner: RowLearner, rows: EncodedExamples, count: int) -> np.ndarray:
    """The scores of rows that are asked each alone."""
    batches = [task.answering.collate(rows.fetch(np.array([index]))) for index in range(count)]
    return np.array([task.answering.predict(learner, batch)[0]["score"] for batch in batches])


def validating(folder: Path, count: int, limit: int | None = None) -> Any:
    def act() -> None:
        torch.set_num_threads(1)
        task = scorer()
        learner = learner_of(task).train()
        randomise(learner)
        group, rows = Group("cpu", 60, 1), rows_for(task, count)
        module = group.wrap(Step(learner, "fp32"))
        values = evaluate(module, task, rows, group, batch_size=4, limit=limit)
        assert values is not None
        assert learner.training
        (folder / f"{group.size}-{group.rank}.json").write_text(json.dumps(values))

    return act


@pytest.mark.parametrize(("count", "limit"), [(13, None), (13, 2), (9, 5)])
def test_validation_is_scipys_over_all_rows_however_many_processes(tmp_path: Path, count: int, limit: int | None) -> None:
    """Batches of four over three processes: the last one has one row, which processes without any read, too, uncounted.

    A correlation of few and similar scores shows how rows of other lengths are rounded; a row that is counted twice changes it
    by a hundredth or more.
    """
    assert in_child(validating(tmp_path, count, limit)) == 0
    assert in_group(validating(tmp_path, count, limit), 3) == [0, 0, 0]
    alone = json.loads((tmp_path / "1-0.json").read_text())
    together = [json.loads((tmp_path / f"3-{rank}.json").read_text()) for rank in range(3)]
    assert together[0] == together[1] == together[2], "processes would choose other checkpoints"
    close = {"spearman": 1e-3, "pearson": 1e-3}
    for name, value in alone.items():
        assert together[0][name] == pytest.approx(value, rel=1e-5, abs=close.get(name, 0)), name

    task = scorer()
    learner = learner_of(task).eval()
    randomise(learner)
    rows, read = rows_for(task, count), count if limit is None else min(count, 4 * limit)
    given, right = one_by_one(task, learner, rows, read), np.array(rows.references[:read])
    assert alone["spearman"] == pytest.approx(stats.spearmanr(given, right).statistic, abs=1e-3)
    assert alone["pearson"] == pytest.approx(stats.pearsonr(given, right).statistic, abs=1e-3)
    assert alone["mse"] == alone["loss"] == alone["loss/regression"]
    assert alone["mse"] == pytest.approx(((given - right) ** 2).mean(), rel=1e-5)


class StopAfter(Group):
    """A group that is asked to stop after so many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__("cpu", 60, 1)
        self.looks = looks

    def anyone_asked_to_stop(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("looks", [2, 4])
def test_validation_stops_in_sums_and_in_predictions(looks: int) -> None:
    task = scorer()
    learner = learner_of(task).train()
    group = StopAfter(looks)
    assert evaluate(Step(learner, "fp32"), task, rows_for(task, 12), group, batch_size=4) is None
    assert learner.training
    assert evaluate(Step(learner, "fp32"), task, rows_for(task, 12), StopAfter(6), batch_size=4) is not None


def test_sums_are_enough_for_the_squared_error() -> None:
    """Nothing is predicted: three looks for a signal over three batches are all."""
    task = scorer(metrics=("mse",))
    values = evaluate(Step(learner_of(task), "fp32"), task, rows_for(task, 12), StopAfter(3), batch_size=4)
    assert values is not None
    assert set(values) == {"loss", "loss/regression", "mse"}


def test_examples_of_several_rows_have_one_answer_each() -> None:
    """As a task with windows merges them; an example that is not answered whole is not counted."""
    owners = np.array([0, 0, 1, 2, 2, 2, 3])

    class Windows(type(scorer().answering)):
        def merge(self, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
            return {"score": max(answer["score"] for answer in answers)}

    answers = [{"sample": sample, "score": score} for sample, score in enumerate([1, 3, 2, 6, 4, 5, 0])]
    answering = Windows(scorer())
    assert [answer["score"] for answer in by_example(answering, answers, owners)] == [3, 2, 6, 0]
    assert [answer["score"] for answer in by_example(answering, answers[:5], owners)] == [3, 2]
    assert by_example(answering, answers[:1], owners) == []


def test_equal_answers_have_no_correlation() -> None:
    task = scorer()
    learner = learner_of(task)
    learner.head.scores.weight.data.zero_()
    values = evaluate(Step(learner, "fp32"), task, rows_for(task, 12), Group("cpu", 60, 1), batch_size=4)
    assert values is not None
    assert math.isnan(values["spearman"])
    assert math.isnan(values["pearson"])
    assert values["mse"] == pytest.approx(np.mean(np.square(rows_for(task, 12).references)), rel=1e-5)


@pytest.mark.parametrize(("metric", "higher"), [("pearson", True), ("spearman", True), ("mse", False)])
def test_the_first_metric_chooses(metric: str, higher: bool) -> None:
    selection = scorer(metrics=(metric,)).selection
    assert (selection.measure, selection.higher, selection.decides) == (metric, higher, True)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = ["the cat sat on the mat .", "a dog ran to the cat ."] * 20
    return train(iter(texts), TokenizerSettings(type="wordpiece", family="bert", vocab_size=80, lowercase=True))


def asked(tokenizer: Tokenizer) -> Regression:
    task = RegressionSettings(name="t", text=("a", "b"), label="how")
    return Regression(task, tiny_model("bert"), tokenizer.vocabulary, 24)


def test_texts_json_and_pairs_are_answered_with_a_number(tokenizer: Tokenizer) -> None:
    task = asked(tokenizer)
    learner = task.build(lambda model: backbones.build(model, tokenizer.vocabulary.size)).eval()
    lines = ["the cat\ta dog", json.dumps({"b": "a dog", "a": "the cat"})]
    rows = task.answering.questions(lines, tokenizer)
    answers = task.answering.predict(learner, task.answering.collate(rows))
    said = [
        task.answering.read_out(line, rows.tokens[row], answer, tokenizer)
        for row, (line, answer) in enumerate(zip(lines, answers, strict=True))
    ]
    score = said[0].values["score"]
    assert said[0].values == said[1].values == {"a": "the cat", "b": "a dog", "score": score}
    assert isinstance(score, float)
    assert said[0].lines == [f"{score:.3f}\tthe cat\ta dog"]
    with pytest.raises(DataError, match="a pair of texts was expected"):
        task.answering.questions(["the cat"], tokenizer)


def test_an_inspection_shows_scores() -> None:
    task = scorer()
    rows = rows_for(task, 12)
    shown = task.inspect(task.collate(rows.fetch(np.arange(12)), keys(12)))
    assert [float(name) for row in shown.rows for name in row.lines] == rows.references
    rounded = np.rint(rows.references).astype(int)  # halves go to the even neighbour
    assert shown.histograms["scores, rounded"] == {
        value: int((rounded == value).sum()) for value in sorted(set(rounded.tolist()))
    }
    assert sum(shown.histograms["tokens in a row"].values()) == 12


def test_the_closing_stands_beside_the_mean_of_the_training_scores(tokenizer: Tokenizer) -> None:
    task = asked(tokenizer)
    train_scores, held_out = [1.0, 3.0, 5.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    splits = {
        split: [Example((f"text {number}", "x" * 200), score) for number, score in enumerate(scores)]
        for split, scores in (("train", train_scores), ("validation", held_out))
    }
    examples = Examples(reader=reader_of(task.settings), splits=splits, sources={})
    answers = [{"score": score} for score in (0.5, 1.0, 2.0, 3.0, 4.0, 1.0)]
    by_score, worst, beside, best = task.answering.closing(examples, answers, 0.75)
    assert sum(int(row[1]) for row in by_score.rows) == 6
    assert by_score.rows[-1][0] == "5 to 5"
    assert by_score.rows[-1][2:] == ["5.000", "1.000", "4.000"]
    assert worst.rows[0][1:] == ["5", "1.000"]
    assert worst.rows[0][0].splitlines()[0] == "text 5"
    assert len(worst.rows) == 5
    mean_error = sum((score - 3) ** 2 for score in held_out) / 6
    assert beside.startswith(f"mse {(0.25 + 16) / 6:.4f}; the mean of the training scores (3.000)")
    assert f"{mean_error:.4f}" in beside
    assert best == "best validation pearson 0.7500"
    constant = task.answering.closing(examples, [{"score": 2.0}] * 6, None)
    assert constant[-1] == "correlations are undefined: all predicted scores are equal"


def test_a_score_of_other_weights_is_another_one() -> None:
    """The parity above would hold for a head that reads nothing, too."""
    task = scorer()
    rows = rows_for(task, 6)
    batch = task.answering.collate(rows.fetch(np.arange(6)))
    scores = [learner_of(task, seed).eval().scores(batch.inputs) for seed in (0, 1)]
    assert not torch.allclose(*scores)
    assert len(set(scores[0][:, 0].tolist())) == 6
