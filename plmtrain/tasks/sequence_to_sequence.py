"""Texts as answers to texts: translation, summaries, the words of labels (Raffel et al. 2020, section 2.4).

The encoder reads a text or a pair; the decoder learns to write the target, each token from the right ones before it. In training
the loss may be smoothed; in validation it is the plain loss of the targets, so that runs compare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from plmtrain.backbones import EncoderDecoderBackbone
from plmtrain.backbones.encoder_decoder import SourceEncoder
from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.data.rows.row_formats import RowFormat, formatted
from plmtrain.data.tables.answered import AnsweredRows
from plmtrain.data.tables.readers import reader_of
from plmtrain.errors import SettingsError
from plmtrain.generation import StopTexts, numbers_of
from plmtrain.metrics import written
from plmtrain.nn.loss import smoothed, tied_cross_entropy
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.program import Carry, MakeBackbone, Selection
from plmtrain.programs.review import Confusion, Review, all_alike
from plmtrain.programs.task import TaskAnswering, TaskProgram
from plmtrain.programs.text_to_text.languages import LanguageTokens
from plmtrain.programs.writing import WritingLearner, start_of, taught, write
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.tasks.sequence_to_sequence import SequenceToSequenceSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.data.tables.labelled import Examples
    from plmtrain.keyed_random import Keys
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

_SHOWN = 6
"""The held-out examples in the closing table."""
_CLOSED = 20
"""The most different targets that are taken for the words of labels."""
_OTHER = "(another text)"
"""The label of a text that is none of them."""


class SequenceToSequence(TaskProgram[SequenceToSequenceSettings, ModelSettings, WritingLearner]):
    """Write a text for a text or a pair.

    Args:
        settings: the task's.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
        sequence_length: tokens of a row that is read, special ones included; of longer pairs the longer text is cut.
    """

    terms = ("target",)
    continued = (SourceEncoder,)
    ragged = True
    counted = ("tokens",)
    has_perplexity = True

    def __init__(
        self, settings: SequenceToSequenceSettings, model: ModelSettings, vocabulary: Vocabulary, sequence_length: int
    ) -> None:
        super().__init__(settings, model, vocabulary)
        self.sequence_length = sequence_length
        self.target_length = min(settings.target_length or sequence_length, model.positions)
        self.languages = settings.language_numbers(getattr(model, "languages", ()))
        self.tokens = LanguageTokens.of(model, vocabulary)
        written = RowFormat.written(model.family)
        self.row_format = written if self.tokens is None else self.tokens.format(written)

    @cached_property
    def format(self) -> RowFormat:
        read = RowFormat.of(self.model.family, len(self.settings.text))
        return read if self.tokens is None else self.tokens.format(read)

    def _told(self, side: int) -> tuple[LanguageTokens, int] | None:
        """Return the tokens of languages and the number of that of a side, 0 for what is read; None if there are none."""
        return None if self.tokens is None else (self.tokens, self.languages[side])

    @property
    def selection(self) -> Selection:
        measure = self.settings.metrics[0]
        return Selection(measure, higher=measure not in self.settings.lower_is_better, decides=True)

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
        source = None
        if self.settings.source_layers:
            assert isinstance(self.model, EncoderDecoderSettings), "the settings refuse another backbone"
            source = SourceEncoder(self.model, backbone.vocabulary_size, self.settings.source_layers)
        learner = WritingLearner(backbone, source)
        if self.settings.trains == "source":
            learner.train_source()
        return learner

    def loss(self, learner: WritingLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        labels, table = batch.targets["labels"], learner.backbone.output_weight
        hidden = learner.hidden(batch.inputs).flatten(0, 1).index_select(0, batch.targets["places"])  # [tokens, width]
        total, _ = tied_cross_entropy(hidden, table, labels)
        if learner.training and self.settings.label_smoothing:
            total = smoothed(total, hidden, table, labels, self.settings.label_smoothing)
        return {"target": Term(total=total, normaliser=batch.normalisers["target"])}, carry

    @cached_property
    def answering(self) -> AnswerWriting:
        return AnswerWriting(self, self.settings.generation)

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


class AnswerWriting(TaskAnswering[WritingLearner]):
    """Write texts.

    Args:
        program: frames what is read.
        chosen: the settings of text generation.
    """

    def __init__(self, program: SequenceToSequence, chosen: GenerationSettings) -> None:
        self.program, self.settings, self.chosen = program, program.settings, chosen
        self.stop = StopTexts(chosen.stop, program.vocabulary.text_of) if chosen.stop else None
        self.reader = reader_of(program.settings)
        self.longest = program.row_shape(program.sequence_length).length

    def writing(self, chosen: GenerationSettings, tokenizer: Tokenizer) -> AnswerWriting:
        """Return the same with some settings of text generation in place of the run's."""
        own = {name: getattr(self.chosen, name) for name in GenerationSettings.model_fields}
        try:
            chosen = GenerationSettings(**{**own, **{name: getattr(chosen, name) for name in chosen.model_fields_set}})
        except ValidationError as error:
            what = error.errors()[0]["msg"].removeprefix("Value error, ")
            remedy = "give options that go with those of the run's task, or change these, too"
            raise SettingsError(what, "options of text generation", remedy) from None
        return AnswerWriting(self.program, chosen)

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode a text a line; a pair is two texts with a tab between them. A JSON object has them by column."""
        examples = [self.reader.question(text) for text in texts]
        return self.reader.encode(examples, tokenizer).rows(self.longest).fetch(np.arange(len(texts)))

    def collate(self, rows: Rows) -> Batch:
        return self.program.batch(rows, torch.arange(len(rows)))

    @torch.no_grad()
    def predict(self, learner: WritingLearner, batch: Batch) -> list[dict[str, Any]]:
        """Write a text for each row, its ``prediction``."""
        vocabulary, limit = self.program.vocabulary, self.chosen.max_new_tokens or self.program.target_length
        numbers = numbers_of(batch.inputs.ids, batch.inputs.layout.tokens)
        memory, row_format = learner.encode(batch.inputs), RowFormat.written(self.program.model.family)
        texts = write(learner.pair, batch.inputs, vocabulary, row_format, self.chosen, limit, numbers, self.stop, memory)
        return [
            {"sample": sample, "prediction": self._text(tokens)}
            for sample, tokens in zip(batch.samples.tolist(), texts, strict=True)
        ]

    def _text(self, tokens: list[int]) -> str:
        text = self.program.vocabulary.text_of(tokens)
        return (text if self.stop is None else self.stop.cut(text)).strip()

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        columns = dict(zip(self.settings.text, self.reader.question(text).texts, strict=True))
        return Answer({**columns, "prediction": answer["prediction"]}, [answer["prediction"]])

    def appended(self, answer: Answer) -> dict[str, Any]:
        return {"prediction": answer.values["prediction"]}

    @property
    def scored(self) -> tuple[str, ...]:
        return tuple(name for name in self.settings.metrics if name != "loss")

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        given = [answer["prediction"] for answer in predictions]
        return {name: written.measure(name, given, references, self.settings.bleu_tokens) for name in self.scored}

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        """Review the answers; if targets are the words of labels, also their confusion, with all other texts as one label."""
        expected = [_spaced(example.reference) for example in examples.splits["validation"]]
        given, words = [_spaced(answer["prediction"]) for answer in answers], _words_of_labels(examples)
        collapsed = all_alike(given, expected)
        if not words:
            return Review(collapsed=collapsed)
        sides = ([text if text in words else _OTHER for text in side] for side in (expected, given))
        return Review(collapsed=collapsed, confusion=Confusion.of([*sorted(words), _OTHER], *sides))

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show some held-out examples, how scores were computed, and answers that are none of the words that training knows."""
        held_out, given = examples.splits["validation"], [answer["prediction"] for answer in answers]
        shown = [
            ["\n".join(example.texts), example.reference, text]
            for example, text in zip(held_out[:_SHOWN], given[:_SHOWN], strict=True)
        ]
        parts: list[Demonstration | str] = [Demonstration("held-out examples", ("text", "expected", "written"), shown)]
        right = [str(example.reference) for example in held_out]
        parts += [
            written.signature(name, given, right, self.settings.bleu_tokens) for name in self.scored if name in ("bleu", "chrf")
        ]
        if words := _words_of_labels(examples):
            unknown = sum(_spaced(text) not in words for text in given)
            parts.append(f"{unknown:,} of {len(given):,} answers are none of the {len(words)} targets of the training examples")
        if best is not None:
            parts.append(f"best validation {self.program.selection.measure} {best:.4f}")
        return parts


def _words_of_labels(examples: Examples) -> set[str]:
    """Return the targets of the training examples if these are the words of labels; nothing if they are texts."""
    targets = {_spaced(example.reference) for example in examples.splits["train"]}
    return targets if len(targets) <= _CLOSED else set()


def _spaced(text: Any) -> str:
    """Return a text with one space between two words."""
    return " ".join(str(text).split())
