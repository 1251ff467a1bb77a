"""Text generation token by token: greedy search, sampling and beam search over anything that scores the next token.

The same options give the same text as transformers' ``generate`` (version 5), which defines their meaning; tests compare the two.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from plmtrain.generation.beams import search
from plmtrain.generation.rules import NOTHING, Specials
from plmtrain.generation.single import draw_or_follow, steps
from plmtrain.generation.stop_texts import StopTexts, settled
from plmtrain.generation.writer import DecoderWriter, EncoderDecoderWriter, Writer
from plmtrain.settings.generation import GenerationSettings

__all__ = [
    "NOTHING",
    "DecoderWriter",
    "EncoderDecoderWriter",
    "Specials",
    "StopTexts",
    "Writer",
    "generate",
    "numbers_of",
    "settled",
    "steps",
]


def generate(
    writer: Writer,
    begun: Tensor,
    specials: Specials,
    settings: GenerationSettings,
    limit: int,
    *,
    samples: NDArray[np.int64] | None = None,
    stop: StopTexts | None = None,
) -> list[list[int]]:
    """Generate one text for each row.

    Args:
        writer: scores the next token of ``rows * settings.beams`` texts.
        begun: [rows, tokens] the tokens that texts begin with, ``NOTHING`` before those of shorter rows.
        specials: the tokens that begin and end texts.
        settings: how to generate.
        limit: the most tokens to generate, special ones included.
        samples: [rows] numbers that tell the random draws of rows apart; their order if omitted.
        stop: the texts that end generation, besides the end token.

    Returns:
        The generated tokens of each row's text, without ``begun`` and without anything after the end.
    """
    if settings.beams > 1:
        return search(writer, begun, specials, settings, limit, stop)
    return draw_or_follow(writer, begun, specials, settings, limit, samples, stop)


def numbers_of(ids: Tensor, tokens: Tensor | None) -> NDArray[np.int64]:
    """Return a number for each row by which its random draws are told apart.

    It depends on the row alone, not on its place: a text is written in a batch as it would be alone.

    Args:
        ids: [rows, length] what is read.
        tokens: [rows, length] bool, true at real tokens; None if no row is padded.
    """
    rows = ids.tolist() if tokens is None else [row[own].tolist() for row, own in zip(ids, tokens, strict=True)]
    return np.array([zlib.crc32(np.array(row, np.int64).tobytes()) for row in rows], np.int64)
