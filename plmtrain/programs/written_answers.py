"""The base of tasks whose answers a decoder writes about what an encoder reads (Raffel et al. 2020, section 2.4).

The decoder learns to write the target, each token from the right ones before it. In training the loss may be smoothed; in
validation it is the plain loss of the targets, so that runs compare.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from plmtrain.backbones import EncoderDecoderBackbone
from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.data.rows.row_formats import RowFormat, formatted
from plmtrain.data.tables.answered import AnsweredRows
from plmtrain.data.tables.readers import reader_of
from plmtrain.errors import SettingsError
from plmtrain.generation import StopTexts, numbers_of
from plmtrain.nn.loss import smoothed, tied_cross_entropy
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.programs.task import TaskAnswering, TaskProgram
from plmtrain.programs.text_to_text.languages import LanguageTokens
from plmtrain.programs.writing import WritingLearner, start_of, taught, write
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.tasks.base import TaskSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

TaskT = TypeVar("TaskT", bound=TaskSettings)
ProgramT = TypeVar("ProgramT", bound="WrittenAnswers[Any]")


def most_tokens(texts: Sequence[str]) -> int:
    """Return a number of tokens that suffices to write any of some texts, in any vocabulary: one for each byte and one before."""
    return max((len(text.encode()) for text in texts), default=0) + 1


class WrittenAnswers(TaskProgram[TaskT, ModelSettings, WritingLearner]):
    """Write a text for a text or a pair; subclasses define what is read and how answers are scored.

    Args:
        settings: the task's.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
        sequence_length: tokens of a row that is read, special ones included; of longer pairs the longer text is cut.
    """

    terms = ("target",)
    ragged = True
    counted = ("tokens",)
    has_perplexity = True

    def __init__(self, settings: TaskT, model: ModelSettings, vocabulary: Vocabulary, sequence_length: int) -> None:
        super().__init__(settings, model, vocabulary)
        self.sequence_length = sequence_length
        self.languages = settings.language_numbers(getattr(model, "languages", ()))
        self.tokens = LanguageTokens.of(model, vocabulary)
        written = RowFormat.written(model.family)
        self.row_format = written if self.tokens is None else self.tokens.format(written)
        self.target_length = min(self.longest_target, model.positions)

    @property
    @abstractmethod
    def longest_target(self) -> int:
        """The most tokens of a target, special ones included, if the model has as many positions."""

    @property
    def texts_in_row(self) -> int:
        """The number of texts that the encoder reads in a row."""
        return 1

    @property
    def smoothing(self) -> float:
        """The share of each target's probability that is spread over the whole vocabulary in training."""
        return 0.0

    @cached_property
    def format(self) -> RowFormat:
        read = RowFormat.of(self.model.family, self.texts_in_row)
        return read if self.tokens is None else self.tokens.format(read)

    def _told(self, side: int) -> tuple[LanguageTokens, int] | None:
        """Return the tokens of languages and the number of that of a side, 0 for what is read; None if there are none."""
        return None if self.tokens is None else (self.tokens, self.languages[side])

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        assert isinstance(rows, AnsweredRows)
        assert rows.answers is not None
        batch = self.batch(rows, torch.from_numpy(keys.samples))
        most = self.target_length - self.row_format.framing
        answers = replace(rows.answers, lengths=np.minimum(rows.answers.lengths, most))
        target, decoder = taught(answers, self.row_format, self.model, self.vocabulary, self._told(1))
        if self.languages and self.tokens is None:
            decoder = replace(decoder, segments=torch.full_like(decoder.ids, self.languages[1]))
        places = np.flatnonzero(target.real)
        read = batch.layout.tokens
        assert read is not None
        return replace(
            batch,
            inputs=replace(batch.inputs, decoder=decoder),
            targets={"places": torch.from_numpy(places), "labels": torch.from_numpy(target.ids.reshape(-1)[places])},
            normalisers={"target": float(len(places)), "tokens": float(read.sum()) + len(places)},
        )

    def batch(self, rows: Rows, samples: torch.Tensor) -> Batch:
        """Frame the texts that are read, as the model's family does."""
        source = formatted(rows, self.format, self.vocabulary, self.model.positions)
        if self.tokens is not None:
            self.tokens.close(source.ids, source.real.sum(axis=1), self.languages[0])
        ids = torch.from_numpy(source.ids)
        decoder = Inputs(ids=torch.full_like(ids[:, :1], start_of(self.model, self.vocabulary, self._told(1))))
        segments = None
        if self.languages and self.tokens is None:
            segments = torch.full_like(ids, self.languages[0])
            decoder = replace(decoder, segments=torch.full_like(decoder.ids, self.languages[1]))
        inputs = Inputs(ids=ids, layout=Layout.of(source.real), segments=segments, decoder=decoder)
        return Batch(inputs=inputs, targets={}, samples=samples, normalisers={})

    def build(self, make: MakeBackbone) -> WritingLearner:
        backbone = make(self.model)
        assert isinstance(backbone, EncoderDecoderBackbone)
        return WritingLearner(backbone)

    def loss(self, learner: WritingLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        labels, table = batch.targets["labels"], learner.backbone.output_weight
        hidden = learner.hidden(batch.inputs).flatten(0, 1).index_select(0, batch.targets["places"])  # [tokens, width]
        total, _ = tied_cross_entropy(hidden, table, labels)
        if learner.training and self.smoothing:
            total = smoothed(total, hidden, table, labels, self.smoothing)
        return {"target": Term(total=total, normaliser=batch.normalisers["target"])}, carry

    @cached_property
    @abstractmethod
    def answering(self) -> WrittenAnswering[Any]:
        """How the learner is asked about texts or pairs."""

    def inspect(self, batch: Batch) -> Inspection:
        read, decoder = batch.inputs.layout.tokens, batch.inputs.decoder
        assert read is not None
        assert decoder is not None
        places, labels = batch.targets["places"].numpy(), np.zeros(decoder.ids.shape, np.int64)
        labels.reshape(-1)[places] = batch.targets["labels"].numpy()
        taught_at = np.isin(np.arange(labels.size), places).reshape(labels.shape)
        rows = [
            Shown(
                {
                    "source": self._marked(source[own], "plain"),
                    "decoder reads": self._marked(before[at], "plain"),
                    "target": self._marked(right[at], "target"),
                }
            )
            for source, own, before, right, at in zip(
                batch.inputs.ids.numpy(), read.numpy(), decoder.ids.numpy(), labels, taught_at, strict=True
            )
        ]
        sides = {"source": (read.numpy(), self.sequence_length), "target": (taught_at, self.target_length)}
        lengths = {side: (tokens.sum(axis=1), most) for side, (tokens, most) in sides.items()}
        return Inspection(
            rows=rows,
            rates={
                f"{side}s as long as can be": (int((each == most).sum()), len(each)) for side, (each, most) in lengths.items()
            },
            histograms={f"tokens of a {side}": dict(Counter(each.tolist())) for side, (each, _) in lengths.items()},
        )

    def _marked(self, ids: NDArray[np.int64], mark: str) -> list[tuple[int, str]]:
        special = self.vocabulary.is_special[ids]
        return [(token, "special" if is_special else mark) for token, is_special in zip(ids.tolist(), special, strict=True)]


class WrittenAnswering(TaskAnswering[WritingLearner], Generic[ProgramT]):
    """Answers questions by writing; subclasses define what is said and scored.

    Args:
        program: frames what is read.
        chosen: the settings of text generation.
    """

    def __init__(self, program: ProgramT, chosen: GenerationSettings) -> None:
        self.program, self.settings, self.chosen = program, program.settings, chosen
        self.stop = StopTexts(chosen.stop, program.vocabulary.text_of) if chosen.stop else None
        self.reader = reader_of(program.settings)
        self.longest = program.row_shape(program.sequence_length).length

    def writing(self, chosen: GenerationSettings, tokenizer: Tokenizer) -> Self:
        """Return the same with some settings of text generation in place of the run's."""
        own = {name: getattr(self.chosen, name) for name in GenerationSettings.model_fields}
        try:
            chosen = GenerationSettings(**{**own, **{name: getattr(chosen, name) for name in chosen.model_fields_set}})
        except ValidationError as error:
            what = error.errors()[0]["msg"].removeprefix("Value error, ")
            remedy = "give options that go with those of the run's task, or change these, too"
            raise SettingsError(what, "options of text generation", remedy) from None
        return type(self)(self.program, chosen)

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode a text a line; a pair is two texts with a tab between them. A JSON object has them by column."""
        examples = [self.reader.question(text) for text in texts]
        return self.reader.encode(examples, tokenizer).rows(self.longest).fetch(np.arange(len(texts)))

    def collate(self, rows: Rows) -> Batch:
        return self.program.batch(rows, torch.arange(len(rows)))

    @torch.no_grad()
    def predict(self, learner: WritingLearner, batch: Batch) -> list[dict[str, Any]]:
        """Write a text for each row."""
        vocabulary, limit = self.program.vocabulary, self.chosen.max_new_tokens or self.program.target_length
        numbers = numbers_of(batch.inputs.ids, batch.inputs.layout.tokens)
        memory, row_format = learner.encode(batch.inputs), RowFormat.written(self.program.model.family)
        texts = write(learner.pair, batch.inputs, vocabulary, row_format, self.chosen, limit, numbers, self.stop, memory)
        return [
            {"sample": sample, **self.said(self._text(tokens))}
            for sample, tokens in zip(batch.samples.tolist(), texts, strict=True)
        ]

    def _text(self, tokens: list[int]) -> str:
        text = self.program.vocabulary.text_of(tokens)
        return (text if self.stop is None else self.stop.cut(text)).strip()

    def columns_of(self, text: str) -> dict[str, str]:
        """Return the texts of a question by column."""
        return dict(zip(self.settings.text, self.reader.question(text).texts, strict=True))

    def said(self, text: str) -> dict[str, Any]:
        """Return the JSON-ready answer that a text is; here the text, its ``prediction``."""
        return {"prediction": text}
