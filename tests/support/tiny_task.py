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
from plmtrain.data.tables.examples import EncodedExamples, Texts
from plmtrain.data.tables.tagged import TaggedExamples, TaggedTexts
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.settings.tasks.regression import RegressionSettings
from plmtrain.settings.tasks.sequence_to_sequence import SequenceToSequenceSettings
from plmtrain.settings.tasks.token_labels import TokenLabelsSettings
from plmtrain.tasks.classification import Classification
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
    "deberta": "model=deberta model.mask_decoder=false",
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


def writer(
    model: ModelSettings | None = None, *, length: int = 14, dropout: float | None = None, **changes: object
) -> SequenceToSequence:
    """The program of a task with texts as answers; there is no head with a dropout of its own."""
    chosen = {"text": ("text",), "target_length": 8, "label_smoothing": 0.1, "metrics": ("chrf", "bleu", "accuracy")} | changes
    tokens = replace(_TOKENS, roles={**_TOKENS.roles, "eos": _TOKENS["sep"]})
    return SequenceToSequence(SequenceToSequenceSettings(name="tiny", **chosen), model or tiny_model("bart"), tokens, length)


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


def examples(count: int, most: int, *, pairs: bool = True, classes: int = 3, seed: int = 0) -> EncodedExamples:
    """Random texts of up to nine tokens; the first token of each tells the class."""
    numbers = np.random.default_rng(seed)
    labels = numbers.integers(0, classes, count)
    return EncodedExamples(_texts(labels, 1 + pairs, numbers), labels, most)


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
