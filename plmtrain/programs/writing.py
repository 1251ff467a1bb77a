"""Texts that an encoder-decoder writes: the rows that its decoder learns from, and generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from plmtrain.batch import Inputs, Layout, shift_right
from plmtrain.data.rows.row_formats import FormattedRows, RowFormat, formatted
from plmtrain.generation import EncoderDecoderWriter, Specials, StopTexts, generate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from plmtrain.backbones.encoder_decoder import EncoderDecoder
    from plmtrain.data.rows.rows import Rows
    from plmtrain.families import DecoderRows
    from plmtrain.settings.generation import GenerationSettings
    from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
    from plmtrain.text.vocabulary import Vocabulary


def decoder_rows(model: EncoderDecoderSettings) -> DecoderRows:
    """Return how the decoders of a model's family write."""
    writes = model.published.writes
    assert writes is not None, "the settings refuse a family without a decoder beside its encoder"
    return writes


def taught(rows: Rows, model: EncoderDecoderSettings, vocabulary: Vocabulary) -> tuple[FormattedRows, Inputs]:
    """Return the rows that a decoder shall write, and its inputs for teacher forcing.

    Args:
        rows: the texts.
        model: the model; its family lays them out.
        vocabulary: the ids of the special tokens.
    """
    written = formatted(rows, RowFormat.written(model.family), vocabulary, model.positions)
    # Padding comes last, where a causal decoder does not see it.
    ids = shift_right(torch.from_numpy(written.ids), vocabulary[decoder_rows(model).start])
    return written, Inputs(ids=ids, layout=Layout(causal=True))


def write(
    pair: EncoderDecoder,
    inputs: Inputs,
    vocabulary: Vocabulary,
    chosen: GenerationSettings,
    limit: int,
    samples: NDArray[np.int64],
    stop: StopTexts | None = None,
) -> list[list[int]]:
    """Write a text for each row.

    Args:
        pair: encoder and decoder, in eval mode.
        inputs: what the encoder reads.
        vocabulary: the ids of the special tokens.
        chosen: the settings of text generation.
        limit: the most tokens of a text, special ones included, if the model has as many positions.
        samples: [rows] numbers that tell the random draws of rows apart.
        stop: the texts that end generation, besides the token that closes a row.

    Returns:
        The tokens of each text, without the special tokens around it.
    """
    row_format, rows = RowFormat.written(pair.settings.family), decoder_rows(pair.settings)
    closing, limit = vocabulary[row_format.roles[-1]], min(limit, pair.settings.positions)
    specials = Specials(
        end=closing,
        first=vocabulary[row_format.roles[0]] if rows.forced and row_format.opening else None,
        last=closing if rows.forced else None,
        absent=vocabulary.absent(pair.vocabulary_size),
    )
    writer = EncoderDecoderWriter(pair, inputs, chosen.beams, limit)
    begun = torch.full_like(inputs.ids[:, :1], vocabulary[rows.start])
    texts = generate(writer, begun, specials, chosen, limit, samples=samples, stop=stop)
    return [text[row_format.opening : -1 if text[-1] == closing else None] for text in texts]
