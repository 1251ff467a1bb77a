"""Backbones: what turns token ids into hidden states. One module for each ``type`` of model settings."""

from __future__ import annotations

import importlib
from abc import abstractmethod

from torch import Tensor, nn

from plmtrain.batch import Layout
from plmtrain.errors import SettingsError
from plmtrain.settings.models.base import ModelSettings


class Backbone(nn.Module):
    """What outlives pretraining: everything below the heads.

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
    def encode(self, ids: Tensor, layout: Layout, segments: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """Hidden states of the last layer.

        Args:
            ids: [batch, length] token ids.
            layout: who may see whom.
            segments: [batch, length] segment ids; None for the first segment throughout.
            positions: [batch, length] positions counted from 0; None for their order in the row.

        Returns:
            [batch, length, width].
        """

    def encode_at(
        self,
        ids: Tensor,
        layout: Layout,
        at: Tensor,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of the last layer where a loss needs them; a backbone may do less work for fewer of them.

        Args:
            ids, layout, segments, positions: as in ``encode``.
            at: [n] indices into batch * length.

        Returns:
            [n, width].
        """
        return self.encode(ids, layout, segments, positions).flatten(0, 1).index_select(0, at)

    def borrow_embeddings(self, lender: Backbone) -> None:
        """Embed with another backbone's tables from now on: this one's own are dropped, and the lender lists the shared ones.

        Args:
            lender: a backbone with embeddings of the same shape, in the same learner.

        Raises:
            SettingsError: if this kind of backbone cannot.
        """
        kind = f"model.type={self.settings.type}"
        raise SettingsError("its embeddings cannot be shared with another backbone", kind, "train it with embeddings of its own")

    def whole(self) -> Backbone:
        """This backbone with nothing borrowed: itself, or else a copy."""
        return self

    def unread_by_encode(self) -> list[nn.Parameter]:
        """Parameters that pretraining alone reads, and ``encode`` does not: what is trained without them must freeze them."""
        return []

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The repeated parts, each once: what to compile, to checkpoint and to shard."""


def build(settings: ModelSettings, vocabulary_size: int) -> Backbone:
    """The backbone of some model settings, with fresh weights from torch's global generator.

    Args:
        settings: ``settings.type`` names the module of this package that has it.
        vocabulary_size: rows of the token embedding.
    """
    module = importlib.import_module(f"{__name__}.{settings.type}")
    backbone: Backbone = module.backbone(settings, vocabulary_size)
    return backbone
