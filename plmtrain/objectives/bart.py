"""BART: reconstruct a row of text from its corrupted form (Lewis et al. 2020, section 2).

The encoder reads the corrupted row; the decoder predicts the original row autoregressively. As in the paper, the loss is over
all tokens of the row, including those that were not corrupted. Copying is learnt early, so the loss of the corrupted tokens
alone is reported as well, with weight 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plmtrain.backbones.encoder_decoder import EncoderDecoder
from plmtrain.batch import Batch, Inputs, Layout, Term, shift_right
from plmtrain.corruption.noising import DELETED, HIDDEN, Noiser
from plmtrain.data.rows.framing import framed
from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.data.rows.translations import LanguageRows
from plmtrain.generation import StopTexts
from plmtrain.keyed_random import Keys
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.programs import flops
from plmtrain.programs.baseline import Baseline, unigram_loss
from plmtrain.programs.denoising.inspection import noise_inspection
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.masked.translations import language_of
from plmtrain.programs.program import Carry, MakeBackbone, Program
from plmtrain.programs.text_to_text.languages import LanguageTokens
from plmtrain.programs.text_to_text.learner import EncoderDecoderLearner
from plmtrain.programs.text_to_text.writing import Writing
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.objectives.bart import BartSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


class Bart(Program[BartSettings, EncoderDecoderSettings, EncoderDecoderLearner]):
    """Reconstruct a row from its corrupted form."""

    terms = ("denoising", "corrupted")
    ragged = True
    baseline = Baseline("loss/corrupted", "corrupted_unigram_loss", "corrupted tokens")

    def __init__(self, settings: BartSettings, model: EncoderDecoderSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.noise = Noiser(settings, vocabulary, longest=model.positions)
        self.languages = model.languages if settings.by_language else ()
        self.tokens = LanguageTokens.of(model, vocabulary) if self.languages else None

    @cached_property
    def format(self) -> RowFormat:
        one = RowFormat.of(self.model.family, 1)
        return one if self.tokens is None else self.tokens.format(one)

    def told(self, ids: Tensor, languages: NDArray[np.int64] | None) -> Tensor | None:
        """Return the number of each token's language, for a model with embeddings of languages; None for others.

        Args:
            ids: [rows, length] token ids.
            languages: [rows] the number of each row's language; None if there are none.
        """
        if languages is None or not self.languages or self.tokens is not None:
            return None
        return torch.from_numpy(languages)[:, None].expand(ids.shape).contiguous()

    def start(self, ids: Tensor, languages: NDArray[np.int64] | None) -> Tensor:
        """Return the token that the decoder starts each row with: that of its language, if there are such tokens.  # [rows]"""
        if self.tokens is None or languages is None:
            return torch.full_like(ids[:, 0], self.vocabulary["sep"])
        return torch.from_numpy(self.tokens.ids[languages])

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original = framed(rows, self.format, self.vocabulary)
        languages = rows.languages if isinstance(rows, LanguageRows) else None
        if self.tokens is not None and languages is not None:
            self.tokens.close(original.ids, original.lengths, languages)
        noised = self.noise(original, keys)
        labels, marks = original.ids, noised.marks
        targets: dict[str, NDArray[Any]] = {"origins": noised.origins, "marks": marks}
        corrupted = marks & (HIDDEN | DELETED) != 0
        if original.real is None:
            targets |= {"labels": labels.reshape(-1), "corrupted": corrupted.reshape(-1)}
        else:
            written = np.flatnonzero(original.real)
            targets |= {"positions": written, "labels": labels[original.real], "corrupted": corrupted[original.real]}
        # A decoder's position belongs to the token that it predicts, not to its input token: documents are not shifted.
        whole, read = torch.from_numpy(labels), torch.from_numpy(noised.ids)
        decoder = Inputs(
            ids=shift_right(whole, self.start(whole, languages)),
            layout=Layout.of(documents=original.documents, causal=True),
            segments=self.told(whole, languages),
        )
        layout = Layout.of(noised.real, noised.documents)
        return Batch(
            inputs=Inputs(ids=read, layout=layout, segments=self.told(read, languages), decoder=decoder),
            targets={name: torch.from_numpy(array) for name, array in targets.items()},
            samples=torch.from_numpy(keys.samples),
            normalisers={"denoising": float(targets["labels"].size), "corrupted": float(np.sum(corrupted))},
        )

    def build(self, make: MakeBackbone) -> EncoderDecoderLearner:
        backbone = make(self.model)
        assert isinstance(backbone, EncoderDecoder)
        return EncoderDecoderLearner(backbone)

    def loss(self, learner: EncoderDecoderLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        targets = batch.targets
        written = learner.backbone.hidden(batch.inputs).flatten(0, 1)  # [rows * length, width]
        if "positions" in targets:
            written = written.index_select(0, targets["positions"])  # [tokens, width]
        embeddings = learner.backbone.embedding_weight
        total, losses = tied_cross_entropy(written, embeddings, targets["labels"])
        counts = {}
        if not learner.training:
            counts["tokens"] = torch.bincount(targets["labels"][targets["corrupted"]], minlength=len(embeddings))
        normalisers = batch.normalisers
        return {
            "denoising": Term(total=total, normaliser=normalisers["denoising"]),
            "corrupted": Term(
                total=torch.sum(losses * targets["corrupted"]), normaliser=normalisers["corrupted"], weight=0.0, counts=counts
            ),
        }, carry

    def flops(self, batch: Batch, vocabulary: int) -> int | None:
        (rows, length), decoder = batch.inputs.ids.shape, batch.inputs.decoder
        assert decoder is not None
        both = flops.of_encoder_decoder(self.model, rows, length, decoder.ids.shape[1])
        return both + flops.of_output(self.model.width, len(batch.targets["labels"]), vocabulary)

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute ``corrupted_unigram_loss`` over the corrupted tokens: the others can be copied from the input."""
        return unigram_loss("corrupted_unigram_loss", counts["corrupted/tokens"], unigram)

    @cached_property
    def answering(self) -> Restoring:
        return Restoring(self)

    def inspect(self, batch: Batch) -> Inspection:
        assert batch.inputs.decoder is not None
        labels = np.full_like(batch.inputs.decoder.ids.numpy(), self.vocabulary["pad"])
        positions = batch.targets.get("positions")
        written = np.arange(labels.size) if positions is None else positions.numpy()
        labels.reshape(-1)[written] = batch.targets["labels"].numpy()
        mean = self.settings.span_mean if self.settings.infill else None
        return noise_inspection(batch, labels, self.vocabulary, mean)


class Restoring(Writing):
    """Reconstruct a text in which masks may replace missing words.

    Args:
        program: the program, which corrupts the sentences of a demonstration.
        generation, stop: as in ``Writing``.
    """

    program: Bart

    def __init__(self, program: Bart, generation: GenerationSettings | None = None, stop: StopTexts | None = None) -> None:
        super().__init__(program, generation, stop)
        self.row_format = RowFormat.of(program.model.family, 1)  # the row is reconstructed with all that stands around it

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts in which masks may be written as the mask token; with languages they are written as ``de: Ein Text``.

        Raises:
            DataError: if a text names no language.
        """
        known = [language_of(text, self.program.languages) for text in texts]
        rows = super().questions([text for _, text in known], tokenizer)
        if not self.program.languages:
            return rows
        languages = np.array([number for number, _ in known], np.int64)
        return LanguageRows(tokens=rows.tokens, lengths=rows.lengths, word_starts=rows.word_starts, languages=languages)

    def collate(self, rows: Rows) -> Batch:
        batch, program = super().collate(rows), self.program
        ids, languages = batch.inputs.ids, rows.languages if isinstance(rows, LanguageRows) else None
        if program.tokens is not None and languages is not None:
            program.tokens.close(ids.numpy(), rows.lengths + program.format.framing, languages)
        start = program.start(ids, languages)[:, None]
        decoder = Inputs(ids=start, segments=program.told(start, languages))
        return replace(batch, inputs=replace(batch.inputs, segments=program.told(ids, languages), decoder=decoder))
