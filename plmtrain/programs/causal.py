"""The base of objectives in which a decoder predicts the next token, and the continuation of texts with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plmtrain.backbones.decoder import Decoder
from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.data.rows.rows import side_by_side
from plmtrain.errors import SettingsError
from plmtrain.generation import NOTHING, DecoderWriter, Specials, StopTexts, generate, numbers_of, settled, steps
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.programs.answering import Answer, Answering, Demonstration
from plmtrain.programs.baseline import Baseline, unigram_loss
from plmtrain.programs.learner import TiedLearner
from plmtrain.programs.program import Carry, MakeBackbone, Program, RowShape
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.models.decoder import DecoderSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.text.tokenizer import Tokenizer

SettingsT = TypeVar("SettingsT")

_USUAL_LENGTH = 128
"""The most tokens of a continuation if nothing else is asked for."""

_PROMPT_SHARE = 2
"""In the demonstration, one token in this many of a sentence is the prompt."""


class CausalLMLearner(TiedLearner):
    """A decoder.

    Args:
        decoder: the backbone.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder)

    @property
    def decoder(self) -> Decoder:
        """The backbone, with its cache."""
        assert isinstance(self.backbone, Decoder)
        return self.backbone


class CausalProgram(Program[SettingsT, DecoderSettings, CausalLMLearner]):
    """Predict tokens of running text, each from what its position sees; arguments as in ``Program``."""

    baseline = Baseline("text_loss", "unigram_loss", "text tokens")
    sees_prompt: ClassVar[bool] = False
    """Whether the tokens of a prompt see each other."""

    @cached_property
    def format(self) -> RowFormat:
        """Nothing stands around running text."""
        return RowFormat.of(self.model.family, 0)

    def row_shape(self, sequence_length: int) -> RowShape:
        """Return the shape of a row: one token more than positions, which is the first token of the next row."""
        return RowShape(length=sequence_length + 1, advance=sequence_length)

    def build(self, make: MakeBackbone) -> CausalLMLearner:
        backbone = make(self.model)
        assert isinstance(backbone, Decoder)
        return CausalLMLearner(backbone)

    def loss(self, learner: CausalLMLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        hidden = learner.backbone.encode(batch.inputs).flatten(0, 1)  # [rows * length, width]
        if "positions" in batch.targets:
            hidden = hidden.index_select(0, batch.targets["positions"])  # [predicted, width]
        return {self.terms[0]: self.next_term(learner, hidden, batch)}, carry

    def next_term(self, learner: CausalLMLearner, hidden: Tensor, batch: Batch, weight: float = 1.0) -> Term:
        """Return the loss of the predicted tokens, with its counts in eval mode.

        Args:
            learner: the decoder.
            hidden: [predicted, width] the states that predict them.
            batch: its targets are the ``labels``.
            weight: the term's weight in the loss.
        """
        labels, table = batch.targets["labels"], learner.backbone.embedding_weight
        total, losses = tied_cross_entropy(hidden, table, labels)
        counts = {}
        if not learner.training:
            text = labels != self.vocabulary.document_end
            counts["text"] = torch.stack([losses.masked_fill(~text, 0.0).sum(), text.sum()])
            counts["tokens"] = torch.bincount(labels[text], minlength=len(table))
        return Term(total=total, normaliser=batch.normalisers[self.terms[0]], weight=weight, counts=counts)

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute ``text_loss``, in nats a token without document ends, and ``unigram_loss`` of the same tokens."""
        total, tokens = counts[f"{self.terms[0]}/text"].tolist()
        if not tokens:
            return {}
        return {"text_loss": total / tokens, **unigram_loss("unigram_loss", counts[f"{self.terms[0]}/tokens"], unigram)}

    @cached_property
    def answering(self) -> Continuing:
        return Continuing(self, GenerationSettings())

    def marked(self, ids: NDArray[np.int64], mark: str) -> list[tuple[int, str]]:
        """Return tokens with their mark, for ``inspect``."""
        special = self.vocabulary.is_special[ids]
        return [(token, "special" if is_special else mark) for token, is_special in zip(ids.tolist(), special, strict=True)]


def _continuation(prompt: NDArray[np.int64], written: Sequence[int], tokenizer: Tokenizer) -> str:
    """Return the text of the tokens after a prompt: the space before a word is known only together with the word before it."""
    whole, before = tokenizer.decode([*prompt, *written]), tokenizer.decode(prompt)
    return whole[len(before) :] if whole.startswith(before) else tokenizer.decode(written)


class Continuing(Answering[CausalLMLearner]):
    """Continue a text.

    Args:
        program: the program.
        generation: the settings of text generation.
        stop: the texts that end it.
    """

    def __init__(self, program: CausalProgram[Any], generation: GenerationSettings, stop: StopTexts | None = None) -> None:
        self.program, self.generation, self.stop = program, generation, stop
        self.vocabulary = program.vocabulary
        positions = program.model.positions
        # The same for every prompt, so that a prompt is continued in a batch as it would be alone.
        self.limit = min(generation.max_new_tokens or min(_USUAL_LENGTH, positions // 2), positions - 1)
        self.longest = positions - self.limit

    def writing(self, chosen: GenerationSettings, tokenizer: Tokenizer) -> Continuing:
        positions = self.program.model.positions
        if chosen.max_new_tokens is not None and chosen.max_new_tokens >= positions:
            raise SettingsError(
                f"the model has {positions:,} positions: {chosen.max_new_tokens:,} new tokens leave no room for a prompt",
                f"argument: --max-new-tokens {chosen.max_new_tokens}",
                f"ask for fewer, such as --max-new-tokens {positions // 2}",
            )
        return Continuing(self.program, chosen, StopTexts(chosen.stop, tokenizer.decode) if chosen.stop else None)

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode prompts, in which special tokens may be written; an empty one is the beginning of a document."""
        encoded = [
            tokenizer.encode_with_specials(text) if text else (np.array([self.vocabulary.document_end]), np.array([True]))
            for text in texts
        ]
        return side_by_side(encoded, self.vocabulary.padding)

    def collate(self, rows: Rows) -> Batch:
        """Make the batch of prompts, padded on the left."""
        length = rows.tokens.shape[1]
        real = np.arange(length) >= length - rows.lengths[:, None]
        ids = np.full(rows.tokens.shape, self.vocabulary.padding)
        ids[real] = rows.tokens[np.arange(length) < rows.lengths[:, None]]
        return Batch(
            inputs=Inputs(ids=torch.from_numpy(ids), layout=Layout.of(real, causal=True)),
            targets={},
            samples=torch.arange(len(rows)),
            normalisers={},
        )

    @torch.no_grad()
    def predict(self, learner: CausalLMLearner, batch: Batch) -> list[dict[str, Any]]:
        """Continue each prompt.

        Returns:
            For each row its ``sample`` and the generated ids as ``written``.
        """
        texts = generate(**self._asked(learner, batch))
        return [{"sample": sample, "written": text} for sample, text in zip(batch.samples.tolist(), texts, strict=True)]

    def _asked(self, learner: CausalLMLearner, batch: Batch) -> dict[str, Any]:
        """Return the arguments of ``generate`` and ``steps``."""
        ids, tokens = batch.inputs.ids, batch.layout.tokens
        begun = ids if tokens is None else ids.masked_fill(~tokens, NOTHING)
        return {
            "writer": DecoderWriter(
                learner.decoder, self.generation.beams, ids.shape[1] + self.limit, sees_prompt=self.program.sees_prompt
            ),
            "begun": begun,
            "specials": Specials.of_documents(self.vocabulary, learner.decoder.vocabulary_size),
            "settings": self.generation,
            "limit": self.limit,
            "samples": numbers_of(ids, tokens),
            "stop": self.stop,
        }

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        continuation = _continuation(ids, answer["written"], tokenizer)
        continuation = continuation if self.stop is None else self.stop.cut(continuation)
        return Answer({"text": text, "continuation": continuation}, [text + continuation])

    def stream(
        self, learner: CausalLMLearner, batch: Batch, text: str, ids: NDArray[np.int64], tokenizer: Tokenizer
    ) -> Iterator[str]:
        """Yield the prompt, then its continuation as it is written; beams decide only at the end what they write."""
        if self.generation.beams > 1:
            yield from super().stream(learner, batch, text, ids, tokenizer)
            return
        yield text
        shown, written = len(text), []
        for (token,) in map(Tensor.tolist, steps(**self._asked(learner, batch))):
            written.append(token)
            sure = settled(_continuation(ids, written, tokenizer))
            line = text + (sure if self.stop is None else self.stop.cut_unfinished(sure))
            yield line[shown:]
            shown = max(shown, len(line))
        (line,) = self.read_out(text, ids, {"written": written}, tokenizer).lines
        yield line[shown:]

    def demonstrate(self, learner: CausalLMLearner, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Continue the first half of each sentence, by the most likely tokens."""
        halves = side_by_side(
            [
                (tokens[: max(1, length // _PROMPT_SHARE)], starts[: max(1, length // _PROMPT_SHARE)])
                for tokens, starts, length in zip(rows.tokens, rows.word_starts, rows.lengths.tolist(), strict=True)
            ],
            self.vocabulary.padding,
        )
        short = GenerationSettings(max_new_tokens=min(24, max(1, self.program.model.positions - halves.tokens.shape[1])))
        asked = Continuing(self.program, short)
        shown = []
        for row, answer in enumerate(asked.predict(learner, asked.collate(halves))):
            prompt = halves.tokens[row, : halves.lengths[row]]
            text = tokenizer.decode(prompt)
            written = self.read_out(text, prompt, answer, tokenizer).values["continuation"]
            sentence = tokenizer.decode(rows.tokens[row, : rows.lengths[row]])
            shown.append((sentence.strip(), text.strip(), written.strip()))
        return Demonstration("continued sentences (held-out text)", ("sentence", "prompt", "continuation"), shown)
