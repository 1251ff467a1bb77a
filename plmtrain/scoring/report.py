"""Scores with their standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.scoring.likelihood import Likelihood, likelihood_of

if TYPE_CHECKING:
    from plmtrain.programs.learner import Learner
    from plmtrain.settings.scoring.base import LikelihoodSettings
    from plmtrain.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is scored.

    Args:
        learner: in eval mode, on its device.
        tokenizer: its tokenizer.
        trained_length: the tokens of the rows that it was trained on, special ones included; None if unknown.
        own_text: yields the documents that are scored if no files are named; it raises a ``SettingsError`` if there are none.
        reading: makes the context in which it reads.
    """

    learner: Learner
    tokenizer: Tokenizer
    trained_length: int | None = None
    own_text: Callable[[], Iterable[str]] = tuple
    reading: Callable[[], AbstractContextManager[object]] = nullcontext

    def likelihood(self, settings: LikelihoodSettings) -> Likelihood:
        """Return how the likelihood of texts is computed under it."""
        return likelihood_of(
            self.learner,
            self.tokenizer.vocabulary,
            batch_tokens=settings.batch_tokens,
            also_hidden=settings.also_hidden,
            reading=self.reading,
        )


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score of several examples.

    Args:
        name: its name.
        value: its value.
        error: its standard error; None if there are too few examples.
        unit: its unit.
    """

    name: str
    value: float
    error: float | None
    unit: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """The scores of a model.

    Args:
        measured: the measure that the scores are computed from, e.g. the log-likelihood.
        examples: the number of examples, or of documents.
        scores: the scores of all examples.
        by_file: for several files, the scores of each.
        counts: what was counted, e.g. tokens.
        notes: remarks for a person, a line each.
    """

    measured: str
    examples: int
    scores: Sequence[Score]
    by_file: Mapping[str, Sequence[Score]] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def values(self) -> dict[str, Any]:
        """Return the report as JSON-serialisable values."""
        return {
            "measured": self.measured,
            "examples": self.examples,
            **self.counts,
            "scores": _values(self.scores),
            "by_file": {name: _values(scores) for name, scores in self.by_file.items()},
            "notes": list(self.notes),
        }


def _values(scores: Sequence[Score]) -> dict[str, dict[str, Any]]:
    return {score.name: {"value": score.value, "standard_error": score.error, "unit": score.unit} for score in scores}


def share(name: str, values: NDArray[np.float64], unit: str = "of examples") -> Score:
    """Return the mean of a score of each example, with its standard error.

    Args:
        name: its name.
        values: [examples] from 0 to 1.
        unit: its unit.
    """
    error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return Score(name=name, value=float(values.mean()), error=error, unit=unit)


def by_file(name: str, files: Sequence[str], values: NDArray[np.float64]) -> dict[str, list[Score]]:
    """Return the mean of a score for each file; nothing for one file.

    Args:
        name: the name of the score.
        files: [examples] the file of each example.
        values: [examples] from 0 to 1.
    """
    names = list(dict.fromkeys(files))
    of = np.array(files)
    return {file: [share(name, values[of == file])] for file in names} if len(names) > 1 else {}
