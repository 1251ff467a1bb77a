"""The likelihood of texts under every kind of language model: the loss of each token, given the tokens before it.

A decoder, the decoder of an encoder-decoder, and XLNet's query stream read a text from left to right. An encoder sees both sides:
the sum of its losses is a pseudo-log-likelihood (Salazar et al. 2020, section 2.1), which is no probability of the text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.backbones import Backbone, EncoderDecoderBackbone
from plmtrain.backbones.decoder import Decoder
from plmtrain.backbones.two_stream import TwoStream
from plmtrain.batch import Inputs, Layout, shift_right
from plmtrain.data.rows.row_formats import Places, RowFormat
from plmtrain.errors import SettingsError
from plmtrain.nn.heads import MaskedLMHead, TiedHead
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.scoring.prompting import Prompting
from plmtrain.settings.models.disentangled import DisentangledSettings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.stopping import safe_point

if TYPE_CHECKING:
    from plmtrain.programs.learner import Learner
    from plmtrain.settings.scoring.base import AlsoHidden
    from plmtrain.text.vocabulary import Vocabulary

Reading = Callable[[], AbstractContextManager[object]]
"""Makes the context in which the model reads, which decides its precision; losses are in fp32."""

Losses = NDArray[np.float64]
"""[scored tokens] negative log-likelihoods, in nats."""


@dataclass(frozen=True, eq=False)
class Continuation:
    """A text of which some tokens at the end are scored.

    Args:
        tokens: [tokens] token ids, without special tokens around them.
        word_starts: [tokens] whether a token begins a word.
        first: the first token that is scored; those before it are its context.
    """

    tokens: NDArray[np.int64]
    word_starts: NDArray[np.bool_]
    first: int = 0

    @property
    def scored(self) -> int:
        """The number of scored tokens."""
        return len(self.tokens) - self.first


class _Row(NamedTuple):
    """A row of the model: a text, and the places of the tokens that are scored in it.

    Args:
        asked: the text.
        first, end: the scored tokens.
    """

    asked: Continuation
    first: int
    end: int


class Likelihood(ABC):
    """The losses of tokens under a model.

    Args:
        backbone: the model, in eval mode.
        vocabulary: the ids of the special tokens.
        batch_tokens: the most tokens that the model reads at a time; a longer row is read alone.
        reading: the context in which the model reads.
    """

    name: str
    """The name of the sum of log-probabilities."""
    is_probability: bool = True
    """Whether the exponential of that sum is the probability of a text."""
    notes: Sequence[str] = ()
    """Remarks on the tokens that are scored."""

    def __init__(self, backbone: Backbone, vocabulary: Vocabulary, batch_tokens: int, reading: Reading = nullcontext) -> None:
        self.backbone, self.vocabulary = backbone, vocabulary
        self.batch_tokens, self._reading = batch_tokens, reading

    @property
    @abstractmethod
    def longest(self) -> int:
        """The most tokens of a text."""

    @torch.no_grad()
    def losses(self, asked: Sequence[Continuation]) -> list[Losses]:
        """Return the losses of the scored tokens of each text; equal texts are read once.

        Args:
            asked: texts of up to ``longest`` tokens.
        """
        keys = [(text.tokens.tobytes(), text.first) for text in asked]
        different = dict(zip(reversed(keys), reversed(asked), strict=True))
        rows = [(key, row) for key, text in different.items() for row in self._rows(text)]
        rows.sort(key=lambda pair: (-len(pair[1].asked.tokens), pair[0], pair[1].first))
        parts: dict[tuple[bytes, int], list[tuple[int, Losses]]] = {key: [] for key in different}
        for batch in self._batches(rows):
            safe_point()
            scored = self._scored([row for _, row in batch]).double().cpu().numpy()
            ends = np.cumsum([row.end - row.first for _, row in batch])
            for (key, row), losses in zip(batch, np.split(scored, ends[:-1]), strict=True):
                parts[key].append((row.first, losses))
        whole = {
            key: np.concatenate([np.zeros(0), *(losses for _, losses in sorted(pieces, key=lambda part: part[0]))])
            for key, pieces in parts.items()
        }
        return [whole[key] for key in keys]

    def _batches(self, rows: Sequence[tuple[tuple[bytes, int], _Row]]) -> Iterator[Sequence[tuple[tuple[bytes, int], _Row]]]:
        """Yield rows of similar lengths, the longest first."""
        start = 0
        while start < len(rows):
            size = max(1, self.batch_tokens // max(1, len(rows[start][1].asked.tokens)))
            yield rows[start : start + size]
            start += size

    def _rows(self, text: Continuation) -> list[_Row]:
        """Return the rows that score a text."""
        return [_Row(text, text.first, len(text.tokens))] if text.scored else []

    @abstractmethod
    def _scored(self, rows: Sequence[_Row]) -> Tensor:
        """Return the losses of the scored tokens of some rows, one row after another.  # [scored tokens]"""

    def _read(self, read: Callable[[], Tensor]) -> Tensor:
        with self._reading():
            return read().float()

    def _on_device(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.backbone.embedding_weight.device)


def _padded(texts: Sequence[NDArray[np.int64]], padding: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return texts side by side, [rows, longest], and their lengths."""
    lengths = np.array([len(text) for text in texts])
    ids = np.full((len(texts), max(1, int(lengths.max()))), padding)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
    return ids, lengths


def _marks(rows: Sequence[_Row], width: int) -> NDArray[np.bool_]:
    """Mark the scored tokens.  # [rows, width]"""
    place = np.arange(width)
    return np.stack([(place >= row.first) & (place < row.end) for row in rows])


class DecoderLikelihood(Likelihood):
    """From left to right; before the first token of a text without context stands the end of a document.

    Where no token ends documents, as in GPT-1's published vocabulary, that first token is not scored.
    """

    name = "log-likelihood"
    backbone: Decoder

    def __init__(self, backbone: Backbone, vocabulary: Vocabulary, batch_tokens: int, reading: Reading = nullcontext) -> None:
        super().__init__(backbone, vocabulary, batch_tokens, reading)
        if not vocabulary.ends_documents:
            self.notes = ["no token ends documents: the first token of a text without context is not scored"]

    @property
    def longest(self) -> int:
        return self.backbone.settings.positions

    def _rows(self, text: Continuation) -> list[_Row]:
        first = text.first if self.vocabulary.ends_documents else max(1, text.first)
        return [_Row(text, first, len(text.tokens))] if first < len(text.tokens) else []

    def _scored(self, rows: Sequence[_Row]) -> Tensor:
        texts = [row.asked.tokens if row.first else np.append(self.vocabulary.document_end, row.asked.tokens) for row in rows]
        ids, _ = _padded(texts, self.vocabulary.padding)
        # A token is predicted at the position before it.
        at = [
            (row.first or 1) - 1 + np.arange(row.end - row.first) + number * (ids.shape[1] - 1) for number, row in enumerate(rows)
        ]
        labels = [row.asked.tokens[row.first : row.end] for row in rows]
        inputs = Inputs(ids=self._on_device(np.ascontiguousarray(ids[:, :-1])), layout=Layout(causal=True))
        hidden = self._read(lambda: self.backbone.encode_at(inputs, self._on_device(np.concatenate(at))))
        return tied_cross_entropy(hidden, self.backbone.embedding_weight, self._on_device(np.concatenate(labels)))[1]


class EncoderDecoderLikelihood(Likelihood):
    """The decoder writes the text from left to right; the encoder reads its context, in the way of the model's training.

    Args:
        backbone, vocabulary, batch_tokens, reading: as in ``Likelihood``.
        prompting: what is read, and what is written before the text.
    """

    name = "log-likelihood of the decoder"
    backbone: EncoderDecoderBackbone

    def __init__(
        self, backbone: Backbone, vocabulary: Vocabulary, batch_tokens: int, reading: Reading, prompting: Prompting
    ) -> None:
        super().__init__(backbone, vocabulary, batch_tokens, reading)
        self._prompting, self._family = prompting, backbone.settings.published
        self._framing = RowFormat.of(backbone.settings.family, 1).framing

    @property
    def longest(self) -> int:
        extra = 0 if self._prompting.restores else self._prompting.extra  # a context is shorter than the whole
        return self.backbone.settings.positions - self._framing - extra

    def _scored(self, rows: Sequence[_Row]) -> Tensor:
        pairs = [(row.asked.tokens[: row.first], row.asked.tokens[row.first : row.end]) for row in rows]
        read, written, at = self._prompting.rows(pairs, self.backbone.settings.family, self.vocabulary)
        labels, start = self._on_device(written.ids), self.vocabulary[self._family.decoder_start]
        inputs = Inputs(
            ids=self._on_device(read.ids),
            layout=Layout(tokens=self._on_device(read.real)),
            decoder=Inputs(ids=shift_right(labels, start), layout=Layout(causal=True)),
        )
        hidden = self._read(lambda: self.backbone.hidden(inputs).flatten(0, 1)[self._on_device(at)])
        return tied_cross_entropy(hidden, self.backbone.output_weight, labels.flatten()[self._on_device(at)])[1]


class HeadLikelihood(Likelihood):
    """A likelihood under a backbone whose language-model ``head`` has its own weights; other arguments as in ``Likelihood``."""

    def __init__(
        self, backbone: Backbone, vocabulary: Vocabulary, batch_tokens: int, reading: Reading, head: MaskedLMHead | TiedHead
    ) -> None:
        super().__init__(backbone, vocabulary, batch_tokens, reading)
        self._head = head
        self._format = RowFormat.of(backbone.settings.family, 1)

    @property
    def longest(self) -> int:
        return self.backbone.settings.positions - self._format.framing

    def _losses(self, hidden: Tensor, labels: NDArray[np.int64]) -> Tensor:
        """Return the losses of labels.  # [n, width], [n] -> [n]"""
        table, wanted = self.backbone.embedding_weight, self._on_device(labels)
        return functional.cross_entropy(self._head(hidden, table).float(), wanted, reduction="none")


class PseudoLikelihood(HeadLikelihood):
    """Each token in turn is hidden, and predicted from all others of the text.

    A word of several tokens is easily guessed from the rest of it, so that long rare words would count as likely: by default the
    tokens after the predicted one in its word are hidden too (Kauf and Ivanova 2023).

    Args:
        backbone, vocabulary, batch_tokens, reading, head: as in ``HeadLikelihood``.
        also_hidden: which other tokens of the word are hidden.
    """

    name = "pseudo-log-likelihood"
    is_probability = False

    def __init__(
        self,
        backbone: Backbone,
        vocabulary: Vocabulary,
        batch_tokens: int,
        reading: Reading,
        head: MaskedLMHead | TiedHead,
        also_hidden: AlsoHidden = "rest_of_word",
    ) -> None:
        super().__init__(backbone, vocabulary, batch_tokens, reading, head)
        self._also_hidden = also_hidden

    def _rows(self, text: Continuation) -> list[_Row]:
        return [_Row(text, place, place + 1) for place in range(text.first, len(text.tokens))]

    def _hidden(self, row: _Row) -> slice:
        """Return the tokens that are hidden when one is predicted."""
        if self._also_hidden == "none":
            return slice(row.first, row.end)
        starts = np.flatnonzero(row.asked.word_starts)
        after = starts[starts > row.first]
        end = int(after[0]) if len(after) else len(row.asked.tokens)
        if self._also_hidden == "rest_of_word":
            return slice(row.first, end)
        before = starts[starts <= row.first]
        return slice(int(before[-1]) if len(before) else 0, end)

    def _scored(self, rows: Sequence[_Row]) -> Tensor:
        ids, lengths = _padded([row.asked.tokens for row in rows], self.vocabulary.padding)
        for number, row in enumerate(rows):
            ids[number, self._hidden(row)] = self.vocabulary["mask"]
        places = Places(self._format, [lengths], ids.shape[1] + self._format.framing, ids.shape[1])
        at = np.flatnonzero(places.filled(_marks(rows, ids.shape[1]), [False] * self._format.framing, False))
        inputs = Inputs(ids=self._on_device(places.ids(ids, self.vocabulary)), layout=Layout(tokens=self._on_device(places.real)))
        hidden = self._read(lambda: self.backbone.predicting_at(inputs, self._head, self._on_device(at)))
        return self._losses(hidden, np.array([row.asked.tokens[row.first] for row in rows]))


class TwoStreamLikelihood(HeadLikelihood):
    """XLNet from left to right: the query stream predicts each token from those before it and the special ones."""

    name = "log-likelihood"
    backbone: TwoStream

    def _scored(self, rows: Sequence[_Row]) -> Tensor:
        ids, lengths = _padded([row.asked.tokens for row in rows], self.vocabulary.padding)
        width = ids.shape[1]
        places = Places(self._format, [lengths], width + self._format.framing, width)
        in_turn = np.broadcast_to(np.arange(1, width + 1), ids.shape)
        ranks = places.filled(in_turn, [0] * self._format.framing, 0)
        marks = places.filled(_marks(rows, width), [False] * self._format.framing, False)
        scored = marks.sum(axis=1)
        queries = np.zeros((len(rows), int(scored.max())), np.int64)  # rows with fewer ask for their first place besides
        asked = np.arange(queries.shape[1]) < scored[:, None]
        queries[asked] = np.nonzero(marks)[1]
        inputs = Inputs(
            ids=self._on_device(places.ids(ids, self.vocabulary)),
            layout=Layout(tokens=self._on_device(places.real), ranks=self._on_device(ranks)),
            segments=self._on_device(places.segments),
        )
        hidden = self._read(lambda: self.backbone.predict(inputs, self._on_device(queries))[0][self._on_device(asked)])
        return self._losses(hidden, np.concatenate([row.asked.tokens[row.first : row.end] for row in rows]))


def likelihood_of(
    learner: Learner,
    vocabulary: Vocabulary,
    *,
    batch_tokens: int,
    also_hidden: AlsoHidden | None = None,
    reading: Reading = nullcontext,
) -> Likelihood:
    """Return how the likelihood of texts is computed under a learner.

    Args:
        learner: in eval mode, on its device.
        vocabulary: the ids of the special tokens.
        batch_tokens: the most tokens that it reads at a time.
        also_hidden: for an encoder, which tokens are hidden besides the predicted one.
        reading: the context in which it reads.

    Raises:
        SettingsError: if it has no language-model head, or ``also_hidden`` is not for its kind of model.
    """
    likelihood = _left_to_right(learner, vocabulary, batch_tokens, reading)
    if likelihood is not None and also_hidden is not None:
        what = "only an encoder predicts tokens that are hidden"
        raise SettingsError(what, f"scoring.also_hidden={also_hidden}", "omit scoring.also_hidden for this model")
    if likelihood is None:
        likelihood = _of_encoder(learner, vocabulary, batch_tokens, reading, also_hidden or "rest_of_word")
    if likelihood is None:
        what = "the model has no language-model head, so that it gives no likelihood of texts"
        raise SettingsError(what, type(learner).__name__, "name a run of a language-model objective")
    return likelihood


def _left_to_right(learner: Learner, vocabulary: Vocabulary, batch_tokens: int, reading: Reading) -> Likelihood | None:
    backbone, head = learner.backbone, learner.token_head
    if isinstance(backbone, TwoStream) and isinstance(head, TiedHead):
        return TwoStreamLikelihood(backbone, vocabulary, batch_tokens, reading, head)
    if set(learner.children()) != {backbone}:
        return None  # the output layer of a classifier's backbone is no longer trained
    if isinstance(backbone, Decoder):
        return DecoderLikelihood(backbone, vocabulary, batch_tokens, reading)
    if isinstance(backbone, EncoderDecoderBackbone):
        return EncoderDecoderLikelihood(backbone, vocabulary, batch_tokens, reading, Prompting.of(learner, vocabulary))
    return None


def _of_encoder(
    learner: Learner, vocabulary: Vocabulary, batch_tokens: int, reading: Reading, also_hidden: AlsoHidden
) -> Likelihood | None:
    models = learner.models()
    for name, modules in models.items():
        (backbone,) = (module for module in modules if isinstance(module, Backbone))
        head = _head_among(modules)
        if head is not None and isinstance(backbone.settings, EncoderSettings | DisentangledSettings):
            likelihood = PseudoLikelihood(backbone, vocabulary, batch_tokens, reading, head, also_hidden)
            if len(models) > 1:
                likelihood.name += f" of the {name}"
            return likelihood
    return None


def _head_among(modules: Sequence[nn.Module]) -> MaskedLMHead | TiedHead | None:
    return next((module for module in modules if isinstance(module, MaskedLMHead | TiedHead)), None)
