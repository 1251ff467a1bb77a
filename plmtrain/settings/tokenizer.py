"""Settings of the tokenizer: an existing one, or one to train."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plmtrain.families import TOKENIZER_FAMILIES, TokenizerFamily
from plmtrain.settings.base import Settings

MOST_TOKENS = 2**22
"""The most tokens of a vocabulary: four times the largest published ones, which have about a million."""


class TokenizerSettings(Settings):
    """A tokenizer to train on the run's own text, or the folder of an existing one."""

    type: Literal["wordpiece", "bpe", "byte_bpe", "unigram", "word", "spaced_word"]
    """WordPiece as in BERT, BPE of characters as in GPT-1, byte-level BPE as in RoBERTa and GPT-2, Unigram (SentencePiece) as in
    ALBERT, T5 and XLNet; whole words as in ELMo, with punctuation marks as words of their own unless letters or digits stand on
    both sides, or (spaced_word) with words only where the text has spaces, for text that is cut into words already."""
    family: str
    """The family whose special tokens, normalisation and row format it has: a row of ``plmtrain.families``."""
    vocab_size: int = Field(gt=0, le=MOST_TOKENS)
    """The number of tokens in the vocabulary, special ones included; a small text may give fewer."""
    lowercase: bool
    """Whether text is lower-cased and accents are stripped."""
    sample_bytes: int = Field(10**9, ge=10**6, le=10**11)
    """The text to train on: of more than this, a sample of its documents of about this size, chosen by their content."""
    path: str | None = None
    """The folder of an existing tokenizer (with a ``tokenizer.json``); no tokenizer is trained then."""

    @classmethod
    def names_of(cls, field: str) -> list[str]:
        return list(TOKENIZER_FAMILIES) if field == "family" else []

    @property
    def has_whole_words(self) -> bool:
        """Whether its tokens are whole words, of which the most frequent are in the vocabulary."""
        return self.type in ("word", "spaced_word")

    @property
    def tokens(self) -> TokenizerFamily:
        """The special tokens of its family."""
        return TOKENIZER_FAMILIES[self.family]
