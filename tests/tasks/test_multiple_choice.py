"""Multiple choice: rows and scores against what each family publishes, numbers of choices that differ, and reading the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.memory_rows import VOCABULARY
from support.sentence_twin import randomise
from support.tiny_task import MODELS, choice_examples, chooser, several_right, several_right_examples, tiny_model

from plmtrain import backbones
from plmtrain.data.tables.labelled import Examples, gather, rows_of_files
from plmtrain.data.tables.readers import reader_of
from plmtrain.data.tables.readers.multiple_choice import RightTexts
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.keyed_random import Keys
from plmtrain.programs.row_tasks import RowLearner
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.multiple_choice import MultipleChoiceSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.tasks.multiple_choice import MultipleChoice
from plmtrain.text.readers import Skips
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

torch.set_num_threads(1)


def keys(count: int) -> Keys:
    return Keys(0, np.zeros(count, np.int64), np.arange(count))


def learner_of(task: MultipleChoice, tokens: int = VOCABULARY.size) -> RowLearner:
    torch.manual_seed(0)
    return task.build(lambda model: backbones.build(model, tokens))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("family", ["bert", "xlnet", "gpt1", "bart"])
def test_neither_padding_nor_company_nor_other_choices_change_a_score(family: str, alone: bool) -> None:
    task = chooser(tiny_model(family), length=24, context=None if alone else "context")
    learner = learner_of(task).eval()
    randomise(learner)
    rows = choice_examples(6, task.row_shape(24).length, alone=alone)
    assert len(set(rows.fetch(np.arange(6)).counts.tolist())) > 1
    together = task.answering.predict(learner, task.collate(rows.fetch(np.arange(6)), keys(6)))
    for index, answer in enumerate(together):
        own = rows.fetch(np.array([index]))
        (alone_answer,) = task.answering.predict(learner, task.collate(own, keys(1)))
        assert alone_answer["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-5)
        assert len(answer["probabilities"]) == own.counts[0]
        assert sum(answer["probabilities"]) == pytest.approx(1)
        with torch.no_grad():  # each choice alone, with its context
            inputs = task.collate(own, keys(1)).inputs
            scores = [learner.scores(inputs.map(lambda part, at=at: part[at : at + 1])).item() for at in range(own.counts[0])]
        assert torch.tensor(scores).softmax(0).tolist() == pytest.approx(answer["probabilities"], abs=1e-5)


@pytest.mark.parametrize("family", MODELS)
def test_every_parameter_gets_a_gradient(family: str) -> None:
    task = chooser(tiny_model(family), length=24)
    learner = learner_of(task).train()
    batch = task.collate(choice_examples(8, task.row_shape(24).length).fetch(np.arange(8)), keys(8))
    terms, _ = task.loss(learner, batch, {})
    sum(term.weight * term.total for term in terms.values()).backward()
    # What adds the same to the score of every choice is not seen by a softmax over them.
    same = {"backbone.norm.bias"} if family == "gpt2" else set()
    free = {name for name, parameter in learner.named_parameters() if parameter.requires_grad}
    without = {name for name in free if not learner.get_parameter(name).grad.abs().sum() > 1e-7}
    assert without <= same
    assert "head.scores.bias" not in free


def test_the_loss_is_that_of_a_softmax_over_each_examples_own_choices() -> None:
    task = chooser()
    learner = learner_of(task).eval()
    randomise(learner)
    rows = choice_examples(9, task.row_shape(14).length).fetch(np.arange(9))
    batch = task.collate(rows, keys(9))
    terms, _ = task.loss(learner, batch, {})
    scores = learner.scores(batch.inputs)[:, 0].split(rows.counts.tolist())
    right = rows.targets.tolist()
    expected = sum(-own.log_softmax(0)[number] for own, number in zip(scores, right, strict=True))
    assert terms["multiple_choice"].total.item() == pytest.approx(expected.item(), rel=1e-5)
    hits = sum(int(own.argmax()) == number for own, number in zip(scores, right, strict=True))
    assert terms["multiple_choice"].counts["answers"].tolist() == [hits, 9]
    assert task.measures({"multiple_choice/answers": np.array([3.0, 4.0])}, None) == {"accuracy": 0.75}


def test_the_loss_of_several_right_choices_is_that_of_their_whole_probability() -> None:
    task = several_right()
    learner = learner_of(task).eval()
    randomise(learner)
    rows = several_right_examples(9, task.row_shape(14).length)
    batch = task.collate(rows.fetch(np.arange(9)), keys(9))
    assert batch.targets["right"].shape[1] > batch.targets["choices"].shape[1]
    assert len({len(right.numbers) for right in rows.references}) > 1
    term = task.loss(learner, batch, {})[0]["multiple_choice"]
    scores = learner.scores(batch.inputs)[:, 0].split(rows.fetch(np.arange(9)).counts.tolist())
    shares = [own.softmax(0)[list(right.numbers)].sum() for own, right in zip(scores, rows.references, strict=True)]
    assert term.total.item() == pytest.approx(-sum(share.log().item() for share in shares), rel=1e-5)
    assert term.normaliser == 9


def test_chosen_names_are_compared_by_their_words() -> None:
    """As SQuAD compares answers; in training a choice is right that is one of the right answers as it stands."""
    reader = reader_of(MultipleChoiceSettings(name="t", label_as="texts"))
    cells = {"context": "c", "choices": ["the Cats", "Ann  Lee", "Bea"], "label": ["cats", "Ann Lee"]}
    example = reader.example(Row("x.jsonl:7", cells))
    assert example.reference == RightTexts(("cats", "Ann Lee"), ("the Cats", "Ann  Lee", "Bea"), (1,))
    assert reader.targets([example]).tolist() == [[False, True, False]]
    assert reader.line(example)["expected"] == [1]
    with pytest.raises(DataError, match="column 'label' should be a list of texts, but is text") as told:
        reader.example(Row("x.jsonl:7", {**cells, "label": "Bea"}))
    assert told.value.remedy.startswith(
        'write label as a list, ["..."], or say how the one right choice is given: task.label_as='
    )
    answering, other = several_right().answering, reader.example(Row("x.jsonl:8", {**cells, "label": ["Bea", "Ann Lee"]}))
    given = [{"choice": 0}, {"choice": 0}, {"choice": 1}, {"choice": 2}]
    references = [example.reference, other.reference, other.reference, example.reference]
    assert answering.score(given, references) == {"f1": 0.5, "exact_match": 0.5}
    partly = RightTexts(("Ann",), ("Ann Lee", "Bea"), ())
    assert answering.score([{"choice": 0}], [partly]) == pytest.approx({"f1": 2 / 3, "exact_match": 0.0})


def test_what_cannot_be_won_is_held_out_and_not_trained_on(tmp_path: Path) -> None:
    """As in ReCoRD's script, which scores every question: the average is over all."""
    cells = [{"context": "c", "choices": names, "label": ["Ann"]} for names in (["Ann", "Bea"], ["Bea", "Eve"], ["Bea"], ["Ann"])]
    for number, chosen in enumerate(([0, 0], [0, 1], [0, 2])):
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps(cells[one]) + "\n" for one in chosen))
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(one) + "\n" for one in cells))
    reader = reader_of(MultipleChoiceSettings(name="t", label_as="texts"))

    def gathered(train: str) -> Examples:
        data = TableSettings(files=(str(tmp_path / train),), validation_files=(str(tmp_path / "all.jsonl"),))
        return gather(reader, data, rows_of_files(reader, data, Skips()), Skips())

    held_out = gathered("0.jsonl").splits["validation"]
    assert [example.reference.numbers for example in held_out] == [(0,), (), (), (0,)]
    task = several_right()
    assert task.answering.score([{"choice": 0}] * 4, [example.reference for example in held_out])["f1"] == 0.5
    for file, what in (("1.jsonl", "no choice is one of the right answers in 'label': 'Ann'"), ("2.jsonl", "and is one")):
        with pytest.raises(DataError, match=what):
            gathered(file)


def test_the_loss_of_a_held_out_example_without_a_right_choice_is_nothing() -> None:
    task = several_right()
    learner = learner_of(task).eval()
    randomise(learner)
    rows = several_right_examples(9, task.row_shape(14).length)
    batch = task.collate(rows.fetch(np.arange(9)), keys(9))
    before = task.loss(learner, batch, {})[0]["multiple_choice"].total
    alone = task.collate(rows.fetch(np.arange(1)), keys(1))
    first = task.loss(learner, alone, {})[0]["multiple_choice"].total
    batch.targets["right"][0] = False
    after = task.loss(learner, batch, {})[0]["multiple_choice"].total
    assert after.item() == pytest.approx((before - first).item(), rel=1e-4)


def test_eight_examples_are_overfitted() -> None:
    model = tiny_model("bert", "model.dropout=0", "model.attention_dropout=0", "model.initial_std=0.1")
    task = chooser(model, dropout=0.0)
    learner = learner_of(task).train()
    batch = task.collate(choice_examples(8, task.row_shape(14).length).fetch(np.arange(8)), keys(8))
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    for _ in range(300):
        loss = task.loss(learner, batch, {})[0]["multiple_choice"].total / 8
        if loss.item() < 0.05:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.05
    assert [answer["choice"] for answer in task.answering.predict(learner.eval(), batch)] == batch.targets["right"].tolist()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = ["the cat sat on the mat . why ? because it was warm", "a dog ran to the cat ."] * 20
    return train(iter(texts), TokenizerSettings(type="wordpiece", family="bert", vocab_size=90, lowercase=True))


def read_as(task: MultipleChoiceSettings, tokenizer: Tokenizer, text: str) -> list[list[int]]:
    """The rows of the model for a question."""
    program = MultipleChoice(task, tiny_model("bert"), tokenizer.vocabulary, 24)
    batch = program.answering.collate(program.answering.questions([text], tokenizer))
    real = batch.inputs.layout.tokens
    return [row[kept].tolist() for row, kept in zip(batch.inputs.ids, real, strict=True)]


@pytest.mark.parametrize(
    ("changes", "text", "expected"),
    [
        ({}, "the cat\tsat\tran", ["[CLS] the cat [SEP] sat [SEP]", "[CLS] the cat [SEP] ran [SEP]"]),
        ({"context": None}, "sat\tran\ta dog", ["[CLS] sat [SEP]", "[CLS] ran [SEP]", "[CLS] a dog [SEP]"]),
        (
            {"question": "why", "question_texts": {"cause": "why ?"}},
            json.dumps({"context": "the cat sat", "why": "cause", "choices": ["it was warm", "a dog"]}),
            ["[CLS] the cat sat [SEP] why ? it was warm [SEP]", "[CLS] the cat sat [SEP] why ? a dog [SEP]"],
        ),
        (
            {"question": "q", "blank": "_"},
            "a cat\tthe _ ran .\tdog\tcat",
            ["[CLS] a cat [SEP] the dog ran . [SEP]", "[CLS] a cat [SEP] the cat ran . [SEP]"],
        ),
    ],
)
def test_a_row_is_a_context_and_a_choice_behind_its_question(
    changes: dict[str, Any], text: str, expected: list[str], tokenizer: Tokenizer
) -> None:
    rows = read_as(MultipleChoiceSettings(name="t", **changes), tokenizer, text)
    assert rows == [tokenizer.encode_with_specials(row)[0].tolist() for row in expected]


def test_long_contexts_are_cut_and_choices_kept(tokenizer: Tokenizer) -> None:
    rows = read_as(MultipleChoiceSettings(name="t"), tokenizer, f"{'the cat ' * 30}\ta dog ran .\tran")
    first, second = (tokenizer.encode_with_specials(f"[SEP] {text} [SEP]")[0].tolist() for text in ("a dog ran .", "ran"))
    assert [len(row) for row in rows] == [24, 24]
    assert (rows[0][-len(first) :], rows[1][-len(second) :]) == (first, second)


LIST = {"choices": ["a cat", "a dog", "it"], "context": "c"}
COLUMNS = {"context": "c", "one": "a cat", "two": "a dog", "three": "it", "four": ""}


@pytest.mark.parametrize(
    ("changes", "cells", "right"),
    [
        ({}, {**LIST, "label": 1}, 1),
        ({}, {**LIST, "choices": '["a", "b"]', "label": "0"}, 0),
        ({"label_as": "number"}, {**LIST, "label": "3"}, 2),
        ({"label_as": "letter"}, {**LIST, "label": "B"}, 1),
        ({"label_as": "text"}, {**LIST, "label": " it "}, 2),
        ({"choices": ("one", "two", "three", "four")}, {**COLUMNS, "label": "two"}, 1),
        ({"choices": ("one", "two", "three", "four")}, {**COLUMNS, "four": None, "label": "2"}, 2),
    ],
)
def test_the_right_choice_is_read_as_it_is_given(changes: dict[str, Any], cells: dict[str, Any], right: int) -> None:
    reader = reader_of(MultipleChoiceSettings(name="t", **changes))
    example = reader.example(Row("x.jsonl:1", cells))
    assert example.reference == right
    assert len(reader.choices_of(example)) == (2 if isinstance(cells.get("choices"), str) else 3)


@pytest.mark.parametrize(
    ("changes", "cells", "what"),
    [
        ({}, {**LIST, "label": 3}, "the label '3' is that of no choice: there are 3, 0 to 2"),
        ({"label_as": "letter"}, {**LIST, "label": "D"}, "the label 'D' is that of no choice: there are 3, A to C"),
        ({"label_as": "text"}, {**LIST, "label": "a cow"}, "the label 'a cow' is the text of no choice"),
        ({"label_as": "text"}, {**LIST, "choices": ["x", "x"], "label": "x"}, "the label 'x' is the text of several choices"),
        ({}, {**LIST, "choices": ["a cat"], "label": 0}, "there must be two choices or more, and is one"),
        ({}, {**LIST, "choices": ["a cat", " "], "label": 0}, "choice 2 of 2 is empty"),
        ({}, {**LIST, "choices": "a cat", "label": 0}, "column 'choices' should be a list of texts, but is text"),
        ({}, {**LIST, "choices": ["a cat", 3], "label": 0}, "column 'choices[1]' should be text, but is a number"),
        ({"choices": ("one", "two", "three")}, {**COLUMNS, "two": "", "label": 0}, "choice 2 of 3 is empty"),
        ({}, {**LIST, "label": None}, "column 'label' should be a label, but is null"),
    ],
)
def test_what_cannot_be_chosen_from_is_told_with_its_line(changes: dict[str, Any], cells: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError) as told:
        reader_of(MultipleChoiceSettings(name="t", **changes)).example(Row("x.jsonl:7", cells))
    assert (told.value.what, told.value.where) == (what, "x.jsonl:7")
    assert "data.on_bad=skip" in told.value.remedy


def test_a_question_may_have_its_texts_within_objects() -> None:
    reader = reader_of(MultipleChoiceSettings(name="t", context="text.body", question="q", choices=("answers.list",)))
    line = '{"text": {"body": "the cat"}, "q": "sat?", "answers": {"list": ["yes", "no"]}}'
    assert reader.question(line).texts == ("the cat", "sat?", "yes", "no")


def test_a_question_without_choices_is_told() -> None:
    reader = reader_of(MultipleChoiceSettings(name="t"))
    for text in ("the cat\tsat", '{"context": "the cat"}', "the cat\tsat\t"):
        with pytest.raises(DataError) as told:
            reader.question(text)
        assert '"choices": ["...", "..."]' in told.value.remedy


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"context": "label"}, "name one column twice: label"),
        ({"choices": ("a", "a")}, "name one column twice: a"),
        ({"blank": "_"}, "blank is of questions"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        MultipleChoiceSettings(name="t", **settings)


def test_a_run_chooses_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from plmtrain import cli

    monkeypatch.chdir(tmp_path)
    animals = ["cat", "dog", "cow", "fox", "owl", "bat"]
    lines = []
    for number in range(60):
        here = [animals[(number * step + number // 6) % 6] for step in (1, 2, 3)][: 2 + number % 2]
        here = list(dict.fromkeys(here)) if len(set(here)) > 1 else [here[0], "ant"]
        lines.append(json.dumps({"story": f"it was a {here[-1]}", "endings": here, "label": len(here) - 1}))
    Path("train.jsonl").write_text("\n".join(lines))
    words = "task=multiple_choice task.context=story task.choices=endings data.files=[train.jsonl] model=bert size=tiny name=tiny"
    sizes = "model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 tokenizer.vocab_size=80 trainer.epochs=1"
    assert cli.main(["finetune", *words.split(), *sizes.split(), "trainer.sequence_length=16", "trainer.batch_size=8"]) == 0
    assert "a choice at random is right in" in capsys.readouterr().out
    first = json.loads(Path("runs/tiny/predictions.jsonl").read_text().splitlines()[0])
    assert list(first) == ["story", "endings", "expected", "choice", "probabilities"]
    assert cli.main(["predict", "runs/tiny", "--file", "train.jsonl", "--output", "out.jsonl"]) == 0
    answers = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [answer["endings"][answer["prediction"]] for answer in answers] == [answer["answer"] for answer in answers]
