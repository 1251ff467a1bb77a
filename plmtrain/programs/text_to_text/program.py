"""The base of objectives in which an encoder reads one text and the decoder writes another (Raffel et al. 2020, section 2.4).

As in the paper, the loss is over all tokens that the decoder writes, sentinels and end marks included. Those are easily learnt,
and what stands in the encoder's text can be copied: the loss of the other tokens alone is measured beside it, and compared with
their unigram loss.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from plmtrain.backbones import EncoderDecoderBackbone
from plmtrain.batch import Batch, Inputs, Layout, Term, shift_right
from plmtrain.data.rows.framing import framed
from plmtrain.data.rows.row_formats import Places, RowFormat
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.programs import flops
from plmtrain.programs.baseline import Baseline, unigram_loss
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.program import Carry, MakeBackbone, Program
from plmtrain.programs.text_to_text.learner import EncoderDecoderLearner
from plmtrain.programs.text_to_text.texts import FlatRows, TextPair, grid
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.models.relative_encoder_decoder import RelativeEncoderDecoderSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.text.vocabulary import Vocabulary

SettingsT = TypeVar("SettingsT")


class TextToText(Program[SettingsT, ModelSettings, EncoderDecoderLearner]):
    """Write a text about another one; arguments as in ``Program``."""

    ragged = True
    baseline = Baseline("content_loss", "content_unigram_loss", "content tokens")
    unseen_mark: ClassVar[str] = "masked"
    """The mark of tokens that the encoder reads instead of others, in ``inspect``."""

    continues: ClassVar[bool] = False
    """Whether what is written follows what is read, and no mark stands for it."""

    def __init__(self, settings: SettingsT, model: ModelSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.is_content = ~vocabulary.is_special
        if "unk" in vocabulary.roles:  # an unknown token is text
            self.is_content[vocabulary["unk"]] = True

    @abstractmethod
    def texts(self, rows: FlatRows, keys: Keys) -> TextPair:
        """Make the two texts of each row, as a function of the row and its key alone."""

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        flat = FlatRows(rows)
        pair = self.texts(flat, keys)
        read, written_format = framed(flat.as_rows(pair.read), self.format, self.vocabulary), RowFormat.written(self.model.family)
        written = framed(flat.as_rows(pair.written), written_format, self.vocabulary)
        labels, width = written.ids, int(pair.written.lengths.max(initial=0))
        places = Places(written_format, [pair.written.lengths], labels.shape[1], width)
        unseen = places.filled(grid(pair.unseen, pair.written.lengths, False), [False] * written_format.framing, False)
        content = unseen & self.is_content.take(labels)
        targets: dict[str, NDArray[Any]] = {}
        if written.real is None:
            targets |= {"labels": labels.reshape(-1), "content": content.reshape(-1)}
        else:
            targets |= {"labels": labels[written.real], "content": content[written.real]}
            targets["positions"] = np.flatnonzero(written.real)
        # A decoder's position belongs to the token that it predicts, not to its input token: documents are not shifted.
        decoder = Inputs(
            ids=shift_right(torch.from_numpy(labels), self.decoder_start),
            layout=Layout.of(documents=written.documents, causal=True),
        )
        return Batch(
            inputs=Inputs(ids=torch.from_numpy(read.ids), layout=Layout.of(read.real, read.documents), decoder=decoder),
            targets={name: torch.from_numpy(array) for name, array in targets.items()},
            samples=torch.from_numpy(keys.samples),
            normalisers={self.terms[0]: float(targets["labels"].size)},
        )

    @property
    def decoder_start(self) -> int:
        """The token that the decoder's inputs begin with."""
        return self.vocabulary[self.model.published.decoder_start]

    def build(self, make: MakeBackbone) -> EncoderDecoderLearner:
        backbone = make(self.model)
        assert isinstance(backbone, EncoderDecoderBackbone)
        return EncoderDecoderLearner(backbone, continues=self.continues)

    def loss(self, learner: EncoderDecoderLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        targets, (term,) = batch.targets, self.terms
        hidden = learner.backbone.hidden(batch.inputs).flatten(0, 1)  # [rows * length, width]
        if "positions" in targets:
            hidden = hidden.index_select(0, targets["positions"])  # [tokens, width]
        labels, content, output = targets["labels"], targets["content"], learner.backbone.output_weight
        total, losses = tied_cross_entropy(hidden, output, labels)
        counts = {}
        if not learner.training:
            counts["content"] = torch.stack([losses.masked_fill(~content, 0.0).sum(), content.sum()])
            counts["tokens"] = torch.bincount(labels[content], minlength=len(output))
        return {term: Term(total=total, normaliser=batch.normalisers[term], counts=counts)}, carry

    def flops(self, batch: Batch, vocabulary: int) -> int | None:
        assert isinstance(self.model, EncoderDecoderSettings | RelativeEncoderDecoderSettings)
        (rows, length), decoder = batch.inputs.ids.shape, batch.inputs.decoder
        assert decoder is not None
        both = flops.of_encoder_decoder(self.model, rows, length, decoder.ids.shape[1])
        return both + flops.of_output(self.model.width, len(batch.targets["labels"]), vocabulary)

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute ``content_loss``, in nats a token without sentinels, end marks and what can be copied, and
        ``content_unigram_loss`` of the same tokens."""
        total, tokens = counts[f"{self.terms[0]}/content"].tolist()
        if not tokens:
            return {}
        return {
            "content_loss": total / tokens,
            **unigram_loss("content_unigram_loss", counts[f"{self.terms[0]}/tokens"], unigram),
        }

    def inspect(self, batch: Batch) -> Inspection:
        decoder = batch.inputs.decoder
        assert decoder is not None
        read = batch.inputs.ids.numpy()
        real = np.ones(read.shape, np.bool_) if batch.layout.tokens is None else batch.layout.tokens.numpy()
        shape, positions = decoder.ids.shape, batch.targets.get("positions")
        at = np.arange(decoder.ids.numel()) if positions is None else positions.numpy()
        labels, content, written = (np.zeros(shape, kind) for kind in (np.int64, np.bool_, np.bool_))
        labels.reshape(-1)[at], content.reshape(-1)[at] = batch.targets["labels"].numpy(), batch.targets["content"].numpy()
        written.reshape(-1)[at] = True
        rows = [
            Shown(
                {
                    "input": self._marked(read[row][real[row]], "plain"),
                    "target": self._marked(labels[row][written[row]], "target"),
                }
            )
            for row in range(len(read))
        ]
        whole, targets = int(real.sum()), len(at)
        rates = {
            "content tokens, of targets": (int(content.sum()), targets),
            "special tokens, of inputs": (int((~self.is_content.take(read[real])).sum()), whole),
        }
        histograms = {
            "tokens that the encoder reads": _histogram(real.sum(axis=1)),
            "tokens that the decoder writes": _histogram(written.sum(axis=1)),
        }
        return Inspection(rows=rows, rates=rates, histograms=histograms)

    @cached_property
    def _sentinels(self) -> NDArray[np.bool_]:
        """Whether each token is a sentinel.  # [vocabulary]"""
        flags = np.zeros(self.vocabulary.size, np.bool_)
        flags[list(self.vocabulary.sentinels)] = True
        return flags

    def _marked(self, ids: NDArray[np.int64], mark: str) -> list[tuple[int, str]]:
        marks = np.select([self._sentinels.take(ids), ~self.is_content.take(ids)], [self.unseen_mark, "special"], mark)
        return list(zip(ids.tolist(), marks.tolist(), strict=True))


def _histogram(numbers: NDArray[np.int64]) -> dict[int, int]:
    values, times = np.unique(numbers, return_counts=True)
    return dict(zip(values.tolist(), times.tolist(), strict=True))
