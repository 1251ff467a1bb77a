"""The heads for text classification, with the names of each family's class for sequence classification."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.family import Config, Head, pair
from plmtrain.nn.heads import SentenceHead


def sentence_head(dense: str, scores: str, dropout_key: str) -> Head[Any]:
    """Return a family's head for text classification.

    Args:
        dense: the name of its first layer, which in BERT and ALBERT is the pooler.
        scores: the name of its last layer.
        dropout_key: the key of its dropout in the config.json.
    """

    def make(settings: Any, config: Config) -> SentenceHead:
        published = settings.published.head
        usual = settings.dropout if published.dropout is None else published.dropout
        dropout = usual if config.values.get(dropout_key) is None else config.number(dropout_key, usual)
        before = dropout if published.drops_state else 0.0
        return SentenceHead(settings.width, len(config.labels()), published.activation, dropout_before=before, dropout=dropout)

    return Head(
        make=make,
        names={**pair("dense", dense), **pair("scores", scores)},
        only_if_named=True,
        config=lambda head: {dropout_key: head.dropout},
    )
