"""MASS: predict a hidden fragment of a row from the rest of it (Song et al. 2019, section 3.2).

The encoder reads the row with one contiguous fragment hidden. The decoder predicts the tokens of the fragment, each from those of
the fragment before it and the one right before the fragment: it reads nothing else, and its tokens keep their positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from plmtrain.backbones.encoder_decoder import EncoderDecoder
from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.corruption.fragments import Fragmenter
from plmtrain.data.rows.framing import framed
from plmtrain.data.rows.translations import LanguageRows
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.programs import flops
from plmtrain.programs.baseline import Baseline, unigram_loss
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.program import Carry, MakeBackbone, Program
from plmtrain.programs.text_to_text.fragments import FragmentWriting
from plmtrain.programs.text_to_text.learner import EncoderDecoderLearner
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.objectives.mass import MassSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.programs.learner import Learner
    from plmtrain.text.vocabulary import Vocabulary


class Mass(Program[MassSettings, EncoderDecoderSettings, EncoderDecoderLearner]):
    """Predict a hidden fragment of a row."""

    terms = ("mass",)
    ragged = True
    counted = ("tokens",)
    has_perplexity = True
    baseline = Baseline("text_loss", "unigram_loss", "text tokens")

    def __init__(self, settings: MassSettings, model: EncoderDecoderSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.hide = Fragmenter(settings, vocabulary)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original = framed(rows, self.format, self.vocabulary)
        hidden = self.hide(original, keys)
        steps = np.arange(hidden.sizes.max(initial=1))
        predicted = steps < hidden.sizes[:, None]  # [rows, longest fragment]
        places = np.where(predicted, hidden.begins[:, None] + steps, 1)
        before = np.where(predicted, np.take_along_axis(original.ids, places - 1, axis=1), self.vocabulary["pad"])
        labels = np.take_along_axis(original.ids, places, axis=1)[predicted]
        positions = places - 1 if self.settings.decoder_positions == "read" else places
        languages = rows.languages if isinstance(rows, LanguageRows) and self.model.languages else None
        decoder = Inputs(
            ids=torch.from_numpy(before),
            layout=Layout(causal=True),
            positions=torch.from_numpy(positions),
            segments=_spread(languages, before.shape),
        )
        inputs = Inputs(
            ids=torch.from_numpy(hidden.ids),
            layout=Layout.of(original.real),
            segments=_spread(languages, hidden.ids.shape),
            decoder=decoder,
        )
        targets = {"predicted": np.flatnonzero(predicted), "labels": labels, "places": places[predicted]}
        if not self.settings.attends_to_masks:
            readable = hidden.ids != self.vocabulary["mask"]
            targets["attended"] = readable if original.real is None else readable & original.real
        return Batch(
            inputs=inputs,
            targets={name: torch.from_numpy(array) for name, array in targets.items()},
            samples=torch.from_numpy(keys.samples),
            normalisers={"mass": float(len(labels)), "tokens": float(original.lengths.sum())},
        )

    def build(self, make: MakeBackbone) -> EncoderDecoderLearner:
        backbone = make(self.model)
        assert isinstance(backbone, EncoderDecoder)
        return EncoderDecoderLearner(backbone)

    @torch.no_grad()
    def initialise(self, learner: Learner) -> None:
        if self.model.initial_by_width:
            learner.backbone.embedding_weight[self.vocabulary["pad"]] = 0.0  # as in the authors' code

    def loss(self, learner: EncoderDecoderLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        labels, table = batch.targets["labels"], learner.backbone.output_weight
        memory, read = learner.pair.encode(batch.inputs), batch.inputs
        if "attended" in batch.targets:
            read = replace(read, layout=Layout(tokens=batch.targets["attended"]))
        hidden = learner.pair.decode(read, memory).flatten(0, 1).index_select(0, batch.targets["predicted"])  # [tokens, width]
        total, losses = tied_cross_entropy(hidden, table, labels)
        counts = {}
        if not learner.training:
            text = labels != self.vocabulary["sep"]
            counts["text"] = torch.stack([losses.masked_fill(~text, 0.0).sum(), text.sum()])
            counts["tokens"] = torch.bincount(labels[text], minlength=len(table))
        return {"mass": Term(total=total, normaliser=batch.normalisers["mass"], counts=counts)}, carry

    def flops(self, batch: Batch, vocabulary: int) -> int | None:
        (rows, length), decoder = batch.inputs.ids.shape, batch.inputs.decoder
        assert decoder is not None
        both = flops.of_encoder_decoder(self.model, rows, length, decoder.ids.shape[1])
        return both + flops.of_output(self.model.width, len(batch.targets["labels"]), vocabulary)

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute ``text_loss``, in nats a token without those that close rows and documents, and ``unigram_loss`` of the same
        tokens."""
        total, tokens = counts["mass/text"].tolist()
        if not tokens:
            return {}
        return {"text_loss": total / tokens, **unigram_loss("unigram_loss", counts["mass/tokens"], unigram)}

    @cached_property
    def answering(self) -> FragmentWriting:
        return FragmentWriting(self)

    def inspect(self, batch: Batch) -> Inspection:
        inputs, decoder = batch.inputs, batch.inputs.decoder
        assert decoder is not None
        ids = inputs.ids.numpy()
        real = np.ones(ids.shape, np.bool_) if inputs.layout.tokens is None else inputs.layout.tokens.numpy()
        row = batch.targets["predicted"].numpy() // decoder.ids.shape[1]
        places, labels = batch.targets["places"].numpy(), batch.targets["labels"].numpy()
        hidden, original = np.zeros(ids.shape, np.bool_), ids.copy()
        hidden[row, places], original[row, places] = True, labels
        special = self.vocabulary.is_special[original] & (original != self.vocabulary.roles.get("unk", -1))
        masked, kept = hidden & (ids == self.vocabulary["mask"]), hidden & (ids == original)
        seen = np.select([masked, kept, hidden, special], ["masked", "kept", "random", "special"], "plain")
        marks = np.select([special, hidden], ["special", "target"], "plain")
        rows = []
        for number in range(len(ids)):
            own, mine = real[number], row == number
            read = decoder.ids[number].numpy()[: int(mine.sum())]
            name = "" if inputs.segments is None else f" ({self.model.languages[int(inputs.segments[number, 0])]})"
            rows.append(
                Shown(
                    {
                        f"original{name}": _line(original[number][own], marks[number][own]),
                        "encoder reads": _line(ids[number][own], seen[number][own]),
                        "decoder reads": _line(read, np.where(self.vocabulary.is_special[read], "special", "plain")),
                        "target": _line(labels[mine], marks[number][hidden[number]]),
                    }
                )
            )
        sizes, lengths = hidden.sum(axis=1), real.sum(axis=1)
        begins, whole = np.argmax(hidden, axis=1), int(hidden.sum())
        return Inspection(
            rows=rows,
            rates={
                "hidden": (whole, int(real.sum())),
                "masked, of hidden": (int(masked.sum()), whole),
                "kept, of hidden": (int(kept.sum()), whole),
                "fragments at the first place": (int((begins == 1).sum()), len(ids)),
                "fragments that end with the row": (int((begins + sizes == lengths).sum()), len(ids)),
            },
            histograms={"tokens of a fragment": dict(Counter(sizes.tolist()))},
            notes=["Each target is the token after the one that the decoder reads above it; the decoder reads nothing else."],
        )


def _spread(languages: NDArray[np.int64] | None, shape: tuple[int, ...]) -> torch.Tensor | None:
    """Return the language of each token, given those of the rows.  # [rows] -> [rows, length]"""
    return None if languages is None else torch.from_numpy(languages)[:, None].expand(shape).contiguous()


def _line(ids: NDArray[np.int64], marks: NDArray[np.str_]) -> list[tuple[int, str]]:
    return list(zip(ids.tolist(), marks.tolist(), strict=True))
