"""Tasks small enough to be trained hundreds of times: random texts whose label or score is to be seen in their tokens."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from support.memory_rows import VOCABULARY
from support.tiny_run import TINY_BERT

from plmtrain.data.rows.unknown_words import UnknownWords
from plmtrain.data.tables.answered import AnsweredExamples
from plmtrain.data.tables.choices import ChoiceExamples, EncodedChoices
from plmtrain.data.tables.examples import EncodedExamples, Texts
from plmtrain.data.tables.member_tasks import TaskTarget
from plmtrain.data.tables.mixed import MixedExamples
from plmtrain.data.tables.readers.multiple_choice import RightTexts
from plmtrain.data.tables.spans import Contexts, EncodedQuestions, QuestionExamples, RightAnswers
from plmtrain.data.tables.tagged import TaggedExamples, TaggedTexts
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.settings.tasks.multiple_choice import MultipleChoiceSettings
from plmtrain.settings.tasks.multitask import MultitaskSettings
from plmtrain.settings.tasks.question_answering import QuestionAnsweringSettings
from plmtrain.settings.tasks.regression import RegressionSettings
from plmtrain.settings.tasks.sequence_to_sequence import SequenceToSequenceSettings
from plmtrain.settings.tasks.token_labels import TokenLabelsSettings
from plmtrain.tasks.classification import Classification, MultiLabelClassification, WrittenClassification
from plmtrain.tasks.multiple_choice import MultipleChoice, SeveralRight
from plmtrain.tasks.multitask import Multitask
from plmtrain.tasks.question_answering import QuestionAnswering
from plmtrain.tasks.regression import Regression
from plmtrain.tasks.sequence_to_sequence import SequenceToSequence
from plmtrain.tasks.token_labels import TokenLabels
from plmtrain.text.spelling import word_bytes

SHAPE = "width=16 heads=2 feed_forward=32 positions=32 layers=2".split()
MODELS = {
    "bert": "model=bert",
    "roberta": "model=roberta",
    "albert": "model=albert model.embedding_width=8",
    "electra": "model=electra_small model.embedding_width=8",
    "distilbert": "model=distilbert",
    "deberta": "model=deberta",
    "deberta_v2": "model=deberta_v3_small model.convolution=3",
    "xlm": "model=xlm model.feed_forward=64",
    "xlnet": "model=xlnet objective=plm",
    "bart": "model=bart objective=bart",
    "gpt1": "model=gpt1 objective=clm model.feed_forward=64",
    "gpt2": "model=gpt2 objective=clm",
}
"""By family, how its tiny model is composed."""
_TOKENS = replace(
    VOCABULARY, roles={**VOCABULARY.roles, "bos": 2, "eos": 4}, words=tuple(f"word{number}" for number in range(VOCABULARY.size))
)
"""The same for every family: GPT-1's rows begin and end with other roles, and ELMo's consist of words."""


def tiny_model(family: str, *overrides: str) -> ModelSettings:
    """A family's model, two layers of sixteen numbers."""
    words = [*(f"model.{value}" for value in SHAPE), *MODELS[family].split(), "trainer.sequence_length=24", *overrides]
    return pretrain_settings(compose(words)).model


def program(
    model: ModelSettings | None = None,
    *,
    pairs: bool = True,
    classes: int = 3,
    length: int = 14,
    dropout: float | None = None,
    symmetric: bool = False,
    **features: Any,
) -> Classification:
    """The program of a task with so many classes."""
    if model is None:
        model = pretrain_settings(compose([*TINY_BERT, "trainer.sequence_length=14"])).model
    task = ClassificationSettings(
        name="tiny",
        text=("first", "second") if pairs else ("text",),
        labels=tuple(f"class {number}" for number in range(classes)),
        metrics=("accuracy", "f1", "mcc"),
        dropout=dropout,
        symmetric=symmetric,
        **features,
    )
    return Classification(task, model, _TOKENS, length)


def scorer(
    model: ModelSettings | None = None,
    *,
    pairs: bool = True,
    length: int = 14,
    dropout: float | None = None,
    metrics: tuple[str, ...] = ("spearman", "pearson", "mse"),
    **changes: Any,
) -> Regression:
    """The program of a task with scores."""
    if model is None:
        model = pretrain_settings(compose([*TINY_BERT, "trainer.sequence_length=14"])).model
    text = ("first", "second") if pairs else ("text",)
    task = RegressionSettings(name="tiny", text=text, metrics=metrics, dropout=dropout, **changes)
    return Regression(task, model, _TOKENS, length)


def chooser(
    model: ModelSettings | None = None, *, length: int = 14, dropout: float | None = None, **changes: Any
) -> MultipleChoice:
    """The program of a task with choices."""
    task = MultipleChoiceSettings(name="tiny", dropout=dropout, **changes)
    return MultipleChoice(task, model or tiny_model("bert"), _TOKENS, length)


def choice_examples(count: int, most: int, *, alone: bool = False, seed: int = 0) -> ChoiceExamples:
    """Random contexts with two to four choices, of which the right one has the lowest first token."""
    numbers = np.random.default_rng(seed)
    starts = np.cumsum([0, *numbers.integers(2, 5, count)])
    ranks = np.concatenate([numbers.permutation(end - start) for start, end in itertools.pairwise(starts)])
    (choices,) = _texts(ranks * 9, 1, numbers)
    contexts = None if alone else _texts(np.arange(count) % 40, 1, numbers)[0]
    right = np.array([int(ranks[start:end].argmin()) for start, end in itertools.pairwise(starts)])
    return EncodedChoices(contexts, choices, starts, right, right.tolist()).rows(most)


def several_right(model: ModelSettings | None = None, *, length: int = 14, dropout: float | None = None) -> SeveralRight:
    """The program of a task with choices of which several may be right."""
    task = MultipleChoiceSettings(name="tiny", dropout=dropout, label_as="texts")
    return SeveralRight(task, model or tiny_model("bert"), _TOKENS, length)


def several_right_examples(count: int, most: int, *, seed: int = 0) -> ChoiceExamples:
    """The same texts as ``choice_examples``; the choice with the lowest first token is right, and sometimes another one."""
    encoded, numbers = choice_examples(count, most, seed=seed)._encoded, np.random.default_rng(seed)
    table, references = np.zeros((count, 6), np.bool_), []
    for row, right, size in zip(table, encoded.references, np.diff(encoded.starts).tolist(), strict=True):
        row[right] = row[int(numbers.integers(0, size))] = True
        choices = tuple(f"choice {place // 2} of {size}" for place in range(size))
        rights = tuple(np.flatnonzero(row).tolist())
        references.append(RightTexts(tuple(choices[place] for place in rights), choices, rights))
    return replace(encoded, targets=table, references=references).rows(most)


def writer(
    model: ModelSettings | None = None, *, length: int = 14, dropout: float | None = None, **changes: object
) -> SequenceToSequence:
    """The program of a task with texts as answers; there is no head with a dropout of its own."""
    chosen = {"text": ("text",), "target_length": 8, "label_smoothing": 0.1, "metrics": ("chrf", "bleu", "accuracy")} | changes
    tokens = replace(_TOKENS, roles={**_TOKENS.roles, "eos": _TOKENS["sep"]})
    return SequenceToSequence(SequenceToSequenceSettings(name="tiny", **chosen), model or tiny_model("bart"), tokens, length)


def worder(
    model: ModelSettings | None = None, *, length: int = 14, dropout: float | None = None, classes: int = 3
) -> WrittenClassification:
    """The program of a task with so many classes, each of which is told by writing a token; no head has a dropout."""
    tokens = replace(_TOKENS, roles={**_TOKENS.roles, "eos": _TOKENS["sep"]})
    task = ClassificationSettings(
        name="tiny",
        text=("text",),
        labels=tuple(tokens.text_of([5 + label]) for label in range(classes)),
        metrics=("accuracy", "f1", "mcc"),
        answers="words",
    )
    return WrittenClassification(task, model or tiny_model("bart"), tokens, length)


def worded_examples(count: int, most: int, *, classes: int = 3, seed: int = 0) -> AnsweredExamples:
    """Random texts of up to nine tokens, whose first token tells the class, and is to be written."""
    numbers = np.random.default_rng(seed)
    labels = numbers.integers(0, classes, count)
    questions = EncodedExamples(_texts(labels, 1, numbers), None, most, [_TOKENS.text_of([5 + label]) for label in labels])
    return AnsweredExamples(questions, Texts((5 + labels).astype(np.uint8), np.arange(count + 1)))


def multitasker(model: ModelSettings | None = None, *, length: int = 14, dropout: float | None = None) -> Multitask:
    """The program of two tasks, whose rows and targets are those of ``member_examples``."""
    tokens = replace(_TOKENS, roles={**_TOKENS.roles, "eos": _TOKENS["sep"]})
    tasks = {"long": {"files": "a.tsv", "metrics": ("chrf",)}, "short": {"files": "b.tsv"}}
    task = MultitaskSettings(name="tiny", tasks=tasks, target_length=8, label_smoothing=0.1, metrics=("accuracy", "exact_match"))
    return Multitask(task, model or tiny_model("bart"), tokens, length)


def member_examples(count: int, most: int, *, seed: int = 0) -> MixedExamples:
    """The same texts and answers as ``answered_examples``, the first third of them of one task, the others of another, in equal
    shares."""
    plain = answered_examples(count, most, seed=seed)
    names = ["long"] * (count // 3) + ["short"] * (count - count // 3)
    plain.references = [TaskTarget(name, text) for name, text in zip(names, plain.references, strict=True)]
    return MixedExamples(plain, [count // 3, count - count // 3], np.array([0.5, 0.5]))


def answered_examples(count: int, most: int, *, pairs: bool = False, seed: int = 0) -> AnsweredExamples:
    """Random texts of up to nine tokens, for each of which its first three tokens shall be written, the last one first."""
    texts = _texts(np.random.default_rng(seed).integers(0, 9, count), 1 + pairs, np.random.default_rng(seed))
    first, starts = texts[0].tokens.tolist(), texts[0].starts.tolist()
    answers = [first[start : min(start + 3, end)][::-1] for start, end in itertools.pairwise(starts)]
    ends = np.fromiter(itertools.accumulate(map(len, answers), initial=0), np.int64, count + 1)
    questions = EncodedExamples(texts, None, most, [_TOKENS.text_of(answer) for answer in answers])
    return AnsweredExamples(questions, Texts(np.array([token for answer in answers for token in answer], np.uint8), ends))


def labeller(
    model: ModelSettings | None = None, *, length: int = 14, dropout: float | None = None, **changes: object
) -> TokenLabels:
    """The program of a task with a label for each word."""
    task = TokenLabelsSettings(name="tiny", labels=("O", "B-a", "I-a"), overlap=3, dropout=dropout, **changes)
    return TokenLabels(task, model or tiny_model("bert"), _TOKENS, length)


def tagged_examples(count: int, most: int, *, seed: int = 0) -> TaggedExamples:
    """Random texts of up to twenty tokens, more than a row has; the first token of a word tells its label."""
    numbers = np.random.default_rng(seed)
    starts = np.cumsum([0, *numbers.integers(1, 20, count)])
    tokens, first = numbers.integers(5, 60, starts[-1]), numbers.random(starts[-1]) < 0.6
    first[starts[:-1]] = True
    names = np.array(["O", "B-a", "I-a"])
    references = [names[tokens[start:end][first[start:end]] % 3].tolist() for start, end in itertools.pairwise(starts)]
    return TaggedTexts(tokens, first, tokens % 3, starts, references, 3).rows(most)


def finder(
    model: ModelSettings | None = None, *, length: int = 14, dropout: float | None = None, **changes: Any
) -> QuestionAnswering:
    """The program of a task with questions about texts, some without an answer."""
    chosen = {"unanswerable": True, "question_length": 3, "stride": 4, "answer_length": 3, "n_best": 5} | changes
    task = QuestionAnsweringSettings(name="tiny", dropout=dropout, **chosen)
    return QuestionAnswering(task, model or tiny_model("bert"), _TOKENS, length)


def question_examples(count: int, most: int, *, seed: int = 0) -> QuestionExamples:
    """Random texts of up to twenty words, more than a row has; the last word of a question is the first one of its answer, but a
    fifth have none."""
    numbers = np.random.default_rng(seed)
    lengths, asked = numbers.integers(4, 20, count), numbers.integers(1, 5, count)
    tokens = [numbers.permutation(np.arange(5, 60))[:length] for length in lengths]
    firsts = [int(numbers.integers(0, length)) if numbers.random() < 0.8 else -1 for length in lengths]
    lasts = [min(first + int(numbers.integers(0, 3)), len(text) - 1) for first, text in zip(firsts, tokens, strict=True)]
    words = [[f"w{token}" for token in text] for text in tokens]
    ends = [np.cumsum([len(word) + 1 for word in text]) - 1 for text in words]
    characters = [np.stack([end - [len(word) for word in text], end], axis=1) for end, text in zip(ends, words, strict=True)]
    references = []
    for text, places, first, last in zip(words, characters, firsts, lasts, strict=True):
        context = " ".join(text)
        there = (context[places[first, 0] : places[last, 1]],) if first >= 0 else ()
        references.append(RightAnswers(context, there, (int(places[first, 0]),) if there else ()))
    questions = [
        [*numbers.integers(5, 60, size - 1).tolist(), int(text[first]) if first >= 0 else 60]
        for size, text, first in zip(asked, tokens, firsts, strict=True)
    ]
    encoded = EncodedQuestions(
        questions=_texts_of(questions),
        contexts=Contexts(_texts_of([text.tolist() for text in tokens]), np.concatenate(characters)),
        context_of=np.arange(count),
        answers=np.array([(first, last if first >= 0 else -1) for first, last in zip(firsts, lasts, strict=True)]),
        references=references,
        stride=4,
        question_length=3,
    )
    return encoded.rows(most)


def _texts_of(texts: list[list[int]]) -> Texts:
    starts = np.fromiter(itertools.accumulate(map(len, texts), initial=0), np.int64, len(texts) + 1)
    return Texts(np.array([token for text in texts for token in text], np.uint8), starts)


def examples(count: int, most: int, *, pairs: bool = True, classes: int = 3, seed: int = 0) -> EncodedExamples:
    """Random texts of up to nine tokens; the first token of each tells the class."""
    numbers = np.random.default_rng(seed)
    labels = numbers.integers(0, classes, count)
    return EncodedExamples(_texts(labels, 1 + pairs, numbers), labels, most)


def long_examples(count: int, most: int, *, longest: int = 50, seed: int = 0) -> EncodedExamples:
    """Random texts of up to so many tokens, uncut; the last token of each tells the class."""
    numbers = np.random.default_rng(seed)
    lengths = numbers.integers(1, longest + 1, count)
    starts = np.cumsum([0, *lengths])
    tokens = numbers.integers(5, 64, starts[-1])
    return EncodedExamples([Texts(tokens.astype(np.uint8), starts)], tokens[starts[1:] - 1] % 3, longest)


def labelled_with_several(
    model: ModelSettings | None = None, *, length: int = 14, dropout: float | None = None, **changes: Any
) -> MultiLabelClassification:
    """The program of a task with any number of labels a text."""
    task = ClassificationSettings(
        name="tiny", text=("text",), labels=("odd", "third", "low"), multi_label=True, dropout=dropout, **changes
    )
    return MultiLabelClassification(task, model or tiny_model("bert"), _TOKENS, length)


def several_examples(count: int, most: int, *, seed: int = 0) -> EncodedExamples:
    """Random texts of up to forty tokens, uncut; the first token tells the labels."""
    source = long_examples(count, most, longest=40, seed=seed)
    first = source.texts[0].tokens[source.texts[0].starts[:-1]].astype(np.int64)
    labels = np.stack([first % 2 == 1, first % 3 == 0, first < 30], axis=1).astype(np.float32)
    return EncodedExamples(source.texts, labels, 40)


def scored_examples(count: int, most: int, *, pairs: bool = True, seed: int = 0) -> EncodedExamples:
    """Random texts of up to nine tokens; the first token of each tells the score, a multiple of a quarter from 0 to 2."""
    numbers = np.random.default_rng(seed)
    grades = numbers.integers(0, 9, count)
    scores = grades / 4
    return EncodedExamples(_texts(grades, 1 + pairs, numbers), scores, most, scores.tolist())


def _texts(first: np.ndarray, columns: int, numbers: np.random.Generator) -> list[Texts]:
    """Columns of texts whose first tokens are given, counted from the first ordinary one."""
    texts = []
    for _ in range(columns):
        lengths = numbers.integers(1, 10, len(first))
        tokens = 5 + numbers.integers(0, 59, lengths.sum())
        starts = np.fromiter(itertools.accumulate(lengths, initial=0), np.int64, len(first) + 1)
        tokens[starts[:-1]] = 5 + first
        # A tenth of the words are unknown to a vocabulary of words.
        places = np.flatnonzero(np.random.default_rng(len(tokens)).random(len(tokens)) < 0.1)
        unknown = UnknownWords(places, word_bytes([f"rare{place % 7}" for place in places]))
        texts.append(Texts(tokens.astype(np.uint8), starts, unknown))
    return texts
