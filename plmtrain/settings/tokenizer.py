"""The tokenizer: an existing one, or how to train one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from plmtrain.settings.base import Settings

Family = Literal["bert", "roberta", "albert", "xlnet", "xlm", "gpt2", "t5"]

ROLES: Mapping[Family, frozenset[str]] = {
    "bert": frozenset({"pad", "unk", "cls", "sep", "mask"}),
    "roberta": frozenset({"pad", "unk", "cls", "sep", "mask", "bos", "eos"}),
    "albert": frozenset({"pad", "unk", "cls", "sep", "mask"}),
    "xlnet": frozenset({"pad", "unk", "cls", "sep", "mask", "bos", "eos"}),
    "xlm": frozenset({"pad", "unk", "cls", "sep", "mask", "bos", "eos"}),
    "gpt2": frozenset({"bos", "eos"}),
    "t5": frozenset({"pad", "unk", "eos"}),
}
"""The special tokens of each family, by role."""


class TokenizerSettings(Settings):
    """A tokenizer to train on the run's own text, or the folder of an existing one."""

    type: Literal["wordpiece", "byte_bpe", "unigram"]
    """WordPiece as BERT, byte-level BPE as RoBERTa and GPT-2, Unigram (SentencePiece) as ALBERT, T5 and XLNet."""
    family: Family
    """Whose special tokens, normalisation and row format it has."""
    vocab_size: int = Field(gt=0)
    """Tokens in the vocabulary, special ones included; a small text may give fewer."""
    lowercase: bool
    """Whether text is lower-cased and accents are stripped."""
    path: str | None = None
    """The folder of an existing tokenizer (``tokenizer.json`` in it); nothing is trained then."""
