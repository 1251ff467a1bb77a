"""The tokens that begin a word, as a table over the vocabulary.

Words: all. WordPiece: every piece without ``##`` begins a word, punctuation and single ideographs among them. The others: a piece
begins a word if it begins with white space (``Ġ``, ``▁``, a line end), if it follows white space, or if it is a text's first.
With byte-level BPE punctuation therefore belongs to the word before it, as in RoBERTa's code. With SentencePiece (``▁``) a
punctuation mark that is a piece by itself begins a word, as in the code of XLNet and ALBERT; in ALBERT's, so does a piece with a
digit or a letter outside a to z. Chinese and Japanese have no white space between words, so that a piece that begins with an
ideograph or kana also begins a word: without that, a whole sentence would be one word. Korean has white space and needs no rule
of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPACE = "▁"
"""SentencePiece's sign for a space."""

_MARKS = frozenset('!"#$%&()*+,-./:;<?@[\\]^_`{|}~')
"""The marks that begin a word with SentencePiece: those of the code of XLNet and ALBERT, without ``'``, ``=`` and ``>``."""


@dataclass(frozen=True, kw_only=True)
class WordStarts:
    """Tables over the vocabulary.

    Args:
        begins: [size] whether a piece begins a word in any position.
        closes: [size] whether the piece after it begins a word.
    """

    begins: NDArray[np.bool_]
    closes: NDArray[np.bool_]

    def of(self, ids: NDArray[np.int64], firsts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each token begins a word.

        Args:
            ids: [tokens] several texts, one after another.
            firsts: where each text begins in them.
        """
        starts = self.begins[ids]
        starts[1:] |= self.closes[ids[:-1]]
        starts[firsts] = True
        return starts


def is_byte_level(definition: Mapping[str, Any]) -> bool:
    """Return whether pieces are written in GPT-2's alphabet of bytes.

    Args:
        definition: a ``tokenizer.json``.
    """
    stages = [definition.get("pre_tokenizer"), definition.get("decoder")]
    while stages:
        stage = stages.pop() or {}
        if stage.get("type") == "ByteLevel":
            return True
        stages += stage.get("pretokenizers", []) + stage.get("decoders", [])
    return False


def tables(definition: Mapping[str, Any], pieces: Sequence[str], special: NDArray[np.bool_]) -> WordStarts:
    """Build the tables of a tokenizer.

    Args:
        definition: its ``tokenizer.json``.
        pieces: [size] each id's piece.
        special: [size] whether each id is a special token that no text is encoded to; these begin words, and so does the token
            after them.
    """
    model = definition["model"]
    if model.get("type") == "WordLevel":
        begins, closes = [True] * len(pieces), [True] * len(pieces)
    elif prefix := model.get("continuing_subword_prefix"):
        begins = [not piece.startswith(prefix) for piece in pieces]
        closes = [False] * len(pieces)
    elif suffix := model.get("end_of_word_suffix"):
        begins = [_ideographic(piece[:1]) for piece in pieces]
        closes = [piece.endswith(suffix) for piece in pieces]
    elif is_byte_level(definition):
        raw = [as_bytes(piece) for piece in pieces]
        begins = [piece[:1].isspace() or _ideographic_byte(piece[:1]) for piece in raw]
        closes = [piece[-1:].isspace() for piece in raw]
    else:
        begins = [piece.startswith(SPACE) or piece in _MARKS or _ideographic(piece[:1]) for piece in pieces]
        closes = [piece[-1:].isspace() for piece in pieces]
    return WordStarts(begins=np.array(begins, np.bool_) | special, closes=np.array(closes, np.bool_) | special)


def _ideographic(character: str) -> bool:
    """Return whether it is an ideograph, kana, or one of their punctuation marks (U+3000 to U+9FFF except Hangul letters)."""
    basic = "\u3000" <= character <= "\u9fff" and not "\u3130" <= character <= "\u318f"
    return basic or "\U00020000" <= character <= "\U0003ffff"


def _ideographic_byte(byte: bytes) -> bool:
    """Return whether a character with this first byte lies within U+3000 to U+9FFF."""
    return b"\xe3" <= byte <= b"\xe9"


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[str, int]:
    """Return the byte of each character of GPT-2's alphabet (Radford et al. 2019, section 2.2, and its code).

    Bytes that are visible in Latin-1 are represented by themselves, the others by the characters from U+0100 on, in order.
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(0x100) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(0x100 + place): byte for place, byte in enumerate(hidden)}


def as_bytes(piece: str) -> bytes:
    """Return the bytes of a piece in GPT-2's alphabet; one with other characters, as in special tokens, as UTF-8."""
    alphabet = byte_alphabet()
    if all(character in alphabet for character in piece):
        return bytes(alphabet[character] for character in piece)
    return piece.encode()
