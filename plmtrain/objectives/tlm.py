"""Translation language modelling beside masked language modelling: XLM (Lample and Conneau 2019, sections 3.3 to 3.5).

Some rows are text of one language, the others a sentence and its translation, in either order: tokens of both sides are
predicted, and what is hidden in one may be read in the other. The authors take steps of one kind and of the other in turn; here
each batch has rows of both, in fixed shares, and all predicted tokens weigh the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Batch, Layout, Term
from plmtrain.corruption.frequency_masking import FrequencyMasker
from plmtrain.data.rows.side_framing import FRAMING, FramedSides, framed_sides
from plmtrain.data.rows.translations import LanguageRows
from plmtrain.keyed_random import row_bits
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.masked.program import MaskedLearner, MaskedProgram
from plmtrain.programs.masked.translations import asked_sides, read_sides
from plmtrain.programs.program import Answer, Carry, Inspection, MakeBackbone, Shown
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.tlm import TranslationLMSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


class TranslationLM(MaskedProgram[TranslationLMSettings]):
    """Predict hidden tokens of a text, or of a text and its translation, where both sides are seen."""

    terms = ("mlm",)
    counted = ("tokens",)

    def __init__(self, settings: TranslationLMSettings, model: ModelSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.languages = cast(EncoderSettings, model).languages
        self.mask = FrequencyMasker(settings, settings.frequency_exponent, vocabulary)

    def row_length(self, sequence_length: int) -> int:
        return sequence_length - FRAMING

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        swapped = (row_bits("tlm.direction", keys) & np.uint64(1)).astype(np.bool_)
        original = framed_sides(rows, self.vocabulary, swapped, rows.tokens.shape[1] + FRAMING)
        masked = self.mask(original, original.shares, keys)
        at = masked.positions
        return Batch(
            inputs={**self._inputs(original), "ids": torch.from_numpy(masked.ids)},
            targets={
                "positions": torch.from_numpy(at),
                "labels": torch.from_numpy(masked.labels),
                "kinds": torch.from_numpy(self._kinds(original)[at]),
                "shares": torch.from_numpy(original.shares.reshape(-1)[at]),
                "translated": torch.from_numpy(original.translated),
                "languages": torch.from_numpy(original.languages),
            },
            layout=Layout.of(original.real),
            samples=torch.from_numpy(keys.samples),
            normalisers={"mlm": float(len(at)), "tokens": float(original.lengths.sum())},
        )

    def _inputs(self, rows: FramedSides) -> dict[str, Tensor]:
        inputs = {"ids": torch.from_numpy(rows.ids), "positions": torch.from_numpy(rows.positions)}
        if self.languages:
            inputs["segments"] = torch.from_numpy(rows.languages)
        return inputs

    def _kinds(self, rows: FramedSides) -> NDArray[np.int64]:
        """The language of each token, and behind all languages once more for those that stand beside a translation."""
        count = max(1, len(self.languages))
        languages = rows.languages if self.languages else np.zeros_like(rows.languages)
        kinds: NDArray[np.int64] = (languages + count * rows.translated[:, None]).reshape(-1)
        return kinds

    def collate_for_prediction(self, rows: Rows) -> Batch:
        original = framed_sides(rows, self.vocabulary)
        inputs = self._inputs(original)
        if not isinstance(rows, LanguageRows):  # nobody knows which language it is in
            inputs.pop("segments", None)
        return Batch(
            inputs=inputs,
            targets={"first": torch.from_numpy(original.first)},
            layout=Layout.of(original.real),
            samples=torch.arange(len(rows)),
            normalisers={},
        )

    def build(self, make: MakeBackbone) -> MaskedLearner:
        model = cast(EncoderSettings, self.model)
        backbone = make(model)
        if model.initial_by_width and not backbone.embedding_weight.is_meta:
            with torch.no_grad():
                backbone.embedding_weight[self.vocabulary["pad"]] = 0.0  # as in the authors' code
        return MaskedLearner(backbone, self.token_head(backbone))

    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        learner = cast(MaskedLearner, learner)
        inputs, labels = batch.inputs, batch.targets["labels"]
        hidden = learner.backbone.encode_at(
            inputs["ids"], batch.layout, batch.targets["positions"], inputs.get("segments"), inputs["positions"]
        )  # [predicted, width]
        logits = learner.scores(hidden)  # [predicted, vocabulary]
        total = cross_entropy_sum(logits, labels)
        counts = {} if learner.training else self._counted(batch, logits)
        return {"mlm": Term(total=total, normaliser=batch.normalisers["mlm"], counts=counts)}, carry

    def _counted(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Right guesses, what frequencies alone would lose, and the loss in each language, with a translation and without."""
        labels, kinds, shares = (batch.targets[name] for name in ("labels", "kinds", "shares"))
        lost = functional.cross_entropy(logits.float(), labels, reduction="none").double()
        sums = torch.zeros(2 * max(1, len(self.languages)), 2, dtype=torch.float64, device=lost.device)
        sums.index_add_(0, kinds, torch.stack([lost, torch.ones_like(lost)], dim=1))
        return {
            "accuracy": (logits.argmax(-1) == labels).sum(),
            "unigram_loss": -shares.clamp(min=1e-12).log().sum(),
            "kinds": sums,
        }

    def measures(self, counts: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """``mlm/loss_alone_de``: nats a token of a language in rows without a translation; ``mlm/loss_translated_de``: in those
        with one. Beside them, ``mlm/unigram_loss`` is what frequencies alone would lose on the same tokens."""
        names = [f"_{language}" for language in self.languages] or [""]
        named = [f"mlm/loss_{kind}{name}" for kind in ("alone", "translated") for name in names]
        return {name: lost / seen for name, (lost, seen) in zip(named, counts["mlm/kinds"].tolist(), strict=True) if seen}

    @torch.no_grad()
    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask; each has the ``side`` that it is in, and its position there."""
        answers = super().predict(learner, batch)
        for answer, first in zip(answers, batch.targets["first"].tolist(), strict=True):
            for mask in answer["masks"]:
                mask["side"] = int(mask["position"] >= first - 1)
                mask["position"] -= first if mask["side"] else 0
        return answers

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Texts with masks to fill, each behind its language as ``de: Ein Text``; behind a tab may stand its translation."""
        return asked_sides(texts, tokenizer, self.languages, self.row_length(self.model.positions))

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        return read_sides(text, self.questions([text], tokenizer), answer, tokenizer)

    def inspect(self, batch: Batch) -> Inspection:
        found = super().inspect(batch)
        translated, languages = batch.targets["translated"].numpy(), batch.targets["languages"].numpy()
        real, positions = cast(Tensor, batch.layout.tokens).numpy(), batch.inputs["positions"].numpy()
        told = [self._told(row) for row in (np.where(real, languages, -1))]
        rows = [
            Shown({f"{line} ({what})" if line == "original" else line: tokens for line, tokens in row.lines.items()})
            for row, what in zip(found.rows, told, strict=True)
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
        return replace(found, rows=rows, rates={**found.rates, **rates})

    def _told(self, languages: NDArray[np.int64]) -> str:
        """The languages of a row, in order."""
        spoken = languages[languages >= 0]
        changes = [0, *(np.flatnonzero(np.diff(spoken)) + 1).tolist()]
        return " > ".join(self.languages[spoken[place]] if self.languages else str(spoken[place]) for place in changes)
