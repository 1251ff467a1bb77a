"""Translation and masked language modelling together: XLM (Lample and Conneau 2019, sections 3.3 to 3.5).

Some rows are text in one language, the others a sentence and its translation, in either order. Tokens of both sides are masked
and predicted, and a token masked on one side may be visible as its translation on the other. The authors alternate steps of both
kinds; here each batch has rows of both, in fixed shares, and all predicted tokens have the same weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from plmtrain.batch import Batch, Term
from plmtrain.corruption.frequency_masking import FrequencyMasker
from plmtrain.data.rows.side_framing import FramedSides, framed_sides
from plmtrain.data.rows.translations import SIDE
from plmtrain.keyed_random import row_bits
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.learner import Learner
from plmtrain.programs.masked.program import MaskedLearner, MaskedProgram
from plmtrain.programs.masked.translations import SideFilling, side_inputs
from plmtrain.programs.program import Carry, MakeBackbone, RowShape
from plmtrain.settings.objectives.tlm import TranslationLMSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.encoder import EncoderSettings
    from plmtrain.text.vocabulary import Vocabulary


class TranslationLM(MaskedProgram[TranslationLMSettings, MaskedLearner]):
    """Predict masked tokens of a text, or of a text and its translation, with attention over both sides."""

    terms = ("mlm",)
    counted = ("tokens",)
    has_perplexity = True

    def __init__(self, settings: TranslationLMSettings, model: EncoderSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.languages = model.languages
        self.mask = FrequencyMasker(settings, vocabulary)

    def row_shape(self, sequence_length: int) -> RowShape:
        return RowShape(length=sequence_length - SIDE.framing)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        swapped = (row_bits("tlm.direction", keys) & np.uint64(1)).astype(np.bool_)
        original = framed_sides(rows, self.vocabulary, swapped, rows.tokens.shape[1] + SIDE.framing)
        masked = self.mask(original, original.shares, keys)
        at = masked.positions
        return Batch(
            inputs=side_inputs(replace(original, ids=masked.ids), self.languages),
            targets={
                "positions": torch.from_numpy(at),
                "labels": torch.from_numpy(masked.labels),
                "kinds": torch.from_numpy(self._kinds(original)[at]),
                "translated": torch.from_numpy(original.translated),
                "languages": torch.from_numpy(original.languages),
            },
            samples=torch.from_numpy(keys.samples),
            normalisers={"mlm": float(len(at)), "tokens": float(original.lengths.sum())},
        )

    def _kinds(self, rows: FramedSides) -> NDArray[np.int64]:
        """Return an id for the language of each token; rows with a translation have a second range of ids."""
        count = max(1, len(self.languages))
        languages = rows.languages if self.languages else np.zeros_like(rows.languages)
        kinds: NDArray[np.int64] = (languages + count * rows.translated[:, None]).reshape(-1)
        return kinds

    def build(self, make: MakeBackbone) -> MaskedLearner:
        backbone = make(self.model)
        return MaskedLearner(backbone, self.head(backbone))

    @torch.no_grad()
    def initialise(self, learner: Learner) -> None:
        if self.model.initial_by_width:
            learner.backbone.embedding_weight[self.vocabulary["pad"]] = 0.0  # as in the authors' code

    def loss(self, learner: MaskedLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        hidden = learner.backbone.encode_at(batch.inputs, batch.targets["positions"])  # [predicted, width]
        return {"mlm": self.mlm_term(learner, batch, learner.scores(hidden))}, carry

    def prediction_counts(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Add to the counts of a masked program the loss for each language, with a translation and without."""
        labels, kinds = batch.targets["labels"], batch.targets["kinds"]
        losses = functional.cross_entropy(logits.float(), labels, reduction="none").double()
        sums = torch.zeros(2 * max(1, len(self.languages)), 2, dtype=torch.float64, device=losses.device)
        sums.index_add_(0, kinds, torch.stack([losses, torch.ones_like(losses)], dim=1))
        return {**super().prediction_counts(batch, logits), "kinds": sums}

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute the measures of masked tokens, and for each language ``mlm/loss_alone_de``, nats per token in rows without a
        translation, and ``mlm/loss_translated_de``, in rows with one."""
        names = [f"_{language}" for language in self.languages] or [""]
        named = [f"mlm/loss_{kind}{name}" for kind in ("alone", "translated") for name in names]
        by_kind = zip(named, counts["mlm/kinds"].tolist(), strict=True)
        return {**super().measures(counts, unigram), **{name: total / count for name, (total, count) in by_kind if count}}

    @cached_property
    def answering(self) -> SideFilling:
        longest = self.row_shape(self.model.positions).length
        return SideFilling(self.format, self.vocabulary, longest, self.languages)

    def inspect(self, batch: Batch) -> Inspection:
        inspection = super().inspect(batch)
        assert batch.layout.tokens is not None
        assert batch.inputs.positions is not None
        translated, languages = batch.targets["translated"].numpy(), batch.targets["languages"].numpy()
        real, positions = batch.layout.tokens.numpy(), batch.inputs.positions.numpy()
        row_languages = [self._row_languages(row) for row in (np.where(real, languages, -1))]
        rows = [
            Shown({f"{line} ({names})" if line == "original" else line: tokens for line, tokens in row.lines.items()})
            for row, names in zip(inspection.rows, row_languages, strict=True)
        ]
        begins = real & (positions == 0)
        sides = np.bincount(languages[begins], minlength=len(self.languages)).tolist()
        chosen = np.zeros(real.size, np.bool_)
        chosen[batch.targets["positions"].numpy()] = True
        second = real & (np.cumsum(begins, axis=1) == 2)
        rates = {
            "rows with a translation": (int(translated.sum()), len(translated)),
            "predicted in the second side": (
                int((chosen.reshape(real.shape) & second).sum()),
                int(chosen.reshape(real.shape)[translated].sum()),
            ),
            **{f"sides in {name}": (count, sum(sides)) for name, count in zip(self.languages, sides, strict=False)},
        }
        return replace(inspection, rows=rows, rates={**inspection.rates, **rates})

    def _row_languages(self, languages: NDArray[np.int64]) -> str:
        """Return the names of a row's languages, in order."""
        real_languages = languages[languages >= 0]
        changes = [0, *(np.flatnonzero(np.diff(real_languages)) + 1).tolist()]
        return " > ".join(
            self.languages[real_languages[place]] if self.languages else str(real_languages[place]) for place in changes
        )
