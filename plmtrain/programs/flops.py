"""The FLOPs of a forward pass, in closed form from the shape of a model.

Only matrix products count, a multiplication and an addition as one each; all other operations are memory-bound and small in
comparison. What is computed again to save memory does not count, nor do gradients: a backward pass takes twice as many.
"""

from __future__ import annotations

import math

from plmtrain.settings.models.decoder import DecoderSettings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.models.relative_encoder_decoder import RelativeEncoderDecoderSettings

BACKWARD = 2
"""The FLOPs of a backward pass, as a multiple of those of the forward pass: each product has two gradients."""


def of_encoder(model: EncoderSettings, rows: int, length: int, read: int) -> int:
    """Return the FLOPs of an encoder.

    Args:
        model: its shape.
        rows, length: of a batch.
        read: the positions of the batch that heads read; the last layer computes no others behind attention.
    """
    width, narrow = model.width, model.embedding_width or model.width
    positions = rows * length
    projected = 2 * positions * narrow * width if model.always_project or narrow != width else 0
    mixed = model.layers * (positions * 6 * width**2 + rows * 4 * length**2 * width)
    behind = ((model.layers - 1) * positions + read) * (2 * width**2 + 4 * width * model.feed_forward)
    return projected + mixed + behind


def of_vocabulary_head(model: EncoderSettings, predicted: int, vocabulary: int) -> int:
    """Return the FLOPs of an encoder's language-model head.

    Args:
        model: the encoder's shape.
        predicted: the positions that it scores.
        vocabulary: the rows of the token table.
    """
    width, narrow = model.width, model.embedding_width or model.width
    return 2 * predicted * (narrow * vocabulary + (width * narrow if model.head_layer else 0))


def of_pair_head(width: int, rows: int) -> int:
    """Return the FLOPs of a pooler, and of two scores for each row."""
    return 2 * rows * (width**2 + 2 * width)


def of_decoder(model: DecoderSettings, rows: int, length: int) -> int:
    """Return the FLOPs of a decoder without an encoder, whose every second layer may see a window only."""
    width = model.width
    seen = length**2
    if model.window is not None and model.window < length:
        # Queries are taken in blocks as long as the window, each with the keys of two blocks.
        blocks = math.ceil(length / model.window)
        seen_in_window = 2 * blocks * model.window**2
    else:
        seen_in_window = seen
    windowed = model.layers // 2
    scores = (model.layers - windowed) * seen + windowed * seen_in_window
    return rows * (model.layers * length * (8 * width**2 + 4 * width * model.feed_forward) + 4 * width * scores)


def of_encoder_decoder(
    model: EncoderDecoderSettings | RelativeEncoderDecoderSettings, rows: int, length: int, written: int
) -> int:
    """Return the FLOPs of an encoder and a decoder.

    Args:
        model: their shape.
        rows: of a batch.
        length: what the encoder reads of each row.
        written: what the decoder writes of each row.
    """
    if isinstance(model, RelativeEncoderDecoderSettings):
        inner, matrices, decoder_layers = model.heads * model.head_width, 3 if model.gated else 2, model.decoder_blocks
    else:
        inner, matrices, decoder_layers = model.width, 2, model.written_layers
    width, fed = model.width, 2 * model.width * model.feed_forward * matrices

    def own(positions: int) -> int:
        return positions * (8 * width * inner + fed) + 4 * positions**2 * inner

    across = 4 * (length + written) * width * inner + 4 * written * length * inner
    return rows * (model.layers * own(length) + decoder_layers * (own(written) + across))


def of_output(width: int, predicted: int, vocabulary: int) -> int:
    """Return the FLOPs of an output layer at the positions that it scores."""
    return 2 * predicted * width * vocabulary
