"""The base of masked language modelling on pairs of segments with a classification of the pair: next sentence prediction and
sentence order prediction.

A row is two segments. The model predicts some of its tokens and, from its first hidden state, whether the second segment
follows the first (Devlin et al. 2019, section 3.1; Lan et al. 2020, section 3.1). The loss is the sum of both losses.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.corruption.masked_rows import Masker
from plmtrain.data.rows.framing import framed_pairs
from plmtrain.data.rows.pair_rows import PairRows, asked_pairs, first_lengths
from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.nn.heads import MaskedLMHead, PairHead, Pooler, TiedHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs import flops
from plmtrain.programs.answering import Answer
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.masked.filling import MaskFilling, mask_questions
from plmtrain.programs.masked.program import MaskedLearner, MaskedProgram
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.settings.masking import MaskingSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.encoder import EncoderSettings
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

SettingsT = TypeVar("SettingsT", bound=MaskingSettings)


class PairedLearner(MaskedLearner):
    """An encoder with a language-model head, and a pooler with a head for pairs.

    Args:
        backbone: the encoder.
        head: the language-model head.
        pooler: the dense layer on the first hidden state.
        pair_head: the classifier on the pooler's output.
    """

    def __init__(self, backbone: Backbone, head: MaskedLMHead | TiedHead, pooler: Pooler, pair_head: PairHead) -> None:
        super().__init__(backbone, head)
        self.pooler = pooler
        self.pair_head = pair_head

    @property
    def pooler_layer(self) -> nn.Linear:
        return self.pooler.dense

    def verdicts(self, first: Tensor) -> Tensor:
        """Return the logits of an unchanged and of a changed pair.  # [batch, width] -> [batch, 2]"""
        logits: Tensor = self.pair_head(self.pooler(first[:, None]))
        return logits


class PairedMaskedLM(MaskedProgram[SettingsT, PairedLearner]):
    """Predict masked tokens of a pair of segments, and whether the second follows the first.

    The labels are those of both papers' code: 0 for a pair as in the text, 1 for a changed pair.
    """

    counted = ("tokens",)

    as_it_was: ClassVar[str]
    """The name of pairs whose second segment follows the first."""
    changed: ClassVar[str]
    """The name of the changed pairs."""

    def __init__(self, settings: SettingsT, model: EncoderSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = self.masker()

    @cached_property
    def format(self) -> RowFormat:
        return RowFormat.of(self.model.family, 2)

    @abstractmethod
    def masker(self) -> Masker:
        """Return the function that masks rows."""

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        assert isinstance(rows, PairRows)
        assert rows.labels is not None
        original = framed_pairs(rows, self.format, self.vocabulary)
        masked = self.mask(original, keys)
        return Batch(
            inputs=pair_inputs(self.model, masked.ids, original.segments, original.real),
            targets={
                "positions": torch.from_numpy(masked.positions),
                "labels": torch.from_numpy(masked.labels),
                "pairs": torch.from_numpy(rows.labels),
            },
            samples=torch.from_numpy(keys.samples),
            normalisers={
                self.terms[0]: float(len(masked.positions)),
                self.terms[1]: float(len(rows)),
                "tokens": float(original.lengths.sum()),
            },
        )

    def build(self, make: MakeBackbone) -> PairedLearner:
        initial: dict[str, Any] = {"initial_std": self.model.initial_std, "initial_truncated": self.model.initial_truncated}
        backbone = make(self.model)
        return PairedLearner(
            backbone, self.head(backbone), Pooler(backbone.width, **initial), PairHead(backbone.width, **initial)
        )

    def loss(self, learner: PairedLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        ids, pairs = batch.inputs.ids, batch.targets["pairs"]
        first = torch.arange(len(ids), device=ids.device) * ids.shape[1]
        at = torch.cat([first, batch.targets["positions"]])
        hidden = learner.backbone.encode_at(batch.inputs, at)  # [batch + predicted, width]
        verdicts = learner.verdicts(hidden[: len(ids)])  # [batch, 2]
        mlm, pair = self.terms
        pair_term = Term(
            total=cross_entropy_sum(verdicts, pairs),
            normaliser=batch.normalisers[pair],
            counts={} if learner.training else _pair_counts(verdicts, pairs),
        )
        return {mlm: self.mlm_term(learner, batch, learner.scores(hidden[len(ids) :])), pair: pair_term}, carry

    def flops(self, batch: Batch, vocabulary: int) -> int | None:
        rows = len(batch.samples)
        masked = self.masked_flops(batch, vocabulary, read_besides=rows)
        return None if masked is None else masked + flops.of_pair_head(self.model.width, rows)

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute the measures of masked tokens, and of the pairs the balanced accuracy (the mean of the recalls of both
        classes: 0.5 by chance) with the bounds of its 95 % confidence interval."""
        pair = self.terms[1]
        values = super().measures(counts, unigram)
        confusion = counts[f"{pair}/confusion"]
        each = confusion.sum(axis=1)
        if each.all():
            accuracy = float((confusion.diagonal() / each).mean())
            # Add two right and two wrong answers to each class (Agresti and Coull 1998): few pairs may all be right.
            likely = (confusion.diagonal() + 2) / (each + 4)
            margin = 1.96 * math.sqrt(float((likely * (1 - likely) / (each + 4)).sum())) / 2
            values |= {
                f"{pair}/balanced_accuracy": accuracy,
                f"{pair}/balanced_accuracy_low": max(0.0, accuracy - margin),
                f"{pair}/balanced_accuracy_high": min(1.0, accuracy + margin),
            }
        return values

    @cached_property
    def answering(self) -> PairFilling:
        return PairFilling(self)

    def inspect(self, batch: Batch) -> Inspection:
        inspection = super().inspect(batch)
        assert batch.layout.tokens is not None
        pairs, lengths = batch.targets["pairs"].tolist(), batch.layout.tokens.sum(1)
        names = [self.changed if pair else self.as_it_was for pair in pairs]
        full = batch.inputs.ids.shape[1]
        rates = {f"pairs {self.changed}": (sum(pairs), len(pairs)), "rows not full": (int((lengths < full).sum()), len(pairs))}
        rows = [
            Shown({f"{line} ({name})" if line == "original" else line: tokens for line, tokens in row.lines.items()})
            for row, name in zip(inspection.rows, names, strict=True)
        ]
        return replace(inspection, rows=rows, rates={**rates, **inspection.rates})


def pair_inputs(
    model: EncoderSettings, ids: NDArray[np.int64], segments: NDArray[np.int64], real: NDArray[np.bool_] | None
) -> Inputs:
    """Return the backbone's inputs for pairs, with segments if the model has segment embeddings."""
    segment_ids = torch.from_numpy(segments) if model.tells_segments else None
    return Inputs(ids=torch.from_numpy(ids), layout=Layout.of(real), segments=segment_ids)


def _pair_counts(verdicts: Tensor, pairs: Tensor) -> dict[str, Tensor]:
    """Count the correct answers, and the confusion matrix of the pairs."""
    predicted = verdicts.argmax(-1)
    confusion = torch.bincount(pairs * 2 + predicted, minlength=4).reshape(2, 2)
    return {"accuracy": (predicted == pairs).sum(), "confusion": confusion}


class PairFilling(MaskFilling):
    """Fill the masks of a text or a pair, and classify the pair.

    Args:
        program: gives the row format and the names of the two classes.
    """

    def __init__(self, program: PairedMaskedLM[Any]) -> None:
        single = RowFormat.of(program.model.family, 1)
        super().__init__(single, program.vocabulary, program.row_shape(program.model.positions).length)
        self.model, self.format = program.model, program.format
        self.as_it_was, self.changed = program.as_it_was, program.changed

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> PairRows:
        """Encode texts with masks to fill; two texts with a tab between them are a pair, which needs no mask."""
        parts = [text.partition("\t") for text in texts]
        for text, (_, _, second) in zip(texts, parts, strict=True):
            if not second.strip():
                mask_questions([text], tokenizer)  # raises for a text without a mask
        encode = tokenizer.encode_with_specials
        return PairRows.of([(encode(first), encode(second)) for first, _, second in parts], self.vocabulary.padding)

    def collate(self, rows: Rows) -> Batch:
        """Make the batch of pairs and single texts, which have an empty second segment or no segments."""
        first = first_lengths(rows)
        lacking = self.format.lacking(first == rows.lengths, self.row_format)
        original = framed_pairs(asked_pairs(rows), self.format, self.vocabulary, lacking)
        return Batch(
            inputs=pair_inputs(self.model, original.ids, original.segments, original.real),
            targets={"first": torch.from_numpy(first)},
            samples=torch.arange(len(rows)),
            normalisers={},
        )

    @torch.no_grad()
    def predict(self, learner: MaskedLearner, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask, and compute the probability that each pair is unchanged.

        Returns:
            For each row its ``sample`` and its ``masks``, and for a pair the probability under the name ``as_it_was``.
        """
        assert isinstance(learner, PairedLearner)
        assert batch.layout.tokens is not None
        first, hidden = batch.targets["first"].tolist(), learner.backbone.encode(batch.inputs)
        answers = self.fill(learner, batch, hidden)
        shares = learner.verdicts(hidden[:, 0]).float().softmax(-1)[:, 0].tolist()
        lengths = batch.layout.tokens.sum(1).tolist()
        between = self.format.framing - self.row_format.framing  # special tokens between the segments of a pair
        for answer, own, length, share in zip(answers, first, lengths, shares, strict=True):
            if length == own + self.row_format.framing:
                continue
            answer[self.as_it_was] = share
            for mask in answer["masks"]:
                mask["position"] -= between if mask["position"] > own else 0
        return answers

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        filled = super().read_out(text, ids, answer, tokenizer)
        if self.as_it_was not in answer:
            return filled
        share = answer[self.as_it_was]
        lines = [*filled.lines, f"  {self.as_it_was} {share:.1%}, {self.changed} {1 - share:.1%}"]
        return Answer({**filled.values, self.as_it_was: share}, lines)
