"""Heads of fine-tuning tasks: classes, scores, choices, labels of tokens, and answers in a text."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from plmtrain.nn.activations import activate
from plmtrain.nn.dropout import dropout
from plmtrain.nn.initialisation import initialise
from plmtrain.settings.models.base import UniformTransformerSettings
from plmtrain.settings.models.bilstm import BiLSTMSettings


class SentenceHead(nn.Module):
    """Logits of classes from one state of a row: dropout -> dense -> activation -> dropout -> linear.

    All published sentence heads have this form; they differ in whether the first dropout exists, and in the activation. In BERT
    and ALBERT ``dense`` is the pretrained pooler's.

    Args:
        width: the size of a hidden state.
        classes: the number of classes.
        activation: ``tanh``, ``gelu``, ``gelu_tanh`` or ``relu``.
        dropout_before: of the state.
        dropout: of the input of the last layer.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are redrawn.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        activation: str,
        *,
        dropout_before: float,
        dropout: float,
        initial_std: float = 0.02,
        initial_truncated: bool = False,
    ) -> None:
        super().__init__()
        self.activation, self.dropout_before, self.dropout = activation, dropout_before, dropout
        self.dense = nn.Linear(width, width)
        self.scores = nn.Linear(width, classes)
        initialise(self, initial_std, initial_truncated)

    def forward(self, state: Tensor) -> Tensor:
        """Compute the logits.  # [batch, width] -> [batch, classes]"""
        inner = self.dense(dropout(state, self.dropout_before, self.training))
        inner = torch.tanh(inner) if self.activation == "tanh" else activate(self.activation, inner)
        scores: Tensor = self.scores(dropout(inner, self.dropout, self.training))
        return scores


class LinearHead(nn.Module):
    """Logits from states: dropout -> linear, for classes without a bias (transformers' code for GPT-1 and GPT-2).

    Args:
        width: the size of a hidden state.
        outputs: the number of logits.
        dropout: of the states.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are redrawn.
    """

    biased: ClassVar[bool] = False

    def __init__(
        self, width: int, outputs: int, *, dropout: float, initial_std: float = 0.02, initial_truncated: bool = False
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.scores = nn.Linear(width, outputs, bias=self.biased)
        initialise(self, initial_std, initial_truncated)

    def forward(self, states: Tensor) -> Tensor:
        """Compute the logits.  # [..., width] -> [..., outputs]"""
        scores: Tensor = self.scores(dropout(states, self.dropout, self.training))
        return scores


class BiasedLinearHead(LinearHead):
    """The same with a bias, for classes (XLM's code)."""

    biased: ClassVar[bool] = True


class TokenLabelHead(LinearHead):
    """The same with a bias, for the labels of tokens (Devlin et al. 2019, section 5.3; transformers' code)."""

    biased: ClassVar[bool] = True


def token_label_head(settings: UniformTransformerSettings | BiLSTMSettings, labels: int, dropout: float | None) -> TokenLabelHead:
    """Build the head that labels the tokens of a model, with fresh weights.

    Args:
        settings: of the model.
        labels: the number of labels.
        dropout: of the states; None for the model's.
    """
    return TokenLabelHead(
        settings.width,
        labels,
        dropout=settings.dropout if dropout is None else dropout,
        initial_std=settings.initial_std,
        initial_truncated=settings.initial_truncated,
    )


class SpanHead(LinearHead):
    """The same with two logits for each token: of being the first one of an answer, and the last one (Devlin et al. 2019, section
    4.2).

    The probabilities are over the tokens of a row, all of which have the same bias: it changes none. It is not trained, since its
    gradients are rounding errors, of which Adam would make steps as large as any; published files have it.
    """

    biased: ClassVar[bool] = True

    def __init__(self, width: int, outputs: int, **others: Any) -> None:
        super().__init__(width, outputs, **others)
        self.scores.bias.requires_grad_(False)


def span_head(settings: UniformTransformerSettings | BiLSTMSettings, dropout: float | None) -> SpanHead:
    """Build the head with which a model's family finds answers in a text, with fresh weights.

    Args:
        settings: of the model.
        dropout: of the states; None for the published head's.
    """
    dropout = settings.published.span_dropout if dropout is None else dropout
    std, truncated = settings.initial_std, settings.initial_truncated
    return SpanHead(settings.width, 2, dropout=dropout, initial_std=std, initial_truncated=truncated)


class ChoiceHead(SentenceHead):
    """The same with one logit, that of a choice in its context (transformers' code); arguments as for ``SentenceHead``.

    Its bias adds the same to every choice, so that it is never trained: its gradient would be rounding errors.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.scores.bias.requires_grad_(False)


class LinearChoiceHead(LinearHead):
    """The same in one layer, without a bias (Radford et al. 2018, section 3.3)."""


RowHead = SentenceHead | LinearHead
"""A head that scores a row from one of its states."""


def row_head(settings: UniformTransformerSettings | BiLSTMSettings, outputs: int, dropout: float | None) -> RowHead:
    """Build the head with which a model's family classifies texts, with fresh weights.

    Args:
        settings: of the model.
        outputs: the number of classes, or 1 for a regression.
        dropout: of the head; None for the published head's, or else the model's.
    """
    published = settings.published.head
    linear = BiasedLinearHead if published is not None and published.biased else LinearHead
    return _row_head(settings, outputs, dropout, SentenceHead, linear)


def choice_head(settings: UniformTransformerSettings | BiLSTMSettings, dropout: float | None) -> RowHead:
    """Build the same head for choices, of which each has one logit; arguments as for ``row_head``."""
    return _row_head(settings, 1, dropout, ChoiceHead, LinearChoiceHead)


def _row_head(
    settings: UniformTransformerSettings | BiLSTMSettings,
    outputs: int,
    dropout: float | None,
    two_layers: type[SentenceHead],
    one_layer: type[LinearHead],
) -> RowHead:
    published = settings.published.head
    assert published is not None, "the settings refuse a family without such a head"
    usual = settings.dropout if published.dropout is None else published.dropout
    dropout = usual if dropout is None else dropout
    std, truncated = settings.initial_std, settings.initial_truncated
    if published.activation is None:
        return one_layer(settings.width, outputs, dropout=dropout, initial_std=std, initial_truncated=truncated)
    return two_layers(
        settings.width,
        outputs,
        published.activation,
        dropout_before=dropout if published.drops_state else 0.0,
        dropout=dropout,
        initial_std=std,
        initial_truncated=truncated,
    )


def row_state(hidden: Tensor, tokens: Tensor | None, reads: str) -> Tensor:
    """Return the state that represents each row, whatever side padding is on.

    Args:
        hidden: [batch, length, width].
        tokens: [batch, length] bool, true at real tokens; None if no row is padded.
        reads: as in ``ModelFamily``: that of the first position, that of the last real token (the decoder's too), or the mean of
            all real tokens'.

    Returns:
        [batch, width].
    """
    if reads == "first":
        return hidden[:, 0]
    if reads == "mean":
        if tokens is None:
            return hidden.mean(dim=1)
        return hidden.masked_fill(~tokens[..., None], 0.0).sum(dim=1) / tokens.sum(dim=1, keepdim=True)
    if tokens is None:
        return hidden[:, -1]
    last = tokens.shape[1] - 1 - tokens.flip(1).int().argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), last]
