"""Texts that an encoder-decoder writes: the rows that its decoder learns from, and generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.backbones.encoder_decoder import EncoderDecoder, SourceEncoder
from plmtrain.batch import Inputs, Layout, shift_right
from plmtrain.data.rows.row_formats import FormattedRows, RowFormat, formatted
from plmtrain.errors import SettingsError
from plmtrain.generation import EncoderDecoderWriter, Specials, StopTexts, generate
from plmtrain.nn.blocks import PostNormBlock
from plmtrain.programs.text_to_text.learner import EncoderDecoderLearner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from plmtrain.backbones import EncoderDecoderBackbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.programs.text_to_text.languages import LanguageTokens
    from plmtrain.settings.generation import GenerationSettings
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.vocabulary import Vocabulary


class WritingLearner(EncoderDecoderLearner):
    """An encoder-decoder, possibly with an encoder for another language in front of it.

    Args:
        pair: the backbone, encoder and decoder.
        source: the encoder in front; None if there is none.
    """

    def __init__(self, pair: EncoderDecoderBackbone, source: SourceEncoder | None = None) -> None:
        super().__init__(pair, continues=True)
        self.source = source

    def encode(self, inputs: Inputs) -> Tensor:
        """Return the states to which the decoder attends.  # [batch, length, width]"""
        if self.source is None:
            return self.pair.encode(inputs)
        assert isinstance(self.pair, EncoderDecoder), "the settings refuse another backbone"
        return self.pair.encode_embedded(self.source(inputs), inputs)

    def hidden(self, inputs: Inputs) -> Tensor:
        """Return the decoder's last hidden states.  # [batch, length, width]"""
        return self.pair.decode(inputs, self.encode(inputs))

    def token_scores(self, inputs: Inputs) -> Tensor:
        return functional.linear(self.hidden(inputs), self.pair.output_weight)

    def models(self) -> Mapping[str, Sequence[nn.Module]]:
        if self.source is not None:
            raise SettingsError(
                "transformers has no class for a model with another encoder in front of its own",
                "task.source_layers",
                "keep it as a run, which predict and init= take",
            )
        return super().models()

    def train_source(self) -> None:
        """Freeze all but the encoder in front, the positions of both stacks, and the first input projection behind it (Lewis et
        al. 2020, section 3.4: the first of two steps)."""
        pair = self.pair
        assert isinstance(pair, EncoderDecoder), "the settings refuse another backbone"
        pair.requires_grad_(False)
        first = pair.encoder.layers[0]
        assert isinstance(first, PostNormBlock)
        positions = [stack.embeddings.position for stack in (pair.encoder, pair.decoder)]
        for module in (*positions, first.attention.query_key_value):
            module.requires_grad_(True)


def taught(
    rows: Rows, row_format: RowFormat, model: ModelSettings, vocabulary: Vocabulary, languages: tuple[LanguageTokens, int] | None
) -> tuple[FormattedRows, Inputs]:
    """Return the rows that a decoder shall write, and its inputs for teacher forcing.

    Args:
        rows: the texts.
        row_format: lays them out.
        model: the model.
        vocabulary: the ids of the special tokens.
        languages: the tokens of languages and the number of that of the texts; None if languages are not told by tokens.
    """
    written = formatted(rows, row_format, vocabulary, model.positions)
    if languages is not None:
        tokens, number = languages
        tokens.close(written.ids, written.real.sum(axis=1), number)
    # Padding comes last, where a causal decoder does not see it.
    ids = shift_right(torch.from_numpy(written.ids), start_of(model, vocabulary, languages))
    return written, Inputs(ids=ids, layout=Layout(causal=True))


def start_of(model: ModelSettings, vocabulary: Vocabulary, languages: tuple[LanguageTokens, int] | None) -> int:
    """Return the token that a decoder reads before it has written any; arguments as for ``taught``."""
    if languages is None:
        return vocabulary[model.published.decoder_start]
    tokens, number = languages
    return int(tokens.ids[number])


def write(
    pair: EncoderDecoderBackbone,
    inputs: Inputs,
    vocabulary: Vocabulary,
    row_format: RowFormat,
    chosen: GenerationSettings,
    limit: int,
    samples: NDArray[np.int64],
    stop: StopTexts | None = None,
    memory: Tensor | None = None,
) -> list[list[int]]:
    """Write a text for each row.

    Args:
        pair: encoder and decoder, in eval mode.
        inputs: what the encoder reads; if it has a decoder side, the first column of that is what each text starts from.
        vocabulary: the ids of the special tokens.
        row_format: of the rows that the decoder writes. A special token before the text is forced, and then also the one after
            it in a text that has reached the greatest length.
        chosen: the settings of text generation.
        limit: the most tokens of a text, special ones included, if the model has as many positions.
        samples: [rows] numbers that tell the random draws of rows apart.
        stop: the texts that end generation, besides the token that closes a row.
        memory: [rows, length, width] the encoded rows, if another encoder made them.

    Returns:
        The tokens of each text, without the special tokens around it.
    """
    closing, limit = vocabulary[row_format.roles[-1]], min(limit, pair.settings.positions)
    specials = Specials(
        end=closing,
        first=vocabulary[row_format.roles[0]] if row_format.opening else None,
        last=closing if row_format.opening else None,
        absent=vocabulary.absent(pair.vocabulary_size),
    )
    writer = EncoderDecoderWriter(pair, inputs, chosen.beams, limit, memory=memory)
    if inputs.decoder is not None:
        begun = inputs.decoder.ids[:, :1]
    else:
        begun = torch.full_like(inputs.ids[:, :1], vocabulary[pair.settings.published.decoder_start])
    texts = generate(writer, begun, specials, chosen, limit, samples=samples, stop=stop)
    return [text[row_format.opening : -1 if text[-1] == closing else None] for text in texts]
