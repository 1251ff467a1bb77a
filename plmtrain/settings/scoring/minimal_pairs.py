"""Minimal pairs: an acceptable sentence and an unacceptable one."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from plmtrain.settings.scoring.base import LikelihoodSettings, require_files


class MinimalPairsSettings(LikelihoodSettings):
    """Pairs of sentences of which the acceptable one should be more likely (Warstadt et al. 2020, section 3)."""

    type: Literal["minimal_pairs"] = "minimal_pairs"
    good_column: str = "sentence_good"
    """The column of the acceptable sentence."""
    bad_column: str = "sentence_bad"
    """The column of the unacceptable sentence."""
    compare: Literal["sum", "per_token", "per_byte"] = "sum"
    """How sentences are compared: by the log-likelihood of all their tokens, or divided by their tokens or their UTF-8 bytes."""

    @model_validator(mode="after")
    def _has_files(self) -> MinimalPairsSettings:
        require_files(self, "pairs.jsonl")
        return self
