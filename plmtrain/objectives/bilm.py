"""Language modelling in two directions (Peters et al. 2018, sections 3.1 and 3.4).

Each stream of the corpus is read from its beginning by one LSTM, and from its end by another, a row of each in a step. Both
therefore carry their states over the whole stream, and neither ever reads a word that it still has to predict: with one row for
both directions, the state of the right-to-left LSTM would come from the row before, to the left of what it predicts next.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plmtrain.backbones.bilstm import BiLSTM, BiState
from plmtrain.batch import Batch, Inputs, Term
from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.keyed_random import Keys, row_bits
from plmtrain.nn.dropout import dropout
from plmtrain.nn.word_softmax import WordSoftmax, log_expected, log_uniform_sample
from plmtrain.programs.baseline import Baseline, unigram_loss
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import Carry, MakeBackbone, Program, RowShape
from plmtrain.programs.spelling import with_spellings
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.settings.objectives.bilm import BidirectionalLMSettings
from plmtrain.text.spelling import BEGIN_SENTENCE

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows

DIRECTIONS = ("forward", "backward")


class BidirectionalLMLearner(Learner):
    """A character CNN, two LSTMs, and the output layer that they share.

    Args:
        bilstm: the backbone.
        head: the output layer.
    """

    def __init__(self, bilstm: BiLSTM, head: WordSoftmax) -> None:
        super().__init__(bilstm)
        self.head = head

    @property
    def bilstm(self) -> BiLSTM:
        """The backbone, with its states."""
        assert isinstance(self.backbone, BiLSTM)
        return self.backbone

    @property
    def token_head(self) -> nn.Module:
        return self.head

    def token_scores(self, inputs: Inputs) -> Tensor:
        """Return the logits of the next word at each position, which is seen with the words before it."""
        hidden = self.backbone.encode(inputs)
        scores: Tensor = self.head(hidden[..., : self.bilstm.settings.projection])
        return scores


class BidirectionalLM(Program[BidirectionalLMSettings, BiLSTMSettings, BidirectionalLMLearner]):
    """Predict each word from those before it, and from those after it.

    A row has one word more than the model's: in each direction it is the target of the last word that is read, and the first to
    be read in the next row. The loss is the mean of both directions, as in the authors' code.
    """

    terms = DIRECTIONS
    unit = "nats a word, the mean of both directions"
    baseline = Baseline("text_loss", "unigram_loss", "words in both directions")

    @cached_property
    def format(self) -> RowFormat:
        """Nothing stands around running text."""
        return RowFormat.of(self.model.family, 0)

    def row_shape(self, sequence_length: int) -> RowShape:
        """Return the shape of a row, whose carry has the output and the cells of every layer in fp32."""
        numbers, model = 4, self.model
        state = model.layers * 2 * (model.projection + model.cells) * numbers
        return RowShape(length=sequence_length + 1, advance=sequence_length, carry_bytes=state)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        assert rows.others is not None
        assert rows.times is not None
        both = _read(rows, backwards=False), _read(rows.others, backwards=True)
        spelt = [spellings for _, _, spellings in both if spellings is not None]
        words = np.concatenate(spelt, axis=1) if spelt else None
        inputs = Inputs(ids=torch.from_numpy(np.concatenate([read for read, _, _ in both], axis=1)))
        targets = {name: np.ascontiguousarray(labels).reshape(-1) for name, (_, labels, _) in zip(DIRECTIONS, both, strict=True)}
        draws: dict[str, NDArray[np.int64] | NDArray[np.float32]] = {}
        size, count = self.vocabulary.size, self.settings.negatives
        if count is not None and 2 * count < size:  # else all words cost hardly more
            # All rows of a step are of one time, on whatever process they are: they share the sample.
            step = Keys(keys.seed, keys.epochs[:1], rows.times[:1])
            sample, tries = log_uniform_sample(row_bits("bilm.negatives", step), size, count)
            draws = {"sample": sample, "sample_expected": log_expected(sample, size, tries)}
            draws |= {f"{name}_expected": log_expected(each, size, tries) for name, each in targets.items()}
        return Batch(
            inputs=with_spellings(inputs, self.model, self.vocabulary, words),
            targets={name: torch.from_numpy(each) for name, each in targets.items()},
            samples=torch.from_numpy(keys.samples),
            normalisers={name: float(each.size) for name, each in targets.items()},
            draws={name: torch.from_numpy(each) for name, each in draws.items()},
            fresh=torch.from_numpy(rows.times == 0),
        )

    def build(self, make: MakeBackbone) -> BidirectionalLMLearner:
        backbone = make(self.model)
        assert isinstance(backbone, BiLSTM)
        return BidirectionalLMLearner(backbone, WordSoftmax(self.model.projection, backbone.vocabulary_size))

    def loss(self, learner: BidirectionalLMLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        assert batch.fresh is not None
        vectors = learner.bilstm.vectors(batch.inputs)
        length = vectors.shape[1] // 2  # the words of one direction, then those of the other
        layers, state = learner.bilstm.run(vectors[:, :length], vectors[:, length:], _state(carry, batch.fresh))
        terms = {}
        for name, output in zip(DIRECTIONS, layers[-1], strict=True):
            hidden = dropout(output, self.model.dropout, learner.training).flatten(0, 1)  # [rows * length, projection]
            terms[name] = self._term(name, learner, hidden, batch)
        return terms, {"outputs": state.outputs, "cells": state.cells}

    def _term(self, name: str, learner: BidirectionalLMLearner, hidden: Tensor, batch: Batch) -> Term:
        head, labels, draws = learner.head, batch.targets[name], batch.draws
        counts = {}
        if learner.training and draws:
            total = head.sampled_loss(hidden, labels, draws[f"{name}_expected"], draws["sample"], draws["sample_expected"])
        else:
            total, losses = head.loss(hidden, labels)
            if not learner.training:
                marks = torch.tensor([self.vocabulary["bos"], self.vocabulary["eos"]], device=labels.device)
                text = ~torch.isin(labels, marks)
                sums = [losses.sum(), losses.new_tensor(len(losses)), losses.masked_fill(~text, 0.0).sum(), text.sum()]
                counts["text"] = torch.stack([each.double() for each in sums])
                counts["words"] = torch.bincount(labels[text], minlength=len(head.bias))
        return Term(total=total, normaliser=batch.normalisers[name], weight=0.5, counts=counts)

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute for each direction its ``perplexity`` over all that is predicted, as in the authors' code, its ``text_loss``,
        in nats a word without the marks of sentences, and the ``unigram_loss`` of the same words; and the means of both."""
        measured: dict[str, float] = {}
        for name in DIRECTIONS:
            whole, predicted, total, words = counts[f"{name}/text"].tolist()
            if not words:
                return {}
            perplexity = float(np.exp(min(whole / predicted, 700.0)))
            measured |= {f"{name}/perplexity": perplexity, f"{name}/text_loss": total / words}
            measured |= unigram_loss(f"{name}/unigram_loss", counts[f"{name}/words"], unigram)
        for measure in ("text_loss", "unigram_loss"):
            if all(f"{name}/{measure}" in measured for name in DIRECTIONS):
                measured[measure] = sum(measured[f"{name}/{measure}"] for name in DIRECTIONS) / 2
        return measured

    def inspect(self, batch: Batch) -> Inspection:
        assert batch.inputs.spellings is not None
        count, ids = len(batch.samples), batch.inputs.ids.numpy()
        read = dict(zip(DIRECTIONS, np.split(ids, 2, axis=1), strict=True))
        predicted = {name: batch.targets[name].numpy().reshape(count, -1) for name in DIRECTIONS}
        rows = []
        for row in range(count):
            lines = {}
            for name in DIRECTIONS:
                order = slice(None, None, 1 if name == "forward" else -1)  # as in the text
                lines[f"{name} reads"] = self._marked(read[name][row, order], "plain")
                lines[f"{name} predicts"] = self._marked(predicted[name][row, order], "target")
            rows.append(Shown(lines))
        every, unknown = np.concatenate([each.reshape(-1) for each in predicted.values()]), self.vocabulary["unk"]
        lengths, times = np.unique((batch.inputs.spellings.numpy() < BEGIN_SENTENCE).sum(axis=1), return_counts=True)
        sample = batch.draws.get("sample")
        compared = "all words of the vocabulary" if sample is None else f"{len(sample):,} words, the same for the whole step"
        return Inspection(
            rows=rows,
            rates={"unknown words predicted": (int((every == unknown).sum()), len(every))},
            histograms={"bytes of the different words that are read": dict(zip(lengths.tolist(), times.tolist(), strict=True))},
            notes=[
                "After each word that is read, the next one to its right is predicted; in the other direction, to its left.",
                "The two directions are at different places: one goes on to the end of its stream, the other to its beginning.",
                f"In training a word is compared with {compared}. Every word is read by its letters, also one that is unknown.",
            ],
        )

    def _marked(self, ids: NDArray[np.int64], mark: str) -> list[tuple[int, str]]:
        special = self.vocabulary.is_special[ids] & (ids != self.vocabulary["unk"])
        return [(token, "special" if is_special else mark) for token, is_special in zip(ids.tolist(), special, strict=True)]


def _read(rows: Rows, *, backwards: bool) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8] | None]:
    """Return what a direction reads, in its order, what it predicts after each word, and the bytes of unknown words read."""
    tokens, spellings = rows.tokens, rows.spellings
    if backwards:
        tokens, spellings = tokens[:, ::-1], None if spellings is None else spellings[:, ::-1]
    return tokens[:, :-1], tokens[:, 1:], None if spellings is None else spellings[:, :-1]


def _state(carry: Carry, fresh: Tensor) -> BiState | None:
    """Return the state after the preceding step, zero for rows that start a new stream."""
    if not carry:
        return None
    at_rest = fresh[:, None, None, None]
    return BiState(carry["outputs"].masked_fill(at_rest, 0.0), carry["cells"].masked_fill(at_rest, 0.0))
