"""The learner of an objective or task in which an encoder reads and a decoder writes."""

from __future__ import annotations

from plmtrain.backbones import EncoderDecoderBackbone
from plmtrain.programs.learner import TiedLearner


class EncoderDecoderLearner(TiedLearner):
    """An encoder-decoder.

    Args:
        pair: the backbone, encoder and decoder.
    """

    def __init__(self, pair: EncoderDecoderBackbone) -> None:
        super().__init__(pair)

    @property
    def pair(self) -> EncoderDecoderBackbone:
        """The backbone, with its decoder."""
        assert isinstance(self.backbone, EncoderDecoderBackbone)
        return self.backbone
