"""Causal language modelling: predict each token from those before it (Radford et al. 2018, section 3.1; 2019, section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plmtrain.programs import flops
from plmtrain.programs.next_token import NextTokenProgram
from plmtrain.settings.objectives.clm import CausalLMSettings

if TYPE_CHECKING:
    from plmtrain.batch import Batch


class CausalLM(NextTokenProgram[CausalLMSettings]):
    """Predict each token from those before it."""

    has_perplexity = True

    def flops(self, batch: Batch, vocabulary: int) -> int | None:
        rows, length = batch.inputs.ids.shape
        return flops.of_decoder(self.model, rows, length) + flops.of_output(self.model.width, rows * length, vocabulary)
