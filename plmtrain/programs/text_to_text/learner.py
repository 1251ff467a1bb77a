"""The learner of an objective or task in which an encoder reads and a decoder writes."""

from __future__ import annotations

from plmtrain.backbones import EncoderDecoderBackbone
from plmtrain.programs.learner import TiedLearner


class EncoderDecoderLearner(TiedLearner):
    """An encoder-decoder.

    Args:
        pair: the backbone, encoder and decoder.
        continues: whether the decoder writes what follows the text that the encoder reads, rather than what a mark in it hides.
    """

    def __init__(self, pair: EncoderDecoderBackbone, *, continues: bool = False) -> None:
        super().__init__(pair)
        self.continues = continues

    @property
    def pair(self) -> EncoderDecoderBackbone:
        """The backbone, with its decoder."""
        assert isinstance(self.backbone, EncoderDecoderBackbone)
        return self.backbone
