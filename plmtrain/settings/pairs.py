"""The cutting of text into pairs of segments, for every objective that reads pairs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.base import Settings


class PairSettings(Settings):
    """Devlin et al. 2019, section 3.1 (Task 2); Lan et al. 2020, section 3.1. An epoch consists of all copies."""

    relation: ClassVar[Literal["next", "order", "within"]]
    """The relation of a pair's second segment to the first (``plmtrain.data.corpus.pair_cutting``)."""

    pair_copies: int = Field(10, gt=0, le=1024)
    """How many times the training text is cut into pairs, differently each time (BERT's and ALBERT's code: dupe_factor)."""
    short_share: float = Field(0.1, ge=0, le=1)
    """The share of documents, in each copy, whose pairs have one random length instead of one that fills the row. Such documents
    have more pairs, so that about twice this share of all pairs is short (BERT's and ALBERT's code: short_seq_prob)."""

    @property
    def one_segment_share(self) -> float:
        """The share of pairs without a second segment."""
        return 0.0


class SegmentSettings(PairSettings):
    """The cutting of documents into rows of one or two segments, by the rule of ELECTRA's code
    (``build_pretraining_dataset.py``; Clark et al. 2020, appendix A, refers to BERT's rows)."""

    relation: ClassVar[Literal["next", "order", "within"]] = "within"

    pair_copies: int = Field(1, gt=0, le=1024)
    short_share: float = Field(0.05, ge=0, le=1)
    """The share of rows that are cut to a random length instead of one that fills the row."""
    single_share: float = Field(0.1, ge=0, le=1)
    """The share of rows that have one segment, however long the text is."""

    @property
    def one_segment_share(self) -> float:
        return self.single_share
