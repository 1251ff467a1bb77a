"""A label for each word of a text: parts of speech, names (Devlin et al. 2019, section 5.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.data.rows.row_formats import placed, spellings_of
from plmtrain.data.tables.readers.token_labels import TokenLabelsReader
from plmtrain.data.tables.tagged import TaggedRows
from plmtrain.metrics import entities
from plmtrain.metrics.classification import mean_f1
from plmtrain.nn.distillation import divergences
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.nn.task_heads import TokenLabelHead, token_label_head
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.features import FeatureLearner, mix_of, mix_term
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.program import Carry, MakeBackbone, Selection
from plmtrain.programs.review import Confusion, Review
from plmtrain.programs.spelling import with_spellings
from plmtrain.programs.task import TaskAnswering, TaskProgram
from plmtrain.programs.taught_task import SOFT, TaughtTask, inputs_for
from plmtrain.settings.models.base import UniformTransformerSettings
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.settings.tasks.token_labels import TokenLabelsSettings

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.data.tables.labelled import Examples
    from plmtrain.keyed_random import Keys
    from plmtrain.nn.scalar_mix import ScalarMix
    from plmtrain.programs.learner import Learner
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

_LARGEST_TABLE = 20
"""The most labels in a table."""


class TokenLabelsLearner(FeatureLearner):
    """A backbone and a head that labels its tokens.

    Args:
        backbone: reads the row.
        head: labels its states.
        mix: as in ``FeatureLearner``.
    """

    def __init__(self, backbone: Backbone, head: TokenLabelHead, mix: ScalarMix | None) -> None:
        super().__init__(backbone, mix)
        self.head = head

    def scores(self, inputs: Inputs, places: Tensor) -> Tensor:
        """Return the outputs of the head at some places.

        Args:
            inputs: the rows.
            places: [words] indices into rows * length.

        Returns:
            [words, labels].
        """
        scores: Tensor = self.head(self.hidden(inputs).flatten(0, 1)[places])
        return scores


class TokenLabels(TaskProgram[TokenLabelsSettings, UniformTransformerSettings | BiLSTMSettings, TokenLabelsLearner], TaughtTask):
    """Label each word of a text by the state of its first token.

    Args:
        settings: the task's.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
        sequence_length: tokens of a row, special ones included; longer texts are read in several rows.
    """

    terms: tuple[str, ...] = ("token_labels",)
    unit = "nats a word"
    ragged = True
    counted = ("tokens",)

    def __init__(
        self,
        settings: TokenLabelsSettings,
        model: UniformTransformerSettings | BiLSTMSettings,
        vocabulary: Vocabulary,
        sequence_length: int,
    ) -> None:
        super().__init__(settings, model, vocabulary)
        self.sequence_length = sequence_length
        if settings.mix_l2:
            self.terms = (*self.terms, "mix")
        if settings.is_taught:
            self.terms = (*self.terms, SOFT)

    @classmethod
    def of_heads(cls, heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> TokenLabelsSettings | None:
        if TokenLabelHead not in heads or len(labels) < 2:
            return None
        return TokenLabelsSettings(name="token_labels", labels=labels)

    @property
    def selection(self) -> Selection:
        return Selection(self.settings.metrics[0], higher=True, decides=True)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        assert isinstance(rows, TaggedRows)
        assert rows.labels is not None
        return self.batch(rows, torch.from_numpy(keys.samples))

    def batch(self, rows: TaggedRows, samples: Tensor) -> Batch:
        """Frame texts as the model's family does; ``places`` are those of the labelled words, ``words`` their number by row."""
        placing = placed(rows, self.format, self.model.positions)
        special = [False] * self.format.framing
        asked = placing.filled(rows.asked, special, False)  # [rows, length]
        targets = {"places": torch.from_numpy(np.flatnonzero(asked)), "words": torch.from_numpy(asked.sum(axis=1))}
        if rows.labels is not None:
            targets["labels"] = torch.from_numpy(rows.labels[rows.asked])
        if rows.characters is not None:
            targets["characters"] = torch.from_numpy(rows.characters[rows.asked])
        if self.is_taught:
            targets["segments"] = torch.from_numpy(placing.segments)
        inputs = Inputs(
            ids=torch.from_numpy(placing.ids(rows.tokens, self.vocabulary)),
            layout=Layout.of(placing.real),
            segments=torch.from_numpy(placing.segments) if self.model.tells_segments else None,
        )
        return Batch(
            inputs=with_spellings(inputs, self.model, self.vocabulary, spellings_of(rows, placing, rows.tokens.shape)),
            targets=targets,
            samples=samples,
            normalisers={
                "token_labels": float(rows.asked.sum()),
                "tokens": float(placing.real.sum()),
                **({"mix": float(len(samples))} if self.settings.mix_l2 else {}),
                **({SOFT: float(rows.asked.sum())} if self.is_taught else {}),
            },
        )

    def build(self, make: MakeBackbone) -> TokenLabelsLearner:
        backbone = make(self.model)
        mix = mix_of(backbone, self.settings, self.model)
        head = token_label_head(self.model, len(self.settings.labels), self.settings.dropout)
        return TokenLabelsLearner(backbone, head, mix)

    def loss(self, learner: TokenLabelsLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        scores = learner.scores(batch.inputs, batch.targets["places"])
        total = cross_entropy_sum(scores, batch.targets["labels"])
        terms = {"token_labels": Term(total=total, normaliser=batch.normalisers["token_labels"])}
        if self.is_taught:
            soft = divergences(scores, batch.lessons["scores"], self.settings.softening).sum()
            terms = self.with_soft(terms, soft, batch)
        if self.settings.mix_l2:
            terms["mix"] = mix_term(learner, self.settings, batch.normalisers["mix"])
        return terms, carry

    def lessons(self, teacher: Learner, batch: Batch) -> Mapping[str, Tensor]:
        assert isinstance(teacher, TokenLabelsLearner)
        return {"scores": teacher.scores(inputs_for(teacher, batch), batch.targets["places"])}

    @cached_property
    def answering(self) -> Labelling:
        return Labelling(self)

    def inspect(self, batch: Batch) -> Inspection:
        ids, real = batch.inputs.ids.numpy(), np.asarray(batch.inputs.layout.tokens)
        labelled = np.isin(np.arange(ids.size), batch.targets["places"].numpy()).reshape(ids.shape)
        # The first token of a word may be the one that stands for unknown words.
        marks = np.where(labelled, "target", np.where(self.vocabulary.is_special[ids], "special", "plain"))
        names, labels = self.settings.labels, batch.targets["labels"].tolist()
        ends = np.cumsum(batch.targets["words"].numpy()).tolist()
        rows = [
            Shown({" ".join(names[number] for number in labels[start:end]): list(zip(row[own].tolist(), mark[own], strict=True))})
            for row, own, mark, start, end in zip(ids, real, marks, [0, *ends], ends, strict=False)
        ]
        counts = Counter(labels)
        return Inspection(
            rows=rows,
            rates={f"label {name}": (counts[number], len(labels)) for number, name in enumerate(names[:_LARGEST_TABLE])},
            notes=["The first token of each word is labelled; what stands before a row are the labels of its words in order."],
        )


class Labelling(TaskAnswering[TokenLabelsLearner]):
    """Label the words of texts.

    Args:
        program: frames them.
    """

    reader: TokenLabelsReader

    def __init__(self, program: TokenLabels) -> None:
        self.program, self.settings = program, program.settings
        self.reader = TokenLabelsReader(program.settings)
        self.longest = program.row_shape(program.sequence_length).length

    @property
    def scored(self) -> tuple[str, ...]:
        return self.settings.metrics

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts, a line each: words with white space between them, or a JSON object with a list of words."""
        examples = [self.reader.question(text) for text in texts]
        rows = self.reader.encode(examples, tokenizer).rows(self.longest)
        return rows.fetch(np.arange(len(rows)))

    def owners(self, rows: Rows) -> NDArray[np.int64]:
        assert isinstance(rows, TaggedRows)
        return rows.owners

    def collate(self, rows: Rows) -> Batch:
        assert isinstance(rows, TaggedRows)
        return self.program.batch(rows, torch.arange(len(rows)))

    @torch.no_grad()
    def predict(self, learner: TokenLabelsLearner, batch: Batch) -> list[dict[str, Any]]:
        """Return for each row the likeliest label of each of its words as ``labels``, with its probability; where characters are
        labelled, for each of the characters that its tokens stand for."""
        names = self.settings.labels
        scores = torch.cat([learner.scores(part, places) for part, places in _in_parts(batch)]).float()
        best = scores.softmax(dim=-1).max(dim=-1)
        labels, shares = [names[number] for number in best.indices.tolist()], best.values.tolist()
        answers, first = [], 0
        for sample, words in zip(batch.samples.tolist(), batch.targets["words"].tolist(), strict=True):
            own = slice(first, first + words)
            answers.append({"sample": sample, "labels": labels[own], "probabilities": shares[own]})
            if "characters" in batch.targets:
                answers[-1] |= self._spread(labels[own], shares[own], batch.targets["characters"][own].tolist())
            first += words
        return answers

    def _spread(self, labels: Sequence[str], shares: Sequence[float], counts: Sequence[int]) -> dict[str, Any]:
        """Return the answers for the characters of some tokens.

        Args:
            labels, shares: of the tokens.
            counts: the characters of each.
        """
        within = [
            (name, share)
            for label, share, count in zip(labels, shares, counts, strict=True)
            for name in (label, *[self.settings.within(label)] * (count - 1))
        ]
        return {"labels": [name for name, _ in within], "probabilities": [share for _, share in within]}

    def merge(self, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the labels of a text, given those of its windows, each of which labels other words."""
        return {key: [value for answer in answers for value in answer[key]] for key in ("labels", "probabilities")}

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        """Compute the share of words that are labelled rightly, and of names found and right ones where labels mark names."""
        predicted = [list(prediction["labels"]) for prediction in predictions]
        expected = [list(reference) for reference in references]
        words = sum(map(len, expected))
        right = sum(
            one == other for own, theirs in zip(predicted, expected, strict=True) for one, other in zip(own, theirs, strict=True)
        )
        task = self.settings
        names = entities.measures(predicted, expected, task.average, strict=task.strict) if task.entities else {}
        means = {}
        if "macro_f1" in self.scored:
            confusion = Confusion.of(task.labels, chain.from_iterable(expected), chain.from_iterable(predicted))
            means = {"macro_f1": mean_f1(confusion.counts.astype(np.float64))}
        return {**names, "accuracy": right / words if words else 0.0, **means}

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        example = self.reader.question(text)
        words = self.reader.labelled(example)
        line = " ".join(f"{word}/{label}" for word, label in zip(words, answer["labels"], strict=True))
        values = {"labels": answer["labels"], "probabilities": answer["probabilities"]}
        return Answer({self.settings.text: self.reader.shown(example), **values}, [line])

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return ``prediction``, a label for each word, and their probabilities: ``labels`` may be the column of right ones."""
        return {"prediction": answer.values["labels"], "probabilities": answer.values["probabilities"]}

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        confusion = self._confusion(examples, answers)
        wrong = [
            {"words": list(example.texts), "place": place, "word": word, "expected": right, "label": given, "confidence": share}
            for example, answer in zip(examples.splits["validation"], answers, strict=True)
            for place, (word, right, given, share) in enumerate(
                zip(
                    self.reader.labelled(example), example.reference or (), answer["labels"], answer["probabilities"], strict=True
                )
            )
            if given != right
        ]
        wrong.sort(key=lambda error: -error["confidence"])
        return Review(collapsed=confusion.collapsed, confusion=confusion, errors=wrong)

    def _confusion(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Confusion:
        expected = chain.from_iterable(example.reference or () for example in examples.splits["validation"])
        return Confusion.of(self.settings.labels, expected, chain.from_iterable(answer["labels"] for answer in answers))

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show how often each label is given rightly, and the baseline: the commonest label of each word in training."""
        counts = self._confusion(examples, answers).counts
        parts: list[Demonstration | str] = []
        labels = self.settings.labels
        if len(labels) <= _LARGEST_TABLE:
            rows = []
            for label, expected, given, hits in zip(
                labels, counts.sum(axis=1), counts.sum(axis=0), counts.diagonal(), strict=True
            ):
                shares = [f"{hits / whole:.1%}" if whole else "" for whole in (given, expected)]
                rows.append([label, f"{expected:,}", f"{given:,}", *shares])
            parts.append(Demonstration("held-out words by label", ["label", "expected", "given", "precision", "recall"], rows))
        if best is not None:
            measured = f"best validation {self.program.selection.measure} {best:.4f}"
            parts.append(f"{measured}; {self._baseline(examples)}")
        return parts

    def _baseline(self, examples: Examples) -> str:
        """Return what giving each word its commonest label of training would score, in words."""
        seen: dict[str, Counter[str]] = {}
        everything: Counter[str] = Counter()
        for example in examples.splits["train"]:
            for word, label in zip(self.reader.labelled(example), example.reference or (), strict=True):
                seen.setdefault(word, Counter())[label] += 1
                everything[label] += 1
        usual = {word: min(counts, key=lambda label: (-counts[label], label)) for word, counts in seen.items()}
        commonest = min(everything, key=lambda label: (-everything[label], label))
        held_out = examples.splits["validation"]
        predictions = [{"labels": [usual.get(word, commonest) for word in self.reader.labelled(example)]} for example in held_out]
        measure = self.program.selection.measure
        value = self.score(predictions, [example.reference for example in held_out])[measure]
        return f"each word's commonest label of training alone has {value:.4f}"


def _in_parts(batch: Batch) -> Iterator[tuple[Inputs, Tensor]]:
    """Yield the inputs of some rows at a time, with the places of the words in them."""
    places, length = batch.targets["places"], batch.inputs.ids.shape[1]
    for first, part in batch.inputs.in_parts():
        inside = (places >= first * length) & (places < (first + len(part.ids)) * length)
        yield part, places[inside] - first * length
