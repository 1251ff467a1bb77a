"""Tasks with one answer for a text or a pair of texts, with the head of each family's published models on one state of the row.

What the answer is, a label or a score, is in ``plmtrain.tasks``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plmtrain.batch import Batch, Layout
from plmtrain.data.rows.row_formats import RowFormat, formatted
from plmtrain.data.tables.examples import ExampleRows
from plmtrain.data.tables.readers import reader_of
from plmtrain.nn.heads import SentenceHead
from plmtrain.programs.program import Answer, Inspection, MakeBackbone, Shown
from plmtrain.programs.task import TaskProgram
from plmtrain.settings.tasks.base import SentenceTaskSettings

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

SentenceTaskT = TypeVar("SentenceTaskT", bound=SentenceTaskSettings)


@dataclass(frozen=True, kw_only=True)
class Published:
    """The sentence head of a family's published models.

    Args:
        reads: the state that stands for a row: of its first token, of its last (rows are padded on the left), or the decoder's
            at the closing token.
        activation: between the two layers.
        drops_state: whether there is a dropout before the first layer.
        dropout: of the head; None for the model's.
        pooled: whether the first layer is pretrained, as the pooler.
    """

    reads: Literal["first", "last", "decoder"] = "first"
    activation: str = "tanh"
    drops_state: bool = False
    dropout: float | None = None
    pooled: bool = False


HEADS: Mapping[str, Published] = {
    "bert": Published(pooled=True),
    "albert": Published(pooled=True, dropout=0.1),
    "roberta": Published(drops_state=True),
    "electra": Published(drops_state=True, activation="gelu"),
    "distilbert": Published(activation="relu", dropout=0.2),
    "xlnet": Published(reads="last", dropout=0.1),
    "bart": Published(reads="decoder", drops_state=True, dropout=0.0),
}
"""By family of models, the head as transformers has it; ELECTRA's own code scores the dropped first state with one layer."""


class SentenceLearner(nn.Module):
    """A backbone and a sentence head.

    Args:
        backbone: what reads the row.
        head: what scores it.
        reads: the state that stands for a row.
        closing: the id of the token that closes one.
    """

    def __init__(self, backbone: Backbone, head: SentenceHead, reads: str, closing: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self._reads, self._closing = reads, closing

    def scores(self, batch: Batch) -> Tensor:
        """Compute the head's outputs.  # [batch, outputs]"""
        ids, layout = batch.inputs["ids"], batch.layout
        hidden = self.backbone.encode(ids, layout, batch.inputs.get("segments"))  # [batch, length, width]
        if self._reads == "decoder":
            state = self._written(ids, layout, hidden)
        else:
            state = hidden[:, 0] if self._reads == "first" else hidden[:, -1]
        scores: Tensor = self.head(state)
        return scores

    def _written(self, ids: Tensor, layout: Layout, memory: Tensor) -> Tensor:
        """The decoder's state where it would write the closing token, having read all before it (Lewis et al. 2020, section
        3.1; as in the authors' code, the closing token also stands in front).  # [batch, width]"""
        before = torch.cat([torch.full_like(ids[:, :1], self._closing), ids[:, :-1]], dim=1)
        decode = cast(Any, self.backbone).decode
        states: Tensor = decode(before, memory, Layout(tokens=layout.tokens, causal=True), layout)
        tokens = torch.ones_like(ids, dtype=torch.bool) if layout.tokens is None else layout.tokens
        return states[torch.arange(len(ids), device=ids.device), tokens.sum(dim=1) - 1]


class SentenceProgram(TaskProgram[SentenceTaskT]):
    """A task of which each row is a text or a pair; subclasses say what the answer is.

    Args:
        settings: the task's.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
        sequence_length: tokens of a row, special ones included; of longer pairs the longer text is cut.
    """

    ragged = True
    counted = ("tokens",)
    in_nats_a_token = False
    targets: str
    """What the right answers are called among a batch's targets."""

    def __init__(self, settings: SentenceTaskT, model: ModelSettings, vocabulary: Vocabulary, sequence_length: int) -> None:
        super().__init__(settings, model, vocabulary)
        self.sequence_length = sequence_length
        self.published = HEADS[model.family]
        self.format = RowFormat.of(model.family, len(settings.text))
        self._segmented = getattr(model, "segments", 0) > 1 or model.kind == "two_stream"
        self._reader = reader_of(settings)

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers the head gives for a row."""

    @abstractmethod
    def answers(self, scores: Tensor) -> list[dict[str, Any]]:
        """Read the head's outputs as JSON-ready answers.

        Args:
            scores: [batch, outputs] in fp32.
        """

    @abstractmethod
    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """Return an answer's cells in the line that ``plmtrain predict`` prints."""

    @abstractmethod
    def worded(self, target: float) -> str:
        """Return a right answer, given as its number, in words."""

    def row_length(self, sequence_length: int) -> int:
        return sequence_length - self.format.framing

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        rows = cast(ExampleRows, rows)
        assert rows.targets is not None
        return self._batch(rows, {self.targets: torch.from_numpy(rows.targets)}, torch.from_numpy(keys.samples))

    def collate_for_prediction(self, rows: Rows) -> Batch:
        return self._batch(rows, {}, torch.arange(len(rows)))

    def _batch(self, rows: Rows, targets: Mapping[str, Tensor], samples: Tensor) -> Batch:
        laid_out = formatted(rows, self.format, self.vocabulary, self.model.positions)
        inputs = {"ids": torch.from_numpy(laid_out.ids)}
        if self._segmented:
            inputs["segments"] = torch.from_numpy(laid_out.segments)
        layout = Layout.of(laid_out.real)
        normalisers = {**dict.fromkeys(self.terms, float(len(rows))), "tokens": float(laid_out.real.sum())}
        return Batch(inputs=inputs, targets=targets, layout=layout, samples=samples, normalisers=normalisers)

    def build(self, make: MakeBackbone) -> SentenceLearner:
        backbone = make(self.model)
        for parameter in backbone.unread_by_encode():
            parameter.requires_grad_(False)
        model = cast(Any, self.model)  # every model that has a head here has these
        dropout = self.published.dropout if self.settings.dropout is None else self.settings.dropout
        dropout = model.dropout if dropout is None else dropout
        head = SentenceHead(
            backbone.width,
            self.outputs,
            self.published.activation,
            dropout_before=dropout if self.published.drops_state else 0.0,
            dropout=dropout,
            initial_std=model.initial_std,
            initial_truncated=getattr(model, "initial_truncated", False),
        )
        return SentenceLearner(backbone, head, self.published.reads, self.vocabulary["sep"])

    def backbone_of(self, learner: nn.Module) -> Backbone:
        return cast(SentenceLearner, learner).backbone

    def pooler_of(self, learner: nn.Module) -> nn.Linear | None:
        return cast(SentenceLearner, learner).head.dense if self.published.pooled else None

    @torch.no_grad()
    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        scores = cast(SentenceLearner, learner).scores(batch).float()
        return [{"sample": sample, **answer} for sample, answer in zip(batch.samples.tolist(), self.answers(scores), strict=True)]

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """A text a line; a pair is two texts with a tab between them. A JSON object has them by column."""
        examples = [self._reader.question(text) for text in texts]
        return self._reader.encode(examples, tokenizer).rows(self.row_length(self.sequence_length)).fetch(np.arange(len(texts)))

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        columns = dict(zip(self.settings.text, self._reader.question(text).texts, strict=True))
        values = {key: value for key, value in answer.items() if key != "sample"}
        return Answer({**columns, **values}, ["\t".join([*self.cells(answer), *columns.values()])])

    def inspect(self, batch: Batch) -> Inspection:
        ids, real = batch.inputs["ids"].numpy(), np.asarray(batch.layout.tokens)
        special = self.vocabulary.is_special[ids]
        rows = [
            Shown(
                {
                    self.worded(target): [
                        (int(token), "special" if mark else "plain") for token, mark in zip(row[kept], marks[kept], strict=True)
                    ]
                }
            )
            for row, kept, marks, target in zip(ids, real, special, batch.targets[self.targets].tolist(), strict=True)
        ]
        lengths, times = np.unique(real.sum(axis=1), return_counts=True)
        return Inspection(
            rows=rows,
            rates={"cut": (int((real.sum(axis=1) == self.sequence_length).sum()), len(ids))},
            histograms={"tokens in a row": dict(zip(lengths.tolist(), times.tolist(), strict=True))},
        )
