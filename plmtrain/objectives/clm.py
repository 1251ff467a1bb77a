"""Causal language modelling: predict each token from those before it (Radford et al. 2018, section 3.1; 2019, section 2)."""

from __future__ import annotations

from plmtrain.programs.next_token import NextTokenProgram
from plmtrain.settings.objectives.clm import CausalLMSettings


class CausalLM(NextTokenProgram[CausalLMSettings]):
    """Predict each token from those before it."""

    has_perplexity = True
