"""Answers to questions: every family's head and rows against transformers' class, the search, the choice, and that it learns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from support.memory_rows import VOCABULARY
from support.sentence_twin import SPAN_HEADS, inputs_of, randomise, twin
from support.tiny_task import finder, question_examples, tiny_model

from plmtrain import backbones
from plmtrain.batch import Batch
from plmtrain.data.tables.spans import RightAnswers
from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.keyed_random import Keys
from plmtrain.programs.answer_spans import SpanLearner, best_spans, candidates_of, likely_sentence
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import run_settings
from plmtrain.settings.kinds import FINETUNE
from plmtrain.tasks.question_answering import QuestionAnswering

ROWS = 9
torch.set_num_threads(1)


def learner_of(task: QuestionAnswering) -> SpanLearner:
    torch.manual_seed(0)
    return task.build(lambda model: backbones.build(model, VOCABULARY.size))


def batch_of(task: QuestionAnswering, indices: np.ndarray | None = None) -> Batch:
    rows = question_examples(ROWS, task.row_shape(task.sequence_length).length)
    chosen = np.arange(ROWS) if indices is None else indices
    return task.collate(rows.fetch(chosen), Keys(0, np.zeros(len(chosen), np.int64), chosen))


@pytest.mark.parametrize("family", SPAN_HEADS)
def test_logits_and_loss_are_those_of_transformers(family: str) -> None:
    """The loss of transformers' class row by row, without padding, which its own loss would count."""
    task = finder(tiny_model(family), length=20)
    learner = learner_of(task).eval()
    randomise(learner)
    batch, other = batch_of(task), twin(family, learner, SPAN_HEADS)
    real, given = batch.inputs.layout.tokens, inputs_of(family, batch)
    assert real is not None
    assert not real.all()
    with torch.no_grad():
        theirs = other(**given)
        ours = learner.scores(batch.inputs)
        for end, expected in enumerate((theirs.start_logits, theirs.end_logits)):
            torch.testing.assert_close(ours[..., end][real], expected[real], atol=2e-5, rtol=1e-4)
        losses = []
        for row in range(ROWS):
            own = {name: value[row : row + 1, real[row]] for name, value in given.items() if name != "position_ids"}
            if family == "roberta":
                own["position_ids"] = torch.arange(2, 2 + int(real[row].sum()))[None]
            right = batch.targets["answer"][row] - int(real[row].int().argmax())
            losses.append(other(**own, start_positions=right[:1], end_positions=right[1:]).loss)
        terms, _ = task.loss(learner, batch, {})
    torch.testing.assert_close(terms["spans"].total, torch.stack(losses).sum(), atol=1e-4, rtol=1e-4)
    assert terms["spans"].normaliser == ROWS


@pytest.mark.parametrize("family", ["bert", "roberta", "xlnet", "bart"])
def test_rows_are_laid_out_as_published(family: str) -> None:
    task = finder(tiny_model(family), length=20)
    rows = question_examples(ROWS, task.row_shape(20).length).fetch(np.arange(ROWS))
    batch, window = task.batch(rows, torch.arange(ROWS)), rows.others
    assert window is not None
    assert rows.answers is not None
    cls, sep = VOCABULARY["cls"], VOCABULARY["sep"]
    answered = 0
    for row in range(ROWS):
        question, context = rows.tokens[row, : rows.lengths[row]].tolist(), window.tokens[row, : window.lengths[row]].tolist()
        expected = {
            "bert": [cls, *question, sep, *context, sep],
            "xlnet": [*context, sep, *question, sep, cls],
        }.get(family, [cls, *question, sep, sep, *context, sep])
        layout = batch.inputs.layout.tokens
        assert layout is not None
        assert batch.inputs.ids[row, layout[row]].tolist() == expected
        assert batch.inputs.ids[row, batch.targets["none"][row]] == cls
        first, last = batch.targets["answer"][row].tolist()
        begin, end = rows.answers[row].tolist()
        if begin >= 0:
            answered += 1
            assert batch.inputs.ids[row, first : last + 1].tolist() == context[begin : end + 1]
        else:
            assert first == last == batch.targets["none"][row]
        inside = batch.targets["inside"][row]
        assert batch.inputs.ids[row, inside].tolist() == context
        assert batch.targets["characters"][row, inside].tolist() == rows.characters[row, : len(context)].tolist()
    assert 0 < answered < ROWS


@pytest.mark.parametrize("family", ["bert", "xlnet", "bart"])
def test_eight_rows_are_overfitted_by_all_parameters(family: str) -> None:
    model = tiny_model(family, "model.dropout=0", "model.attention_dropout=0", "model.initial_std=0.1")
    task = finder(model, length=24)
    learner = learner_of(task).train()
    batch = batch_of(task, np.arange(8))
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    for step in range(300):
        terms, _ = task.loss(learner, batch, {})
        loss = terms["spans"].total / 8
        loss.backward()
        if not step:
            unread = {name for name, one in learner.named_parameters() if one.requires_grad and not one.grad.abs().sum() > 0}
            assert unread == set()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.02:
            break
    assert loss.item() < 0.02
    for row, answer in enumerate(task.answering.predict(learner.eval(), batch)):
        first, last = batch.targets["answer"][row].tolist()
        best = answer["answers"][0]
        if first != batch.targets["none"][row] and batch.targets["own"][row, first]:
            places = batch.targets["characters"][row]
            assert [best["start"], best["end"]] == [places[first, 0], places[last, 1]]
        elif first == batch.targets["none"][row]:
            assert answer["no_answer_score"] > best["score"]


def test_neither_padding_nor_company_changes_an_answer() -> None:
    task = finder(tiny_model("xlnet"), length=20)
    learner = learner_of(task).eval()
    randomise(learner)
    together = task.answering.predict(learner, batch_of(task))
    for row, answer in enumerate(together):
        (alone,) = task.answering.predict(learner, batch_of(task, np.array([row])))
        assert alone["no_answer_score"] == pytest.approx(answer["no_answer_score"], abs=1e-5)
        for one, other in zip(alone["answers"], answer["answers"], strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)


def test_the_search_finds_the_best_spans() -> None:
    numbers = np.random.default_rng(0)
    for _ in range(30):
        length, longest, count = (int(numbers.integers(1, top)) for top in (9, 6, 7))
        begins, ends = (np.where(numbers.random(length) < 0.3, -math.inf, numbers.normal(size=length)) for _ in range(2))
        every = sorted(
            (
                (begins[one] + ends[two], one, two)
                for one in range(length)
                for two in range(one, min(length, one + longest))
                if begins[one] + ends[two] > -math.inf
            ),
            reverse=True,
        )[:count]
        best, first, last = (
            part[0].tolist() for part in best_spans(*(torch.from_numpy(each[None]) for each in (begins, ends)), longest, count)
        )
        found = [one for one in zip(best, first, last, strict=True) if one[0] > -math.inf]
        assert found == pytest.approx(every)


def window(*answers: tuple[int, int, float], silent: float = 0.0) -> dict[str, Any]:
    return {
        "answers": [{"start": start, "end": end, "score": score} for start, end, score in answers],
        "no_answer_score": silent,
    }


def test_windows_are_merged_by_score_and_the_surest_of_them_decides_that_there_is_an_answer() -> None:
    made = candidates_of([window((0, 3, 1.0), (4, 9, 0.5), silent=3.0), window((4, 9, 2.0), silent=1.0)], 5, unanswerable=True)
    assert [(one["start"], one["score"]) for one in made["answers"]] == [(4, 2.0), (0, 1.0)]
    assert made["no_answer_score"] == 1.0
    shares = [*(one["probability"] for one in made["answers"]), made["no_answer_probability"]]
    assert shares == pytest.approx(torch.tensor([2.0, 1.0, 1.0]).softmax(0).tolist())
    assert len(candidates_of([window((0, 3, 1.0), (4, 9, 0.5))], 1, unanswerable=False)["answers"]) == 1
    assert candidates_of([window()], 1, unanswerable=False) == {"answers": []}


CONTEXT = "red green blue"
RIGHTS = [
    RightAnswers(CONTEXT, ("red",), (0,)),
    RightAnswers(CONTEXT, (), ()),
    RightAnswers(CONTEXT, ("green blue", "blue"), (4, 10)),
    RightAnswers(CONTEXT, (), ()),
]


def test_the_threshold_is_tuned_where_it_is_not_given_and_used_where_it_is() -> None:
    task = finder(metrics=("f1", "exact_match"))
    windows = [
        window((0, 3, 2.0), silent=0.0),
        window((0, 3, 1.0), silent=1.5),
        window((10, 14, 1.0), silent=1.0),
        window(silent=0.0),
    ]
    predictions = [task.answering.merge([each]) for each in windows]  # differences -2, 0.5, 0; the last has no candidate
    assert task.answering.score(predictions, RIGHTS) == pytest.approx(
        {
            "f1": 1.0,
            "exact_match": 1.0,
            **{f"{name}_{kind}": 1.0 for name in ("f1", "exact_match") for kind in ("has_answer", "no_answer")},
            "threshold": 0.25,
        }
    )
    assert task.answering.tuned(predictions, RIGHTS) == {"threshold": 0.25}
    given = finder(threshold=-1.0)
    assert given.answering.tuned(predictions, RIGHTS) == {}
    measured = given.answering.score(predictions, RIGHTS)
    assert (measured["f1"], measured["f1_has_answer"], measured["threshold"]) == (0.75, 0.5, -1.0)
    always = finder(unanswerable=False, metrics=("exact_match", "f1"))
    assert list(always.answering.score([always.answering.merge([windows[0]])], RIGHTS[:1]).items()) == [
        ("exact_match", 1.0),
        ("f1", 1.0),
    ]


def test_the_baseline_is_the_sentence_with_most_of_the_questions_words() -> None:
    context = "The cat sat on a mat. The dog ran to the river! Nothing else."
    assert likely_sentence("Where did the dog run? To the river?", context) == "The dog ran to the river!"
    assert likely_sentence("unheard of", "") == ""


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("model=gpt2", "task=question_answering has no head for models of family gpt2: it reads from left to right"),
        ("model=t5_small", r"family t5: it writes its answers: task=sequence_to_sequence task.text=\[question,context\]"),
        ("model=elmo", "family elmo: the published network for it is another one"),
        ("model=xlm", "family xlm: none was published"),
        ("task.threshold=0", r"(?s)threshold is of questions without an answer.*write unanswerable=true, too"),
        ("task.label=context", "label and text name the same column, context"),
        ("task.text=[question]", "task.text"),
        ("model=bart task.features=mix", "the layers of model=bart cannot be mixed"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(chosen: str, told: str) -> None:
    words = ["data.files=[a.json]", "task=question_answering", *chosen.split()]
    with pytest.raises(SettingsErrors, match=told):
        run_settings(compose(words, primary=FINETUNE.primary), FINETUNE)


def test_rows_without_room_are_refused() -> None:
    task = finder(length=12)
    assert task.row_shape(7).length == 4
    with pytest.raises(SettingsError, match="rows of 6 tokens have no room for a question"):
        task.row_shape(6)
    rows = question_examples(ROWS, 4)
    assert rows.fetch(np.arange(len(rows))).tokens.shape[1] == 2


def test_the_named_suites_say_whether_there_may_be_no_answer() -> None:
    made = {
        name: run_settings(compose([f"task={name}"], primary=FINETUNE.primary), FINETUNE).task
        for name in ("squad", "squad_v2", "klue/mrc", "xquad")
    }
    assert [(task.hub, task.subset, task.unanswerable) for task in made.values()] == [
        ("rajpurkar/squad", None, False),
        ("rajpurkar/squad_v2", None, True),
        ("klue/klue", "mrc", True),
        ("google/xquad", "xquad.en", False),
    ]
    assert made["xquad"].train_split == made["xquad"].validation_split  # a part of it is held out
