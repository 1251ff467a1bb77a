"""The cutting of text into pairs of segments, for every objective that reads pairs."""

from __future__ import annotations

from pydantic import Field

from plmtrain.settings.base import Settings


class PairSettings(Settings):
    """Devlin et al. 2019, section 3.1 (Task 2); Lan et al. 2020, section 3.1. An epoch consists of all copies."""

    pair_copies: int = Field(10, gt=0)
    """How many times the training text is cut into pairs, differently each time (BERT's and ALBERT's code: dupe_factor)."""
    short_share: float = Field(0.1, ge=0, le=1)
    """The share of documents, in each copy, whose pairs have one random length instead of one that fills the row. Such documents
    have more pairs, so that nearly twice this share of all pairs is short (BERT's and ALBERT's code: short_seq_prob)."""
