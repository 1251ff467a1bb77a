"""Heads that label tokens, with the names of each family's class for token classification."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.family import Config, Head, pair
from plmtrain.interop.sentence_heads import outputs_of
from plmtrain.nn.task_heads import TokenLabelHead, token_label_head


def token_head(dropout_key: str | None) -> Head[Any]:
    """Return a family's head for labels of tokens.

    Args:
        dropout_key: the key of its dropout in the config.json; None if the class has the model's.
    """

    def make(settings: Any, config: Config) -> TokenLabelHead:
        given = dropout_key is not None and config.values.get(dropout_key) is not None
        return token_label_head(settings, len(config.labels()), config.number(str(dropout_key), 0.0) if given else None)

    return Head(
        make=make,
        names=pair("scores", "classifier"),
        only_if_named=True,
        config=lambda head, labels: {**({dropout_key: head.dropout} if dropout_key else {}), **outputs_of(labels)},
        labels=lambda config: config.labels(),
    )
