"""Sentence heads, with the names of each family's classes for sequence classification and for multiple choice.

In transformers, a head with one output is a regression's; ``problem_type`` of the config.json may say so.
"""

from __future__ import annotations

from typing import Any

from plmtrain.interop.family import Config, Head, one, pair
from plmtrain.nn.task_heads import RowHead, choice_head, row_head

MULTI_LABEL = "multi_label_classification"
"""The ``problem_type`` of classes that are told apart one by one."""


def sentence_head(dense: str, scores: str, dropout_key: str) -> Head[Any]:
    """Return a family's head for text classification.

    Args:
        dense: the name of its first layer, which in BERT and ALBERT is the pooler.
        scores: the name of its last layer.
        dropout_key: the key of its dropout in the config.json.
    """

    def make(settings: Any, config: Config) -> RowHead:
        dropout = None if config.values.get(dropout_key) is None else config.number(dropout_key, 0.0)
        return row_head(settings, len(config.labels()), dropout)

    return Head(
        make=make,
        names={**pair("dense", dense), **pair("scores", scores)},
        only_if_named=True,
        config=lambda head, labels: {dropout_key: head.dropout, **outputs_of(labels)},
        labels=_labels,
    )


def multiple_choice_head(dense: str, scores: str, dropout_key: str | None) -> Head[Any]:
    """Return a family's head for choices.

    Args:
        dense: the name of its first layer, which in most families is the pooler.
        scores: the name of its last layer.
        dropout_key: the key of its dropout in the config.json; None if the class has the model's.
    """

    def make(settings: Any, config: Config) -> RowHead:
        given = dropout_key is not None and config.values.get(dropout_key) is not None
        return choice_head(settings, config.number(str(dropout_key), 0.0) if given else None)

    return Head(
        make=make,
        names={**pair("dense", dense), **pair("scores", scores)},
        only_if_named=True,
        config=lambda head, labels: {dropout_key: head.dropout} if dropout_key else {},
    )


def linear_head(scores: str, dropout_key: str | None, *, biased: bool = False) -> Head[Any]:
    """Return a family's head for text classification that has one layer.

    Args:
        scores: the name of the layer.
        dropout_key: the key of the state's dropout in the config.json; None if there is no dropout.
        biased: whether the layer has a bias.
    """

    def make(settings: Any, config: Config) -> RowHead:
        given = dropout_key is not None and config.values.get(dropout_key) is not None
        return row_head(settings, len(config.labels()), config.number(str(dropout_key), 0.0) if given else None)

    return Head(
        make=make,
        names=pair("scores", scores) if biased else one("scores.weight", f"{scores}.weight"),
        only_if_named=True,
        config=lambda head, labels: {**({dropout_key: head.dropout} if dropout_key else {}), **outputs_of(labels)},
        labels=_labels,
    )


def _labels(config: Config) -> tuple[str, ...]:
    """Return the classes in the order of their numbers; none for a regression."""
    config.demand("problem_type", None, "single_label_classification", MULTI_LABEL, "regression")
    names, problem = config.labels(), config.values.get("problem_type")
    if problem == "regression" and len(names) > 1:
        raise config.wrong("id2label", names, "one output, as problem_type is regression")
    if problem in ("single_label_classification", MULTI_LABEL) and len(names) == 1:
        raise config.wrong("id2label", names, "two classes or more")
    return names if len(names) > 1 else ()


def outputs_of(labels: tuple[str, ...]) -> dict[str, Any]:
    """Return the keys of a config.json that name the outputs; a regression's as transformers writes them."""
    names = labels or ("LABEL_0",)
    return {
        **({} if labels else {"problem_type": "regression"}),
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }
