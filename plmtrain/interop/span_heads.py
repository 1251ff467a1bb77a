"""Heads that find answers in a text, with the names of each family's class for question answering."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.family import Config, Head, pair
from plmtrain.nn.task_heads import SpanHead, span_head


def answer_head(dropout_key: str | None = None) -> Head[Any]:
    """Return a family's head for the first and last tokens of answers.

    Args:
        dropout_key: the key of its dropout in the config.json; None if the class has none.
    """

    def make(settings: Any, config: Config) -> SpanHead:
        given = dropout_key is not None and config.values.get(dropout_key) is not None
        return span_head(settings, config.number(str(dropout_key), 0.0) if given else None)

    return Head(
        make=make,
        names=pair("scores", "qa_outputs"),
        only_if_named=True,
        config=lambda head, labels: {dropout_key: head.dropout} if dropout_key else {},
    )
