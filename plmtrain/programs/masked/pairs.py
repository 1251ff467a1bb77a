"""Masked language modelling on pairs of segments, with a question about the pair: what next sentence prediction and sentence
order prediction have in common.

A row is two segments. Some of its tokens are predicted, and from its first state it is told whether the second segment is what
follows the first (Devlin et al. 2019, section 3.1; Lan et al. 2020, section 3.1). The loss is the sum of both.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from plmtrain.batch import Batch, Layout, Term
from plmtrain.corruption.masked_rows import Masker
from plmtrain.data.rows.framing import framed, framed_pairs
from plmtrain.data.rows.pair_rows import PairRows, asked_pairs, first_lengths
from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.nn.heads import MaskedLMHead, PairHead, Pooler, TiedHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.masked.filling import mask_questions
from plmtrain.programs.masked.program import MaskedLearner, MaskedProgram
from plmtrain.programs.program import Answer, Carry, Inspection, MakeBackbone, Shown
from plmtrain.settings.masking import MaskingSettings
from plmtrain.settings.models.encoder import EncoderSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

SettingsT = TypeVar("SettingsT", bound=MaskingSettings)


class PairedLearner(MaskedLearner):
    """An encoder with a language-model head, and what tells pairs apart on a summary of the row.

    Args:
        backbone: the encoder.
        head: scores hidden states against its token embeddings.
        pooler: sums up a row at its first token.
        pair_head: scores the sum.
    """

    def __init__(self, backbone: Backbone, head: MaskedLMHead | TiedHead, pooler: Pooler, pair_head: PairHead) -> None:
        super().__init__(backbone, head)
        self.pooler = pooler
        self.pair_head = pair_head

    def verdicts(self, first: Tensor) -> Tensor:
        """Logits of the pair's being as it was, and of its being changed.  # [batch, width] -> [batch, 2]"""
        logits: Tensor = self.pair_head(self.pooler(first[:, None]))
        return logits


class PairedMaskedLM(MaskedProgram[SettingsT]):
    """Predict hidden tokens of a pair of segments, and whether the second follows the first.

    The labels are those of both papers' code: 0 for a pair as it stands in the text, 1 for one that was changed.
    """

    counted = ("tokens",)

    as_it_was: ClassVar[str]
    """What a pair is called whose second segment follows the first."""
    changed: ClassVar[str]
    """What the others are called."""

    def __init__(self, settings: SettingsT, model: ModelSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = self.masker()
        self.format = RowFormat.of(model.family, 2)

    @abstractmethod
    def masker(self) -> Masker:
        """What hides tokens."""

    def row_length(self, sequence_length: int) -> int:
        return sequence_length - self.format.framing

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        rows = cast(PairRows, rows)
        assert rows.labels is not None
        original = framed_pairs(rows, self.format, self.vocabulary)
        masked = self.mask(original, keys)
        return Batch(
            inputs=self._inputs(masked.ids, original.segments),
            targets={
                "positions": torch.from_numpy(masked.positions),
                "labels": torch.from_numpy(masked.labels),
                "pairs": torch.from_numpy(rows.labels),
            },
            layout=Layout.of(original.real),
            samples=torch.from_numpy(keys.samples),
            normalisers={
                self.terms[0]: float(len(masked.positions)),
                self.terms[1]: float(len(rows)),
                "tokens": float(original.lengths.sum()),
            },
        )

    def _inputs(self, ids: NDArray[np.int64], segments: NDArray[np.int64]) -> dict[str, Tensor]:
        inputs = {"ids": torch.from_numpy(ids)}
        if cast(EncoderSettings, self.model).segments > 1:
            inputs["segments"] = torch.from_numpy(segments)
        return inputs

    def collate_for_prediction(self, rows: Rows) -> Batch:
        """Pairs, and texts alone: those whose second segment is empty, or that know of no segments."""
        first = first_lengths(rows)
        alone = first == rows.lengths
        pairs = framed_pairs(asked_pairs(rows), self.format, self.vocabulary)
        single = framed(rows, RowFormat.of(self.model.family, 1), self.vocabulary)
        more = pairs.ids.shape[1] - single.ids.shape[1]
        ids = np.where(
            alone[:, None], np.pad(single.ids, ((0, 0), (0, more)), constant_values=self.vocabulary.padding), pairs.ids
        )
        lengths = np.where(alone, single.lengths, pairs.lengths)
        return Batch(
            inputs=self._inputs(ids, np.where(alone[:, None], 0, pairs.segments)),
            targets={"first": torch.from_numpy(first)},
            layout=Layout.of(np.arange(ids.shape[1]) < lengths[:, None]),
            samples=torch.arange(len(rows)),
            normalisers={},
        )

    def build(self, make: MakeBackbone) -> PairedLearner:
        model = cast(EncoderSettings, self.model)
        initial: dict[str, Any] = {"initial_std": model.initial_std, "initial_truncated": model.initial_truncated}
        backbone = make(model)
        return PairedLearner(
            backbone, self.token_head(backbone), Pooler(backbone.width, **initial), PairHead(backbone.width, **initial)
        )

    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        learner = cast(PairedLearner, learner)
        ids, labels, pairs = batch.inputs["ids"], batch.targets["labels"], batch.targets["pairs"]
        first = torch.arange(len(ids), device=ids.device) * ids.shape[1]
        at = torch.cat([first, batch.targets["positions"]])
        hidden = learner.backbone.encode_at(ids, batch.layout, at, batch.inputs.get("segments"))  # [batch + predicted, width]
        verdicts = learner.verdicts(hidden[: len(ids)])  # [batch, 2]
        logits = learner.scores(hidden[len(ids) :])  # [predicted, vocabulary]
        totals = cross_entropy_sum(logits, labels), cross_entropy_sum(verdicts, pairs)
        counts: tuple[dict[str, Tensor], ...] = ({}, {})
        if not learner.training:
            counts = self.unseen_counts(batch, logits), self._judged(verdicts, pairs)
        return {
            name: Term(total=total, normaliser=batch.normalisers[name], counts=found)
            for name, total, found in zip(self.terms, totals, counts, strict=True)
        }, carry

    def _judged(self, verdicts: Tensor, pairs: Tensor) -> dict[str, Tensor]:
        """Right verdicts, and how often each kind of pair was taken for each."""
        found = verdicts.argmax(-1)
        confusion = torch.bincount(pairs * 2 + found, minlength=4).reshape(2, 2)
        return {"accuracy": (found == pairs).sum(), "confusion": confusion}

    def measures(self, counts: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """``mlm/unseen_loss``: nats a token that was hidden, since those left in place can be copied. Of the pairs, the balanced
        accuracy (the mean of the shares of right verdicts on either kind: 0.5 by chance) with the ends of its 95 % interval."""
        mlm, pair = self.terms
        lost, unseen = counts[f"{mlm}/unseen"].tolist()
        values = {f"{mlm}/unseen_loss": lost / unseen} if unseen else {}
        confusion = counts[f"{pair}/confusion"]
        each = confusion.sum(axis=1)
        if each.all():
            accuracy = float((confusion.diagonal() / each).mean())
            # As if two more of each kind were right and two wrong (Agresti and Coull 1998): else few, all alike, had no spread.
            likely = (confusion.diagonal() + 2) / (each + 4)
            margin = 1.96 * math.sqrt(float((likely * (1 - likely) / (each + 4)).sum())) / 2
            values |= {
                f"{pair}/balanced_accuracy": accuracy,
                f"{pair}/balanced_accuracy_low": max(0.0, accuracy - margin),
                f"{pair}/balanced_accuracy_high": min(1.0, accuracy + margin),
            }
        return values

    @torch.no_grad()
    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask (``plmtrain.programs.masked.filling.filled``), and say of each pair how likely it is to be as it was.

        Returns:
            For each row its ``sample``, its ``masks``, and for a pair the probability under the name of ``as_it_was``.
        """
        learner = cast(PairedLearner, learner)
        first, hidden = batch.targets["first"].tolist(), self.encoded(learner, batch)
        answers = self.fill(learner, batch, hidden)
        shares = learner.verdicts(hidden[:, 0]).float().softmax(-1)[:, 0].tolist()
        lengths = cast(Tensor, batch.layout.tokens).sum(1).tolist()
        between = self.format.framing - 2  # special tokens between the segments of a pair
        for answer, own, length, share in zip(answers, first, lengths, shares, strict=True):
            if length == own + 2:
                continue
            answer[self.as_it_was] = share
            for mask in answer["masks"]:
                mask["position"] -= between if mask["position"] > own else 0
        return answers

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> PairRows:
        """Texts with masks to fill; two with a tab between them are a pair, which may have none."""
        parts = [text.partition("\t") for text in texts]
        for text, (_, tab, _) in zip(texts, parts, strict=True):
            if not tab:
                mask_questions([text], tokenizer)  # which tells of a mask that is missing
        encode = tokenizer.encode_with_specials
        return PairRows.of([(encode(first), encode(second)) for first, _, second in parts], self.vocabulary.padding)

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        found = super().read_out(text, ids, answer, tokenizer)
        if self.as_it_was not in answer:
            return found
        share = answer[self.as_it_was]
        lines = [*found.lines, f"  {self.as_it_was} {share:.1%}, {self.changed} {1 - share:.1%}"]
        return Answer({**found.values, self.as_it_was: share}, lines)

    def inspect(self, batch: Batch) -> Inspection:
        found = super().inspect(batch)
        pairs, lengths = batch.targets["pairs"].tolist(), cast(Tensor, batch.layout.tokens).sum(1)
        names = [self.changed if pair else self.as_it_was for pair in pairs]
        full = batch.inputs["ids"].shape[1]
        rates = {f"pairs {self.changed}": (sum(pairs), len(pairs)), "rows not full": (int((lengths < full).sum()), len(pairs))}
        rows = [
            Shown({f"{line} ({name})" if line == "original" else line: tokens for line, tokens in row.lines.items()})
            for row, name in zip(found.rows, names, strict=True)
        ]
        return replace(found, rows=rows, rates={**rates, **found.rates})
