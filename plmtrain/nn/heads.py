"""Heads on top of a backbone that pretraining uses; those of tasks are in ``task_heads``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.nn.activations import activate
from plmtrain.nn.initialisation import glorot, initialise
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
