"""Texts as answers to texts: translation, summaries, the words of labels (Raffel et al. 2020, section 2.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.backbones.encoder_decoder import SourceEncoder
from plmtrain.metrics import written
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.program import MakeBackbone, Selection
from plmtrain.programs.review import Confusion, Review, all_alike
from plmtrain.programs.writing import WritingLearner
from plmtrain.programs.written_answers import WrittenAnswering, WrittenAnswers
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.tasks.sequence_to_sequence import SequenceToSequenceSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Examples
    from plmtrain.text.tokenizer import Tokenizer

_SHOWN = 6
"""The held-out examples in the closing table."""
_CLOSED = 20
"""The most different targets that are taken for the words of labels."""
_OTHER = "(another text)"
"""The label of a text that is none of them."""


class SequenceToSequence(WrittenAnswers[SequenceToSequenceSettings]):
    """Write a text for a text or a pair; arguments as in ``WrittenAnswers``."""

    continued = (SourceEncoder,)

    @property
    def texts_in_row(self) -> int:
        return len(self.settings.text)

    @property
    def smoothing(self) -> float:
        return self.settings.label_smoothing

    @property
    def longest_target(self) -> int:
        return self.settings.target_length or self.sequence_length

    @property
    def selection(self) -> Selection:
        measure = self.settings.metrics[0]
        return Selection(measure, higher=measure not in self.settings.lower_is_better, decides=True)

    def build(self, make: MakeBackbone) -> WritingLearner:
        learner = super().build(make)
        if self.settings.source_layers:
            assert isinstance(self.model, EncoderDecoderSettings), "the settings refuse another backbone"
            learner.source = SourceEncoder(self.model, learner.backbone.vocabulary_size, self.settings.source_layers)
        if self.settings.trains == "source":
            learner.train_source()
        return learner

    @cached_property
    def answering(self) -> AnswerWriting:
        return AnswerWriting(self, self.settings.generation)


class AnswerWriting(WrittenAnswering[SequenceToSequence]):
    """Write texts; arguments as in ``WrittenAnswering``."""

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        return Answer({**self.columns_of(text), "prediction": answer["prediction"]}, [answer["prediction"]])

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
