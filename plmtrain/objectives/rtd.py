"""Replaced token detection: a small generator replaces some tokens, and the discriminator predicts which ones.

ELECTRA (Clark et al. 2020, arXiv 2003.10555), section 2, and DeBERTa's third version (He et al. 2021, arXiv 2111.09543). It is
not a GAN: the generator is trained with masked language modelling only, and the discriminator's loss has no gradient in it except
through embeddings that are shared in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.corruption.masked_rows import Masker, RedrawingMasker
from plmtrain.data.rows.framing import FramedPairs, framed, framed_pairs
from plmtrain.data.rows.pair_rows import PairRows, first_lengths
from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.data.rows.rows import side_by_side
from plmtrain.keyed_random import as_uniform, row_bits, spread_at
from plmtrain.metrics import roc
from plmtrain.nn.heads import MaskedLMHead, ReplacedTokenHead, TiedHead, vocabulary_head
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.nn.replaced_tokens import ContextReplacedTokenHead
from plmtrain.nn.sampling import draw_classes
from plmtrain.programs import flops
from plmtrain.programs.answering import Answer, Answering, Demonstration
from plmtrain.programs.baseline import Baseline, hidden_counts, hidden_measures
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.learner import Learner
from plmtrain.programs.masked.filling import hide_a_word, with_gap, word
from plmtrain.programs.masked.inspection import masked_inspection
from plmtrain.programs.present_tokens import present_only
from plmtrain.programs.program import Carry, MakeBackbone, Program
from plmtrain.programs.texts import framed_batch
from plmtrain.settings.models.disentangled import DisentangledSettings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.rtd import RTDSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.backbones import Backbone
    from plmtrain.corruption.framed_rows import FramedRows
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

BINS, HIGHEST = 2**15, 16.0
"""The histogram of the discriminator's logits for the area under the ROC curve: equal bins from -HIGHEST to HIGHEST."""


class RTDLearner(Learner):
    """A discriminator with its head, and a generator with its own.

    Args:
        backbone: the discriminator, which is kept after pretraining; it owns embeddings that are shared in full.
        head: computes from each hidden state the logit that its token was replaced.
        generator: a smaller encoder.
        generator_head: the generator's language-model head.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: ReplacedTokenHead | ContextReplacedTokenHead,
        generator: Backbone,
        generator_head: MaskedLMHead | TiedHead,
    ) -> None:
        super().__init__(backbone)
        self.head = head
        self.generator = generator
        self.generator_head = generator_head

    def generator_logits(self, hidden: Tensor) -> Tensor:
        """Return the generator's logits over the vocabulary.  # [n, generator's width] -> [n, vocabulary]"""
        logits: Tensor = self.generator_head(hidden, self.generator.embedding_weight)
        return logits

    def discriminator_logits(self, inputs: Inputs) -> Tensor:
        """Return the logit of each token that it was replaced.  # [batch, length]"""
        logits: Tensor = self.head(self.backbone.encode(inputs))
        return logits.float()

    def token_scores(self, inputs: Inputs) -> Tensor:
        """Return the generator's logits: the discriminator has no language-model head."""
        return self.generator_logits(self.generator.predicting(inputs, self.generator_head))

    def models(self) -> Mapping[str, Sequence[nn.Module]]:
        """Return the discriminator and the generator, each with its own copy of what it borrows."""
        return {
            "discriminator": [self.backbone.whole(), self.head],
            "generator": [self.generator.whole(), self.generator_head],
        }


class ReplacedTokenDetection(Program[RTDSettings, EncoderSettings | DisentangledSettings, RTDLearner]):
    """Predict masked tokens with the generator, replace them by samples from it, and detect the replaced tokens.

    A sample that equals the original token counts as original. The discriminator classifies every token except padding; special
    tokens are always original.
    """

    terms = ("mlm", "rtd")
    baseline = Baseline("hidden_loss", "hidden_unigram_loss", "hidden tokens, by the generator")

    def __init__(self, settings: RTDSettings, model: EncoderSettings | DisentangledSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = (RedrawingMasker if settings.with_replacement else Masker)(settings, vocabulary)
        self.counted = ("tokens",) if settings.segments is not None else ()

    @cached_property
    def format(self) -> RowFormat:
        return RowFormat.of(self.model.family, self.settings.texts_in_row)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original = self._framed(rows)
        masked = self.mask(original, keys)
        row, column = np.divmod(masked.positions, original.ids.shape[1])
        uniforms = as_uniform(spread_at(row_bits("rtd.draw", keys).take(row), column))  # [predicted]
        segments = None
        if isinstance(original, FramedPairs) and self.model.tells_segments:
            segments = torch.from_numpy(original.segments)
        tokens = float(original.lengths.sum())
        return Batch(
            inputs=Inputs(
                ids=torch.from_numpy(masked.ids), layout=Layout.of(original.real, original.documents), segments=segments
            ),
            targets={"positions": torch.from_numpy(masked.positions), "labels": torch.from_numpy(masked.labels)},
            samples=torch.from_numpy(keys.samples),
            normalisers={"mlm": float(len(masked.positions)), "rtd": tokens, **dict.fromkeys(self.counted, tokens)},
            draws={"uniforms": torch.from_numpy(uniforms)},
        )

    def _framed(self, rows: Rows) -> FramedRows:
        """Lay out rows of text; a row of segments may lack the second one."""
        if not isinstance(rows, PairRows):
            return framed(rows, self.format, self.vocabulary)
        alone = first_lengths(rows) == rows.lengths
        lacking = self.format.lacking(alone, RowFormat.of(self.model.family, 1))
        return framed_pairs(rows, self.format, self.vocabulary, lacking)

    def generator_settings(self) -> EncoderSettings | DisentangledSettings:
        """Return the generator's settings (Clark et al. 2020, section 3.2 and appendix A; their ``get_generator_config``)."""
        model, settings = self.model, self.settings
        width = max(1, round(model.width * settings.generator_width))
        most = max(1, width // settings.generator_head_width)
        changed = {
            "name": f"{model.name}_generator",
            "layers": max(1, round(model.layers * settings.generator_layers)),
            "width": width,
            "heads": next(heads for heads in range(most, 0, -1) if width % heads == 0),
            "feed_forward": max(1, round(width * settings.generator_feed_forward)),
            "embedding_width": None if settings.share_embeddings == "none" else model.embedding_width or model.width,
        }
        if isinstance(model, EncoderSettings):
            changed["head_layer"] = True  # from its width to that of the embeddings, whatever the model's own setting
        elif changed["layers"] == 1 and model.mask_decoder:
            changed["convolution"] = None  # the mask decoder would not read it
        return type(model).model_validate({**model.model_dump(), **changed})

    def build(self, make: MakeBackbone) -> RTDLearner:
        model, shape = self.model, self.generator_settings()
        initial: dict[str, Any] = {"initial_std": model.initial_std, "initial_truncated": model.initial_truncated}
        backbone, generator = make(model), make(shape)
        if self.settings.share_embeddings == "full":
            generator.borrow_embeddings(backbone)
        elif self.settings.share_embeddings == "gradient_disentangled":
            backbone.offset_embeddings(generator)
        head: ReplacedTokenHead | ContextReplacedTokenHead
        if isinstance(model, EncoderSettings):
            head = ReplacedTokenHead(backbone.width, model.activation, initial_glorot=model.initial_glorot, **initial)
        else:
            head = ContextReplacedTokenHead(backbone.width, model.activation, model.norm_eps, **initial)
        return RTDLearner(backbone, head, generator, vocabulary_head(shape, generator.vocabulary_size))

    def loss(self, learner: RTDLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        labels = batch.targets["labels"]
        positions = batch.targets["positions"]
        hidden = learner.generator.predicting_at(
            batch.inputs, learner.generator_head, positions
        )  # [predicted, generator's width]
        guesses = learner.generator_logits(hidden)  # [predicted, vocabulary]
        generator_loss = cross_entropy_sum(guesses, labels)

        likely = present_only(guesses.detach(), self.vocabulary)
        drawn = draw_classes(likely, batch.draws["uniforms"], self.settings.temperature)  # [predicted]
        written, replaced = self.write(batch, drawn)
        logits = learner.discriminator_logits(replace(batch.inputs, ids=written))  # [batch, length]
        losses = functional.binary_cross_entropy_with_logits(logits, replaced.float(), reduction="none")
        if batch.layout.tokens is not None:
            losses = losses.masked_fill(~batch.layout.tokens, 0.0)

        normalisers, settings = batch.normalisers, self.settings
        return {
            "mlm": Term(
                total=generator_loss,
                normaliser=normalisers["mlm"],
                weight=settings.generator_weight,
                counts={} if learner.training else self._generator_counts(batch, guesses, drawn),
            ),
            "rtd": Term(
                total=losses.sum(),
                normaliser=normalisers["rtd"],
                weight=settings.discriminator_weight,
                counts={} if learner.training else self._discriminator_counts(batch, logits, replaced),
            ),
        }, carry

    def write(self, batch: Batch, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Return the discriminator's input, and which of its tokens differ from the original.

        Args:
            batch: a batch of ``collate``.
            drawn: [predicted] a sampled token for each chosen position.

        Returns:
            [batch, length] ids, and [batch, length] bool.
        """
        ids, positions = batch.inputs.ids, batch.targets["positions"]
        # All chosen tokens are overwritten, so replacing them in the masked row is the same as in the original row.
        written = ids.flatten().index_copy(0, positions, drawn)
        replaced = torch.zeros_like(written, dtype=torch.bool).index_copy(0, positions, drawn != batch.targets["labels"])
        return written.view_as(ids), replaced.view_as(ids)

    def _generator_counts(self, batch: Batch, guesses: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        """Count the generator's correct predictions, samples that differ from the original, and its loss on hidden tokens."""
        labels = batch.targets["labels"]
        hidden = batch.inputs.ids.flatten().index_select(0, batch.targets["positions"]) == self.vocabulary["mask"]
        losses = functional.cross_entropy(guesses.float(), labels, reduction="none")
        return {
            "accuracy": (guesses.argmax(-1) == labels).sum(),
            "replaced": (drawn != labels).sum(),
            **hidden_counts(losses, labels, hidden, guesses.shape[1]),
        }

    def _discriminator_counts(self, batch: Batch, logits: Tensor, replaced: Tensor) -> dict[str, Tensor]:
        """Count the discriminator's correct predictions, with histograms of its logits for original and for replaced tokens."""
        right = (logits > 0) == replaced
        real = batch.layout.tokens if batch.layout.tokens is not None else torch.ones_like(right)
        original = batch.inputs.ids.flatten().index_copy(0, batch.targets["positions"], batch.targets["labels"])
        special = torch.from_numpy(self.vocabulary.is_special).to(original.device)[original].view_as(right)
        ordinary = real & ~special  # special tokens are never replaced, so they are trivial to classify
        bins = ((logits.nan_to_num() + HIGHEST) * (BINS / (2 * HIGHEST))).long().clamp(0, BINS - 1) + BINS * replaced
        return {"accuracy": (right & real).sum(), "logits": torch.bincount(bins[ordinary], minlength=2 * BINS).view(2, BINS)}

    def flops(self, batch: Batch, vocabulary: int) -> int | None:
        model, generator = self.model, self.generator_settings()
        if not (isinstance(model, EncoderSettings) and isinstance(generator, EncoderSettings)):
            return None
        (rows, length), predicted = batch.inputs.ids.shape, len(batch.targets["positions"])
        guessing = flops.of_encoder(generator, rows, length, predicted) + flops.of_vocabulary_head(
            generator, predicted, vocabulary
        )
        telling = 2 * rows * length * (model.width**2 + model.width)
        return guessing + flops.of_encoder(model, rows, length, rows * length) + telling

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute for the generator ``hidden_loss`` (nats per hidden token, since unchanged targets can be copied) and the
        unigram loss of the same tokens; for the discriminator ``rtd/auc`` with the bounds of its 95 % confidence interval, over
        all tokens that are not special."""
        values = hidden_measures("mlm", counts, unigram)
        if area := roc.area(*counts["rtd/logits"]):
            values |= dict(zip(("rtd/auc", "rtd/auc_low", "rtd/auc_high"), area, strict=True))
        return values

    @cached_property
    def answering(self) -> ReplacementFinding:
        single = RowFormat.of(self.model.family, 1)
        return ReplacementFinding(single, self.vocabulary, longest=self.row_shape(self.model.positions).length)

    def inspect(self, batch: Batch) -> Inspection:
        note = (
            "input is the generator's input. The discriminator reads the original with the generator's samples in place of the "
            "targets: the samples, and so which tokens are replaced, are only known while a generator trains."
        )
        return masked_inspection(batch, self.vocabulary, notes=(note,))


class ReplacementFinding(Answering[RTDLearner]):
    """Compute for each token of a text the probability that it was replaced.

    Args:
        row_format: the format of a text.
        vocabulary: the vocabulary of the rows.
        longest: the maximum number of text tokens in a question.
    """

    def __init__(self, row_format: RowFormat, vocabulary: Vocabulary, longest: int) -> None:
        self.row_format, self.vocabulary, self.longest = row_format, vocabulary, longest

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts; special tokens written in them are ordinary text."""
        return side_by_side(tokenizer.encode(texts), self.vocabulary.padding)

    def collate(self, rows: Rows) -> Batch:
        return framed_batch(rows, self.row_format, self.vocabulary)

    @torch.no_grad()
    def predict(self, learner: RTDLearner, batch: Batch) -> list[dict[str, Any]]:
        """Return for each row its ``sample`` and ``replaced``: a probability for each token of the text."""
        ids, opening, framing = batch.inputs.ids, self.row_format.opening, self.row_format.framing
        probabilities = learner.discriminator_logits(batch.inputs).sigmoid()
        real = torch.ones_like(ids) if batch.layout.tokens is None else batch.layout.tokens
        return [
            {"sample": sample, "replaced": row[opening : opening + length - framing]}
            for sample, row, length in zip(batch.samples.tolist(), probabilities.tolist(), real.sum(1).tolist(), strict=True)
        ]

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        """List the text's tokens with their probabilities; in the lines, tokens above 50 % are in brackets."""
        pieces = [piece.strip() for piece in tokenizer.pieces(ids)]
        judged = list(zip(pieces, answer["replaced"], strict=True))
        tokens = [{"token": piece, "replaced": probability} for piece, probability in judged]
        line = " ".join(f"[{piece} {probability:.0%}]" if probability > 0.5 else piece for piece, probability in judged)
        piece, highest = max(judged, key=lambda pair: pair[1], default=("", 0.0))
        return Answer({"text": text, "tokens": tokens}, [line, f"  looks replaced most: {piece} {highest:.1%}"])

    @torch.no_grad()
    def demonstrate(self, learner: RTDLearner, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Replace one word in each sentence by the generator's best other token, and show the discriminator's predictions."""
        masked, places = hide_a_word(rows, self.vocabulary["mask"])
        every = np.arange(len(rows))
        hidden = learner.generator.predicting(self.collate(masked).inputs, learner.generator_head)
        logits = present_only(learner.generator_logits(hidden[every, places + self.row_format.opening]), self.vocabulary)
        was = rows.tokens[every, places]
        logits[every, was] = -torch.inf  # exclude the original
        tokens = rows.tokens.copy()
        tokens[every, places] = logits.argmax(-1).numpy()
        answers = self.predict(learner, self.collate(replace(rows, tokens=tokens)))
        shown = []
        for row, (place, answer) in enumerate(zip(places.tolist(), answers, strict=True)):
            ids = tokens[row, : rows.lengths[row]]
            others = [(p, at) for at, p in enumerate(answer["replaced"]) if at != place]
            highest, where = max(others)
            sentence = with_gap(tokenizer, ids, place, f"[{word(tokenizer, int(ids[place]))}]")
            elsewhere = f"{word(tokenizer, int(ids[where]))} {highest:.0%}"
            shown.append((sentence, word(tokenizer, int(was[row])), f"{answer['replaced'][place]:.0%}", elsewhere))
        headings = ("sentence with one token replaced", "was", "looks replaced", "highest elsewhere")
        return Demonstration("replaced tokens (held-out text)", headings, shown)
