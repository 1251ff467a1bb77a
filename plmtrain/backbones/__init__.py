"""Backbones: modules that turn token ids, or the characters of words, into hidden states. One module for each ``type`` of model
settings.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from plmtrain.batch import Inputs
from plmtrain.errors import SettingsError
from plmtrain.nn.blocks import BlockCache
from plmtrain.nn.lent_embeddings import OffsetEmbedding
from plmtrain.settings.models.base import ModelSettings


class Backbone(nn.Module):
    """The model below the heads: the part of a learner that is kept after pretraining.

    Args:
        settings: the shape of the model.
        vocabulary_size: the number of rows of the token embedding.
    """

    width: int
    """The size of a hidden state."""
    embedding_width: int
    """The size of a token embedding."""
    writes: bool = False
    """Whether it has an output layer, so that it predicts tokens without a head."""

    def __init__(self, settings: ModelSettings, vocabulary_size: int) -> None:
        super().__init__()
        self.settings = settings
        self.vocabulary_size = vocabulary_size

    @property
    def embedding_weight(self) -> Tensor:
        """The token embeddings, to which language-model heads are tied.  # [vocabulary, embedding width]

        A backbone that reads characters (``ModelSettings.reads_characters``) has none.
        """
        raise AssertionError(f"{type(self).__name__} has no token embeddings")

    @property
    def output_weight(self) -> Tensor:
        """The output layer of a backbone that writes, without a bias: by default the token embeddings.  # [vocabulary, width]"""
        return self.embedding_weight

    @abstractmethod
    def encode_layers(self, inputs: Inputs) -> list[Tensor]:
        """Return the output of the embeddings and of every encoder layer, [batch, length, width] each."""

    def encode(self, inputs: Inputs) -> Tensor:
        """Return the encoder's last hidden states.  # [batch, length, width]"""
        return self.encode_layers(inputs)[-1]

    def encode_at(self, inputs: Inputs, at: Tensor) -> Tensor:
        """Return the last hidden states at the positions that a loss needs; a backbone may skip the work for the others.

        Args:
            inputs: as in ``encode``.
            at: [n] positions in the flattened batch * length.

        Returns:
            [n, width].
        """
        return self.encode(inputs).flatten(0, 1).index_select(0, at)

    def predicting(self, inputs: Inputs, head: nn.Module) -> Tensor:
        """Return the states from which a language-model head predicts tokens: by default those for all heads.

        Args:
            inputs: as in ``encode``.
            head: the head, which may say how they are computed.

        Returns:
            [batch, length, width].
        """
        return self.hidden(inputs)

    def predicting_at(self, inputs: Inputs, head: nn.Module, at: Tensor) -> Tensor:
        """Return the states of ``predicting`` at some positions; ``at`` and the shape as in ``encode_at``."""
        return self.encode_at(inputs, at)

    def all_layers(self, inputs: Inputs) -> list[Tensor]:
        """Return the states of ``encode_layers``, and after them those of the decoder's embeddings and layers if there is one."""
        return self.encode_layers(inputs)

    def hidden(self, inputs: Inputs) -> Tensor:
        """Return the hidden states for the heads: the decoder's if there is one, else the encoder's.  # [batch, length, width]"""
        return self.encode(inputs)

    def borrow_embeddings(self, lender: Backbone) -> None:
        """Use the embedding tables of another backbone. This one's own are dropped; only the lender registers the shared ones.

        Args:
            lender: a backbone with embeddings of the same shape, in the same learner.

        Raises:
            SettingsError: if this type of backbone cannot share embeddings.
        """
        kind = f"model.type={self.settings.type}"
        raise SettingsError("its embeddings cannot be shared with another backbone", kind, "train it with its own embeddings")

    def offset_embeddings(self, lender: Backbone) -> None:
        """Use the sum of the token table of another backbone, which gets no gradient from this one, and of an own table, which
        begins at zero and replaces this one's own.

        Args:
            lender: a backbone with token embeddings of the same shape, in the same learner.

        Raises:
            SettingsError: if this type of backbone cannot share embeddings.
        """
        self.borrow_embeddings(lender)

    def whole(self) -> Backbone:
        """Return a backbone that owns all its modules: itself if it borrows none, else a copy."""
        return self

    def load_whole(self, weights: Mapping[str, Tensor], lender_is_loaded: bool) -> None:
        """Load the weights of a backbone that owns all its modules, such as ``whole()`` gives.

        Args:
            weights: its state.
            lender_is_loaded: of a backbone whose own table is added to a lent one: whether that stays as it is; otherwise it
                becomes the whole table, and the own one zero.
        """
        for name, module in self.named_modules():
            if isinstance(module, OffsetEmbedding):
                weights = module.divide(weights, name, lender_is_loaded)
        self.load_state_dict(weights)

    def look_beside(self) -> None:  # attention that knows distances by itself needs no such start
        """Set fresh weights so that the heads of the first layer of an encoder read the tokens beside each one."""

    def unread_by_encode(self) -> list[nn.Parameter]:
        """Return the parameters that only pretraining uses and ``encode`` does not: fine-tuning must freeze them."""
        return []

    def embedding_parameters(self) -> list[nn.Parameter]:
        """Return the parameters before the blocks: by default all that are not in a block, and a table that the own one is added
        to."""
        inside = {id(weight) for block in self.blocks() for weight in block.parameters()}
        lent = [module.lent for module in self.modules() if isinstance(module, OffsetEmbedding)]
        return [weight for weight in self.parameters() if id(weight) not in inside] + lent

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """Return the repeated blocks, each once: the units of compilation, activation checkpointing and sharding.

        Nothing but a block itself may read its parameters in training. It does so in ``forward``, and in the methods that its
        class names in ``entries``.
        """

    def stacks(self) -> list[list[nn.Module]]:
        """Return the blocks by stack, from the embeddings to the last one; by default there is one stack."""
        return [self.blocks()]


class EncoderDecoderBackbone(Backbone):
    """An encoder, and a decoder that attends to it and writes text.

    Args:
        settings: the shape of the model.
        vocabulary_size: the number of rows of the token embedding.
    """

    writes = True

    @abstractmethod
    def decode(self, inputs: Inputs, memory: Tensor, cache: list[BlockCache] | None = None) -> Tensor:
        """Return the decoder's last hidden states, as the output layer reads them.

        Args:
            inputs: ``inputs.decoder`` has the tokens so far, with a causal layout. With a cache, it has only the tokens that the
                cache does not hold yet: all of a first call, or one at a time.
            memory: [batch, memory length, width] from ``encode``.
            cache: from ``new_cache``; it holds the preceding tokens, and these are added to it.

        Returns:
            [batch, length, width].
        """

    @abstractmethod
    def new_cache(self, length: int, memory_length: int) -> list[BlockCache]:
        """Make an empty cache for ``decode``.

        Args:
            length: the maximum number of generated tokens.
            memory_length: the length of the memory.
        """

    def hidden(self, inputs: Inputs) -> Tensor:
        return self.decode(inputs, self.encode(inputs))


def blocks_in(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of all backbones in a module, such as a learner with a generator and a discriminator."""
    for part in module.modules():
        if isinstance(part, Backbone):
            yield from part.blocks()


def build(settings: ModelSettings, vocabulary_size: int) -> Backbone:
    """Build the backbone that the model settings describe, with initial weights from torch's global generator.

    Args:
        settings: ``settings.type`` names the module of this package.
        vocabulary_size: the number of rows of the token embedding.
    """
    module = importlib.import_module(f"{__name__}.{settings.type}")
    backbone: Backbone = module.backbone(settings, vocabulary_size)
    return backbone
