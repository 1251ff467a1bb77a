"""BART: restore a whole row of text from a corrupted one (Lewis et al. 2020, section 2).

The encoder reads the corrupted row, the decoder writes the row as it was, each token from those before it. All tokens of the row
are predicted, those that were not corrupted too: that is the paper's loss. Copying is soon learnt, so the loss of the corrupted
tokens alone is told beside it, without a weight.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.backbones.encoder_decoder import EncoderDecoder
from plmtrain.batch import Batch, Layout, Term
from plmtrain.corruption.noising import DELETED, HIDDEN, Noiser
from plmtrain.data.rows.framing import framed
from plmtrain.data.rows.rows import side_by_side
from plmtrain.generation import EncoderDecoderWriter, Specials, write
from plmtrain.keyed_random import Keys
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.programs.denoising.inspection import noise_inspection
from plmtrain.programs.program import Answer, Carry, Demonstration, Inspection, MakeBackbone, Program
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.objectives.bart import BartSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


class BartLearner(nn.Module):
    """An encoder and a decoder; the vocabulary is scored against the token embeddings, without a bias.

    Args:
        backbone: both of them.
    """

    def __init__(self, backbone: EncoderDecoder) -> None:
        super().__init__()
        self.backbone = backbone


class Bart(Program[BartSettings]):
    """Write a row from its corrupted form."""

    terms = ("denoising", "corrupted")
    ragged = True

    def __init__(self, settings: BartSettings, model: ModelSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.noise = Noiser(settings, vocabulary, longest=model.positions)
        self.generation = GenerationSettings()

    def row_length(self, sequence_length: int) -> int:
        return sequence_length - self.format.framing

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original = framed(rows, self.format, self.vocabulary)
        noised = self.noise(original, keys)
        labels, marks = original.ids, noised.marks
        inputs = {"ids": noised.ids, "decoder_ids": self._shifted(labels)}
        targets: dict[str, NDArray[Any]] = {"origins": noised.origins, "marks": marks}
        corrupted = marks & (HIDDEN | DELETED) != 0
        if original.documents is not None:
            # A decoder's position stands for the token that it writes, not for the one that it reads.
            inputs["decoder_documents"] = original.documents
        if original.real is None:
            targets |= {"labels": labels.reshape(-1), "corrupted": corrupted.reshape(-1)}
        else:
            written = np.flatnonzero(original.real)
            targets |= {"positions": written, "labels": labels[original.real], "corrupted": corrupted[original.real]}
        return Batch(
            inputs={name: torch.from_numpy(array) for name, array in inputs.items()},
            targets={name: torch.from_numpy(array) for name, array in targets.items()},
            layout=Layout.of(noised.real, noised.documents),
            samples=torch.from_numpy(keys.samples),
            normalisers={"denoising": float(targets["labels"].size), "corrupted": float(np.sum(corrupted))},
        )

    def _shifted(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """What the decoder reads while it writes rows: the closing token first, and then the row but for its last token."""
        shifted = np.empty_like(labels)
        shifted[:, 0] = self.vocabulary["sep"]
        shifted[:, 1:] = labels[:, :-1]
        return shifted

    def build(self, make: MakeBackbone) -> BartLearner:
        return BartLearner(cast(EncoderDecoder, make(self.model)))

    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        backbone, targets = self.backbone_of(learner), batch.targets
        written = self._written(backbone, batch).flatten(0, 1)  # [rows * length, width]
        if "positions" in targets:
            written = written.index_select(0, targets["positions"])  # [tokens, width]
        total, losses = tied_cross_entropy(written, backbone.embedding_weight, targets["labels"])
        corrupted = torch.sum(losses * targets["corrupted"])
        normalisers = batch.normalisers
        return {
            "denoising": Term(total=total, normaliser=normalisers["denoising"]),
            "corrupted": Term(total=corrupted, normaliser=normalisers["corrupted"], weight=0.0),
        }, carry

    def _written(self, backbone: EncoderDecoder, batch: Batch) -> Tensor:
        """The decoder's states behind its inputs.  # [rows, length, width]"""
        memory = backbone.encode(batch.inputs["ids"], batch.layout)
        layout = Layout(causal=True, documents=batch.inputs.get("decoder_documents"))
        return backbone.decode(batch.inputs["decoder_ids"], memory, layout, batch.layout)

    def backbone_of(self, learner: nn.Module) -> EncoderDecoder:
        return cast(BartLearner, learner).backbone

    def writing(self, chosen: GenerationSettings) -> Bart:
        other = copy.copy(self)
        other.generation = chosen
        return other

    @torch.no_grad()
    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Write each row anew.

        Returns:
            For each row its ``sample`` and the ids that were ``written``, without the tokens that frame them.
        """
        backbone, ids, chosen = self.backbone_of(learner), batch.inputs["ids"], self.generation
        opening, closing = self.vocabulary["cls"], self.vocabulary["sep"]
        # Restored text is about as long as what is left of it, unless the masks hide much.
        limit = min(chosen.max_length or 2 * ids.shape[1] + 16, self.model.positions)
        specials = Specials(start=closing, end=closing, pad=self.vocabulary["pad"], first=opening, last=closing)
        writer = EncoderDecoderWriter(backbone, ids, batch.layout, chosen.beams, limit)
        texts = write(writer, len(ids), specials, chosen, limit)
        return [{"sample": sample, "written": text[1:-1]} for sample, text in zip(batch.samples.tolist(), texts, strict=True)]

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Texts in which masks may be written by their name."""
        return side_by_side([tokenizer.encode_with_specials(text) for text in texts], self.vocabulary["pad"])

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        restored = tokenizer.decode(answer["written"]).strip()
        return Answer({"text": text, "restored": restored}, [restored])

    def demonstrate(self, learner: nn.Module, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Corrupt sentences, and show what the model makes of them."""
        batch = self.collate(rows, Keys(0, np.zeros(len(rows), np.int64), np.arange(len(rows))))
        found = []
        for row, answer in enumerate(self.predict(learner, batch)):
            read = batch.inputs["ids"][row].numpy()
            read = read[~np.isin(read, [self.vocabulary[role] for role in ("cls", "sep", "pad")])]
            sentence = tokenizer.decode(rows.tokens[row, : rows.lengths[row]])
            texts = (sentence, tokenizer.decode(read, skip_special=False), tokenizer.decode(answer["written"]))
            found.append(tuple(text.strip() for text in texts))
        return Demonstration("restored sentences (held-out text)", ("sentence", "corrupted", "restored"), found)

    def token_scores(self, learner: nn.Module, batch: Batch) -> Tensor:
        """Scores of each token behind ``decoder_ids``; without them, behind the row itself, as transformers' class has it."""
        from plmtrain.errors import SettingsError

        for name in batch.inputs.keys() - {"ids", "decoder_ids"}:
            raise SettingsError(f"an encoder and decoder do not read {name}", "logits", "leave it out")
        ids, backbone = batch.inputs["ids"], self.backbone_of(learner)
        given = batch.inputs.get("decoder_ids")
        written = torch.from_numpy(self._shifted(ids.cpu().numpy())).to(ids.device) if given is None else given
        memory = backbone.encode(ids, batch.layout)
        hidden = backbone.decode(written, memory, Layout(causal=True), batch.layout)
        return functional.linear(hidden, backbone.embedding_weight)

    def inspect(self, batch: Batch) -> Inspection:
        read = batch.inputs["decoder_ids"].numpy()
        labels = np.full_like(read, self.vocabulary["pad"])
        positions = batch.targets.get("positions")
        written = np.arange(labels.size) if positions is None else positions.numpy()
        labels.reshape(-1)[written] = batch.targets["labels"].numpy()
        mean = self.settings.span_mean if self.settings.infill else None
        return noise_inspection(batch, labels, self.vocabulary, mean)
