"""Backbones: from token ids to hidden states. One module for each ``type`` of model settings."""

from __future__ import annotations

import importlib
from abc import abstractmethod

from torch import Tensor, nn

from plmtrain.batch import Inputs
from plmtrain.errors import SettingsError
from plmtrain.settings.models.base import ModelSettings


class Backbone(nn.Module):
    """Everything below the heads: the part of a learner that outlives pretraining.

    Args:
        settings: the shape of the model.
        vocabulary_size: rows of the token embedding.
    """

    width: int
    """The size of a hidden state."""
    embedding_width: int
    """The size of a token embedding."""

    def __init__(self, settings: ModelSettings, vocabulary_size: int) -> None:
        super().__init__()
        self.settings = settings
        self.vocabulary_size = vocabulary_size

    @property
    @abstractmethod
    def embedding_weight(self) -> Tensor:
        """The token embeddings, which language-model heads share.  # [vocabulary, embedding width]"""

    @abstractmethod
    def encode_layers(self, inputs: Inputs) -> list[Tensor]:
        """Return the embeddings' output and that of every layer of the encoder, [batch, length, width] each."""

    def encode(self, inputs: Inputs) -> Tensor:
        """Return the encoder's last hidden states.  # [batch, length, width]"""
        return self.encode_layers(inputs)[-1]

    def encode_at(self, inputs: Inputs, at: Tensor) -> Tensor:
        """Return the last hidden states where a loss needs them; a backbone may do less work for fewer of them.

        Args:
            inputs: as in ``encode``.
            at: [n] indices into batch * length.

        Returns:
            [n, width].
        """
        return self.encode(inputs).flatten(0, 1).index_select(0, at)

    def hidden(self, inputs: Inputs) -> Tensor:
        """Return the states that a head reads: the decoder's where there is one, else ``encode``'s.  # [batch, length, width]"""
        return self.encode(inputs)

    def borrow_embeddings(self, lender: Backbone) -> None:
        """Embed with another backbone's tables: this one's own are dropped, and the lender lists the shared ones.

        Args:
            lender: a backbone with embeddings of the same shape, in the same learner.

        Raises:
            SettingsError: if this kind of backbone cannot.
        """
        kind = f"model.type={self.settings.type}"
        raise SettingsError("its embeddings cannot be shared with another backbone", kind, "train it with embeddings of its own")

    def whole(self) -> Backbone:
        """Return this backbone with nothing borrowed: itself, or else a copy."""
        return self

    def unread_by_encode(self) -> list[nn.Parameter]:
        """Return the parameters that only pretraining reads, and ``encode`` does not: fine-tuning must freeze them."""
        return []

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """Return the repeated blocks, each once: the units to compile, to checkpoint and to shard."""


def build(settings: ModelSettings, vocabulary_size: int) -> Backbone:
    """Build the backbone of some model settings, with fresh weights from torch's global generator.

    Args:
        settings: ``settings.type`` names the module of this package that has it.
        vocabulary_size: rows of the token embedding.
    """
    module = importlib.import_module(f"{__name__}.{settings.type}")
    backbone: Backbone = module.backbone(settings, vocabulary_size)
    return backbone
