"""Permutation language modelling: predict tokens in a random order, each from the tokens before it in that order.

Yang et al. 2019 (XLNet), sections 2.2 to 2.5. The input has no masks: the content stream reads every token, and the query stream
predicts the targets from their positions and the tokens before them in the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plmtrain.backbones.two_stream import NOTHING, Memory, TwoStream, remember
from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.corruption.prediction_order import CONTEXT, choose_target_spans, fill_up, in_turn, permuted_ranks
from plmtrain.data.rows.row_formats import Places, RowFormat
from plmtrain.data.rows.stream_segments import FORMAT, segment_pairs
from plmtrain.errors import SettingsError
from plmtrain.keyed_random import several_row_bits
from plmtrain.nn.heads import TiedHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.answering import Answer, Answering, Demonstration
from plmtrain.programs.baseline import Baseline, unigram_loss
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.learner import Learner
from plmtrain.programs.masked.filling import best_at_masks, filled_masks, hide_a_word, mask_questions, read_filled
from plmtrain.programs.program import Carry, MakeBackbone, Program, RowShape
from plmtrain.settings.models.two_stream import TwoStreamSettings
from plmtrain.settings.objectives.plm import PermutationLMSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

PICTURED = 6
"""The number of targets of a row for which ``inspect`` shows the visible tokens."""


class PermutationLMLearner(Learner):
    """Both streams, and the head that scores the vocabulary.

    Args:
        streams: the backbone.
        head: the language-model head.
    """

    def __init__(self, streams: TwoStream, head: TiedHead) -> None:
        super().__init__(streams)
        self.head = head

    @property
    def streams(self) -> TwoStream:
        """The backbone, with its query stream."""
        assert isinstance(self.backbone, TwoStream)
        return self.backbone

    @property
    def token_head(self) -> nn.Module:
        return self.head

    def scores(self, hidden: Tensor) -> Tensor:
        """Return the logits over the vocabulary.  # [..., width] -> [..., vocabulary]"""
        logits: Tensor = self.head(hidden, self.backbone.embedding_weight)
        return logits

    def token_scores(self, inputs: Inputs) -> Tensor:
        """Return the content stream's logits, as transformers' class without a permutation: each position sees its token."""
        return self.scores(self.backbone.encode(inputs))


class PermutationLM(Program[PermutationLMSettings, TwoStreamSettings, PermutationLMLearner]):
    """Predict some tokens of a row in a random order.

    A row is a reused part, which continues the preceding row, followed by two segments
    (``plmtrain.data.rows.stream_segments``). Targets are chosen and ordered separately in the reused part and in the rest. The
    rest sees all of the reused part, which sees nothing of the rest, so the memory of the reused part contains no information
    about later tokens. Special tokens are never targets; sep, cls and document ends have ranks in the order. Unless documents are
    isolated, the documents of a row and of its memory see each other, as in the paper.
    """

    terms = ("plm",)
    has_perplexity = True
    baseline = Baseline("loss", "unigram_loss", "predicted tokens")

    def row_shape(self, sequence_length: int) -> RowShape:
        """Return the shape of a row: the next row starts after the reused part; without one, after the whole text."""
        reuse, numbers = self._reuse(sequence_length), 4  # bytes of a number in fp32
        least = reuse + 2 + FORMAT.framing
        if sequence_length < least:
            raise SettingsError(
                f"rows of {sequence_length} tokens are too short for two segments",
                f"objective.reuse_len={reuse} leaves {sequence_length - reuse}",
                f"lower objective.reuse_len, or raise trainer.sequence_length to {least} or more",
            )
        length = sequence_length - FORMAT.framing
        remembered = self._remembered(sequence_length) if reuse else 0
        return RowShape(
            length=length,
            advance=reuse or length,
            others=0 if self.settings.random_share == 0 else length - reuse,
            # A hidden state for each layer, and the document id.
            carry_bytes=remembered * (self.model.layers * self.model.width * numbers + 8),
        )

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        length = rows.tokens.shape[1] + FORMAT.framing
        reuse = self._reuse(length)
        pairs = segment_pairs(rows, self.vocabulary, keys, reuse=reuse, random_share=self.settings.random_share)
        chosen, ranks = self._targets(pairs.ids, pairs.word_starts, reuse, keys)

        # Rows with fewer targets than others are padded with predictions of their first token, which the loss ignores.
        counts = chosen.sum(axis=1)
        row, column = np.nonzero(chosen)
        turn = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.zeros((len(chosen), counts.max(initial=0)), np.int64)
        places[row, turn] = column
        fresh = np.ones(len(rows), np.bool_) if rows.fresh is None else rows.fresh
        layout = Layout(
            ranks=torch.from_numpy(ranks), documents=None if pairs.documents is None else torch.from_numpy(pairs.documents)
        )
        return Batch(
            inputs=Inputs(ids=torch.from_numpy(pairs.ids), layout=layout, segments=torch.from_numpy(pairs.segments)),
            targets={
                "places": torch.from_numpy(places),
                "positions": torch.from_numpy(row * places.shape[1] + turn),  # in the flattened places
                "labels": torch.from_numpy(pairs.ids[row, column]),
            },
            samples=torch.from_numpy(keys.samples),
            normalisers={"plm": float(len(row))},
            fresh=torch.from_numpy(fresh),
        )

    def _targets(
        self, ids: NDArray[np.int64], word_starts: NDArray[np.bool_], reuse: int, keys: Keys
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Choose the tokens to predict, and the ranks of all tokens, [rows, length] each."""
        settings, length = self.settings, ids.shape[1]
        excluded = self.vocabulary.is_special[ids]
        framing = (ids == self.vocabulary["sep"]) | (ids == self.vocabulary["cls"])
        whole = settings.num_predict or round(length / settings.context)
        rest_targets = whole * (length - reuse) // length
        chosen: list[NDArray[np.bool_]] = []
        ranks: list[NDArray[np.int64]] = []
        for part, budget in ((slice(0, reuse), whole - rest_targets), (slice(reuse, length), rest_targets)):
            purposes = [f"plm.{purpose}.{len(chosen)}" for purpose in ("spans", "tokens", "order")]
            spans, tokens, order = several_row_bits(purposes, keys)
            budgets = np.minimum(budget, (~excluded[:, part]).sum(axis=1))
            targets = choose_target_spans(
                spans, word_starts[:, part], excluded[:, part], budgets, context=settings.context, longest=settings.max_gram
            )
            targets = fill_up(tokens, targets, excluded[:, part], budgets)
            chosen.append(targets)
            ranks.append(permuted_ranks(order, targets | framing[:, part], settings.perm_size or length))
        return np.concatenate(chosen, axis=1), in_turn(*ranks)

    def build(self, make: MakeBackbone) -> PermutationLMLearner:
        backbone = make(self.model)
        assert isinstance(backbone, TwoStream)
        return PermutationLMLearner(backbone, TiedHead(backbone.vocabulary_size))

    def loss(self, learner: PermutationLMLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        inputs, layout, labels = batch.inputs, batch.layout, batch.targets["labels"]
        assert batch.fresh is not None
        memory = _memory(carry, batch.fresh)
        hidden, read = learner.streams.predict(inputs, batch.targets["places"], memory)
        predicted = hidden.flatten(0, 1).index_select(0, batch.targets["positions"])  # [targets, width]
        logits = learner.scores(predicted)
        counts = {}
        if not learner.training:
            counts["accuracy"] = (logits.argmax(-1) == labels).sum()
            counts["tokens"] = torch.bincount(labels, minlength=logits.shape[1])
        term = Term(total=cross_entropy_sum(logits, labels), normaliser=batch.normalisers["plm"], counts=counts)

        length = inputs.ids.shape[1]
        reuse, most = self._reuse(length), self._remembered(length)
        if not reuse or not most:
            return {"plm": term}, {}
        documents = torch.zeros_like(inputs.ids) if layout.documents is None else layout.documents
        new_memory = remember(memory, read, documents, reuse, most)
        return {"plm": term}, {"memory": new_memory.states, "memory_documents": new_memory.documents}

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute ``unigram_loss`` over the predicted tokens, none of which is visible to its own prediction."""
        return unigram_loss("unigram_loss", counts["plm/tokens"], unigram)

    @cached_property
    def answering(self) -> PermutedFilling:
        return PermutedFilling(self.format, self.vocabulary, longest=self.row_shape(self.model.positions).length)

    def inspect(self, batch: Batch) -> Inspection:
        assert batch.inputs.segments is not None
        assert batch.layout.ranks is not None
        ids, segments = batch.inputs.ids.numpy(), batch.inputs.segments.numpy()
        places, ranks = batch.targets["places"].numpy(), batch.layout.ranks.numpy()
        target = np.zeros(ids.shape, np.bool_)
        row, turn = np.divmod(batch.targets["positions"].numpy(), max(1, places.shape[1]))
        target[row, places[row, turn]] = True
        special = self.vocabulary.is_special[ids]
        marks = np.select([target, special], ["target", "special"], "plain")
        rows = [self._shown(ids[one], marks[one], ranks[one], batch.layout.documents, one) for one in range(len(ids))]
        before = np.pad(target, ((0, 0), (1, 1)))
        begins, ends = (np.nonzero(before[:, 1:] & ~before[:, :-1]), np.nonzero(before[:, :-1] & ~before[:, 1:]))
        runs, times = np.unique(ends[1] - begins[1], return_counts=True)
        sizes, rows_of = np.unique(target.sum(axis=1), return_counts=True)
        seen = sum(int((ranks[one][None] < ranks[one][target[one]][:, None]).sum()) for one in range(len(ids)))
        split = np.argmax(segments == 1, axis=1)
        return Inspection(
            rows=rows,
            rates={
                "predicted": (int(target.sum()), int((~special).sum())),
                "specials touched": (int((target & special).sum()), int(special.sum())),
                "seen by a target": (seen, int(target.sum()) * ids.shape[1]),
                "before the second segment": (int(split.sum()), int(ids.size)),
            },
            histograms={
                "predicted per row": dict(zip(sizes.tolist(), rows_of.tolist(), strict=True)),
                "consecutive targets": dict(zip(runs.tolist(), times.tolist(), strict=True)),
            },
            notes=self._notes(ids.shape[1]),
        )

    def _notes(self, length: int) -> list[str]:
        """Explain the lines of ``_shown``."""
        reuse, window = self._reuse(length), self.settings.perm_size
        notes = [
            "? is the predicted token itself: its query sees its place and the tokens shown, never itself. A dot is not seen."
        ]
        if reuse:
            notes.append(
                f"The first {reuse} places (objective.reuse_len) see none of those after them: the next row begins there, and "
                "reads them again. The places after them see all of the first."
            )
        if window is not None and window < length:
            notes.append(f"Windows of {window} places (objective.perm_size) follow each other; the order is random within each.")
        return notes

    def _shown(
        self, ids: NDArray[np.int64], marks: NDArray[np.str_], ranks: NDArray[np.int64], documents: Tensor | None, row: int
    ) -> Shown:
        """Show a row, its targets in the order of prediction, and the tokens that some of them see (first and last included)."""
        order = np.flatnonzero(marks == "target")
        order = order[np.argsort(ranks[order])]
        lines = {
            "row": list(zip(ids.tolist(), marks.tolist(), strict=True)),
            "order": [(token, "target") for token in ids[order].tolist()],
        }
        pictured = np.unique(np.linspace(0, max(0, len(order) - 1), min(PICTURED, len(order))).astype(int))
        for number in pictured.tolist():
            place = order[number]
            seen = ranks < ranks[place]
            if documents is not None:
                seen &= (documents[row] == documents[row, place]).numpy()
            sight = np.where(seen, marks, "blank")
            sight[place] = "asked"  # the query sees the place, never the token
            lines[f"{number + 1}. sees"] = list(zip(ids.tolist(), sight.tolist(), strict=True))
        return Shown(lines)

    def _reuse(self, length: int) -> int:
        """Return the number of tokens in the reused part of a row."""
        return length // 2 if self.settings.reuse_len is None else self.settings.reuse_len

    def _remembered(self, length: int) -> int:
        return 3 * length // 4 if self.settings.mem_len is None else self.settings.mem_len


def _memory(carry: Carry, fresh: Tensor) -> Memory | None:
    """Return the memory of the preceding step, emptied for rows that start a new stream."""
    if not carry:
        return None
    documents = carry["memory_documents"].masked_fill(fresh[:, None], NOTHING)
    # Zero the states too: attention multiplies masked values by zero, and zero times NaN would be NaN.
    return Memory(carry["memory"].masked_fill(fresh[:, None, None, None], 0.0), documents)


class PermutedFilling(Answering[PermutationLMLearner]):
    """Fill the masks of a text with the query stream.

    Args:
        row_format: the format of a text.
        vocabulary: the vocabulary of the rows.
        longest: the maximum number of text tokens in a question.
    """

    def __init__(self, row_format: RowFormat, vocabulary: Vocabulary, longest: int) -> None:
        self.row_format, self.vocabulary, self.longest = row_format, vocabulary, longest

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts in which masks are written as the mask token."""
        return mask_questions(texts, tokenizer)

    def collate(self, rows: Rows) -> Batch:
        """Make the batch of texts as single segments, padded on the left. Masks are last in the order: they see the special
        tokens but not each other."""
        width = rows.tokens.shape[1]
        places = Places(self.row_format, [rows.lengths], width + self.row_format.framing, width)
        ids, segments, real = places.ids(rows.tokens, self.vocabulary), places.segments, places.real
        ranks = np.full(ids.shape, CONTEXT)
        ranks[np.isin(ids, [self.vocabulary["sep"], self.vocabulary["cls"]])] = 0
        ranks[ids == self.vocabulary["mask"]] = 1
        layout = Layout(tokens=torch.from_numpy(real), ranks=torch.from_numpy(ranks))
        return Batch(
            inputs=Inputs(ids=torch.from_numpy(ids), layout=layout, segments=torch.from_numpy(segments)),
            targets={},
            samples=torch.arange(len(rows)),
            normalisers={},
        )

    @torch.no_grad()
    def predict(self, learner: PermutationLMLearner, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask; the answers have the format of ``best_at_masks``."""
        ids, tokens = batch.inputs.ids, batch.layout.tokens
        assert tokens is not None
        masked = ids == self.vocabulary["mask"]
        counts = masked.sum(dim=1)
        masks = masked.nonzero()  # [masks, 2]
        turn = torch.arange(len(masks), device=ids.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        places = ids.new_zeros(len(ids), int(counts.max()) if len(ids) else 0)
        places[masks[:, 0], turn] = masks[:, 1]
        hidden, _ = learner.streams.predict(batch.inputs, places)
        padding = (~tokens).sum(dim=1)  # on the left
        own = torch.stack([masks[:, 0], masks[:, 1] - padding[masks[:, 0]]], dim=1)
        return best_at_masks(own, learner.scores(hidden[masks[:, 0], turn]), batch.samples, self.vocabulary, opening=0)

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        return read_filled(text, ids, answer, tokenizer)

    def demonstrate(self, learner: PermutationLMLearner, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Mask one word in each sentence, and show the model's predictions."""
        hidden, places = hide_a_word(rows, self.vocabulary["mask"])
        return filled_masks(rows, places, self.predict(learner, self.collate(hidden)), tokenizer)
