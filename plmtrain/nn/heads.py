"""Heads on top of a backbone."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.nn.activations import activate
from plmtrain.nn.dropout import dropout
from plmtrain.nn.initialisation import glorot, initialise
from plmtrain.settings.models.base import UniformTransformerSettings
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.settings.models.disentangled import DisentangledSettings
from plmtrain.settings.models.encoder import EncoderSettings


class MaskedLMHead(nn.Module):
    """Logits over the vocabulary: norm(activation(dense(h))) times the token embeddings, plus a bias (BERT's code).

    Args:
        width: the size of a hidden state.
        embedding_width: the size of a token embedding.
        vocabulary_size: the number of logits.
        activation: ``gelu``, ``gelu_tanh`` or ``relu``.
        norm_eps: added to the variance by the norm.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are redrawn.
    """

    def __init__(
        self,
        width: int,
        embedding_width: int,
        vocabulary_size: int,
        activation: str,
        norm_eps: float,
        *,
        initial_std: float = 0.02,
        initial_truncated: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.dense = nn.Linear(width, embedding_width)
        self.norm = nn.LayerNorm(embedding_width, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        initialise(self, initial_std, initial_truncated)

    def forward(self, hidden: Tensor, embedding_weight: Tensor) -> Tensor:
        """Compute the logits of some positions.

        Args:
            hidden: [n, width] hidden states of the positions.
            embedding_weight: [vocabulary, embedding width] the backbone's token table.

        Returns:
            [n, vocabulary] logits.
        """
        return functional.linear(self.features(hidden), embedding_weight, self.bias)

    def features(self, hidden: Tensor) -> Tensor:
        """Return what is multiplied by the token table.  # [..., width] -> [..., embedding width]"""
        features: Tensor = self.norm(activate(self.activation, self.dense(hidden)))
        return features


class MaskDecoderHead(MaskedLMHead):
    """The head of DeBERTa's enhanced mask decoder (He et al. 2020, section 3.2): the same, and the absolute positions that the
    backbone adds to the states of hidden tokens before its last layer predicts them.

    Args:
        positions: the length of the longest sequence.
        width, embedding_width, vocabulary_size, activation, norm_eps, initial_std, initial_truncated: as in ``MaskedLMHead``.
    """

    def __init__(
        self,
        positions: int,
        width: int,
        embedding_width: int,
        vocabulary_size: int,
        activation: str,
        norm_eps: float,
        *,
        initial_std: float = 0.02,
        initial_truncated: bool = False,
    ) -> None:
        super().__init__(width, embedding_width, vocabulary_size, activation, norm_eps)
        self.position = nn.Embedding(positions, width)
        initialise(self, initial_std, initial_truncated)


class Pooler(nn.Module):
    """tanh(dense(h)) of a row's first position, which BERT and ALBERT pretrain with their sentence objectives.

    Args:
        width: the size of a hidden state.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are redrawn.
    """

    def __init__(self, width: int, *, initial_std: float = 0.02, initial_truncated: bool = False) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        initialise(self, initial_std, initial_truncated)

    def forward(self, hidden: Tensor) -> Tensor:
        """Pool rows.  # [batch, length, width] -> [batch, width]"""
        return torch.tanh(self.dense(hidden[:, 0]))


class PairHead(nn.Module):
    """Two logits of a pooled row: whether its second part belongs where it is (BERT's next sentence, Devlin et al. 2019, section
    3.1; ALBERT's sentence order, Lan et al. 2020, section 3.1).

    Args:
        width: the size of a pooled state.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are redrawn.
    """

    def __init__(self, width: int, *, initial_std: float = 0.02, initial_truncated: bool = False) -> None:
        super().__init__()
        self.scores = nn.Linear(width, 2)
        initialise(self, initial_std, initial_truncated)

    def forward(self, summary: Tensor) -> Tensor:
        """Compute the logits; the first one is that of parts that belong together.  # [batch, width] -> [batch, 2]"""
        scores: Tensor = self.scores(summary)
        return scores


class ReplacedTokenHead(nn.Module):
    """The logit that a token was replaced: a linear layer on activation(dense(h)), without a norm (Clark et al. 2020, section 2).

    Args:
        width: the size of a hidden state.
        activation: ``gelu``, ``gelu_tanh`` or ``relu``.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are redrawn.
        initial_glorot: whether the last layer is drawn by Glorot's rule instead, as in ELECTRA's code.
    """

    def __init__(
        self,
        width: int,
        activation: str,
        *,
        initial_std: float = 0.02,
        initial_truncated: bool = False,
        initial_glorot: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.dense = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)
        initialise(self, initial_std, initial_truncated)
        if initial_glorot:
            glorot(self.score.weight, width, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute the logit of having been replaced.  # [..., width] -> [...]"""
        scores: Tensor = self.score(activate(self.activation, self.dense(hidden)))
        return scores.squeeze(-1)


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


class TeacherProjection(nn.Linear):
    """Maps hidden states to the size of a teacher's, with which they are compared (Jiao et al. 2020, section 3.1).

    Args:
        width: the size of a hidden state.
        teacher_width: the size of the teacher's.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are redrawn.
    """

    def __init__(self, width: int, teacher_width: int, *, initial_std: float = 0.02, initial_truncated: bool = False) -> None:
        super().__init__(width, teacher_width)
        initialise(self, initial_std, initial_truncated)


class TiedHead(nn.Module):
    """Logits over the vocabulary: hidden states times the token embeddings, plus a bias (XLNet's code).

    Args:
        vocabulary_size: the number of logits.
    """

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, hidden: Tensor, embedding_weight: Tensor) -> Tensor:
        """Compute the logits of some positions.

        Args:
            hidden: [..., width] hidden states of the positions.
            embedding_weight: [vocabulary, width] the backbone's token table.

        Returns:
            [..., vocabulary] logits.
        """
        return functional.linear(hidden, embedding_weight, self.bias)

    def features(self, hidden: Tensor) -> Tensor:
        """Return what is multiplied by the token table: the states themselves.  # [..., width]"""
        return hidden


def vocabulary_head(settings: EncoderSettings | DisentangledSettings, vocabulary_size: int) -> MaskedLMHead | TiedHead:
    """Build the language-model head of an encoder, with fresh weights.

    Args:
        settings: of the encoder.
        vocabulary_size: the number of logits.
    """
    if isinstance(settings, EncoderSettings) and not settings.head_layer:
        return TiedHead(vocabulary_size)
    shape = (settings.width, settings.embedding_width or settings.width, vocabulary_size, settings.activation, settings.norm_eps)
    initial: dict[str, Any] = {"initial_std": settings.initial_std, "initial_truncated": settings.initial_truncated}
    if isinstance(settings, DisentangledSettings) and settings.mask_decoder:
        return MaskDecoderHead(settings.positions, *shape, **initial)
    return MaskedLMHead(*shape, **initial)
