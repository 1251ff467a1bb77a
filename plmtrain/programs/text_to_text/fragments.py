"""Filling one run of masks in a text: the decoder begins right before it, at its position in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from plmtrain.batch import Batch, Inputs, Layout
from plmtrain.data.rows.framing import framed
from plmtrain.data.rows.rows import Rows, side_by_side
from plmtrain.data.rows.translations import LanguageRows
from plmtrain.errors import DataError
from plmtrain.generation import NOTHING, EncoderDecoderWriter, Specials, generate
from plmtrain.keyed_random import Keys
from plmtrain.programs.answering import Answer, Answering, Demonstration
from plmtrain.programs.masked.translations import language_of
from plmtrain.programs.text_to_text.learner import EncoderDecoderLearner
from plmtrain.settings.generation import GenerationSettings

if TYPE_CHECKING:
    from plmtrain.programs.program import Program
    from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
    from plmtrain.settings.objectives.mass import MassSettings
    from plmtrain.text.tokenizer import Tokenizer


class FragmentWriting(Answering[EncoderDecoderLearner]):
    """Write the tokens for which masks stand, one after another, at one place of a text: the most likely one each time.

    Args:
        program: hides the fragments of a demonstration.
    """

    def __init__(self, program: Program[MassSettings, EncoderDecoderSettings, EncoderDecoderLearner]) -> None:
        self.program, self.settings = program, program.settings
        self.vocabulary, self.languages = program.vocabulary, program.model.languages
        self.longest = program.row_shape(program.model.positions).length

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts with masks; those of a model with languages are written as ``de: Ein Text``.

        Raises:
            DataError: if a text has no mask, masks at several places, or names no language.
        """
        encoded, numbers = [], []
        for text in texts:
            number, content = language_of(text, self.languages)
            ids, starts = tokenizer.encode_with_specials(content)
            masked = ids == self.vocabulary["mask"]
            runs = int(masked[:1].sum() + np.sum(masked[1:] & ~masked[:-1]))
            if runs != 1:
                name = tokenizer.pieces([self.vocabulary["mask"]])[0]
                what = "there is no mask to fill" if not runs else f"there are masks at {runs} places, and the model fills one"
                raise DataError(what, f"'{text[:60]}'", f"write {name} as often as tokens are missing, all at one place")
            encoded.append((ids, starts))
            numbers.append(number)
        rows = side_by_side(encoded, self.vocabulary.padding)
        if not self.languages:
            return rows
        languages = np.array(numbers, np.int64)
        return LanguageRows(tokens=rows.tokens, lengths=rows.lengths, word_starts=rows.word_starts, languages=languages)

    def collate(self, rows: Rows) -> Batch:
        original = framed(rows, self.program.format, self.vocabulary)
        masked = original.ids == self.vocabulary["mask"]
        languages = rows.languages[:, None] if isinstance(rows, LanguageRows) else None
        inputs = Inputs(
            ids=torch.from_numpy(original.ids),
            layout=Layout.of(original.real),
            segments=None if languages is None else torch.from_numpy(np.repeat(languages, masked.shape[1], axis=1)),
        )
        return self._asking(inputs, np.argmax(masked, axis=1), masked.sum(axis=1))

    def _asking(self, inputs: Inputs, begins: NDArray[np.int64], sizes: NDArray[np.int64]) -> Batch:
        """Make the batch of texts with fragments to fill.

        Args:
            inputs: of the encoder.
            begins, sizes: [rows] the place of the first token of each fragment, and the number of its tokens.
        """
        first = begins - 1 if self.settings.decoder_positions == "read" else begins
        before = inputs.ids.numpy()[np.arange(len(begins)), begins - 1]
        decoder = Inputs(
            ids=torch.from_numpy(before[:, None]),
            layout=Layout(causal=True),
            positions=torch.from_numpy(first[:, None]),
            segments=None if inputs.segments is None else inputs.segments[:, :1],
        )
        return Batch(
            inputs=Inputs(ids=inputs.ids, layout=inputs.layout, segments=inputs.segments, decoder=decoder),
            targets={"sizes": torch.from_numpy(sizes)},
            samples=torch.arange(len(begins)),
            normalisers={},
        )

    @torch.no_grad()
    def predict(self, learner: EncoderDecoderLearner, batch: Batch) -> list[dict[str, Any]]:
        """Write each fragment.

        Returns:
            For each row its ``sample`` and the ids as ``written``.
        """
        inputs, sizes = batch.inputs, batch.targets["sizes"].tolist()
        assert inputs.decoder is not None
        attended = None
        if not self.settings.attends_to_masks:
            attended = inputs.ids != self.vocabulary["mask"]
            attended = attended if inputs.layout.tokens is None else attended & inputs.layout.tokens
        writer = EncoderDecoderWriter(learner.pair, inputs, 1, max(sizes), attended=attended)
        absent = self.vocabulary.absent(learner.pair.vocabulary_size)
        texts = generate(writer, inputs.decoder.ids, Specials(end=NOTHING, absent=absent), GenerationSettings(), max(sizes))
        return [
            {"sample": sample, "written": text[:size]}
            for sample, text, size in zip(batch.samples.tolist(), texts, sizes, strict=True)
        ]

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        filled = ids.copy()
        filled[filled == self.vocabulary["mask"]] = answer["written"]
        whole = tokenizer.decode(filled).strip()
        return Answer({"text": text, "filled": whole, "written": tokenizer.decode(answer["written"]).strip()}, [whole])

    def demonstrate(self, learner: EncoderDecoderLearner, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Hide a fragment of sentences as in training, and show what the model writes for it."""
        batch = self.program.collate(rows, Keys(0, np.zeros(len(rows), np.int64), np.arange(len(rows))))
        assert batch.inputs.decoder is not None
        row = batch.targets["predicted"].numpy() // batch.inputs.decoder.ids.shape[1]
        sizes = np.bincount(row, minlength=len(rows))
        begins = batch.targets["places"].numpy()[np.cumsum(sizes) - sizes]
        labels = np.split(batch.targets["labels"].numpy(), np.cumsum(sizes)[:-1])
        shown = []
        for number, answer in enumerate(self.predict(learner, self._asking(batch.inputs, begins, sizes))):
            sentence = tokenizer.decode(rows.tokens[number, : rows.lengths[number]])
            texts = (sentence, tokenizer.decode(labels[number]), tokenizer.decode(answer["written"]))
            shown.append(tuple(text.strip() for text in texts))
        return Demonstration("fragments (held-out text)", ("sentence", "hidden", "written"), shown)
