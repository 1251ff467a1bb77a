"""Solved examples before a question: zero-, one- and few-shot scores (Brown et al. 2020, section 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from plmtrain import keyed_random
from plmtrain.errors import DataError
from plmtrain.scoring.examples import Question
from plmtrain.settings.scoring.base import FewShotSettings


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The text before an answer.

    Args:
        text: the solved examples and the question.
        shots: the number of solved examples.
        complete: whether all of it fits.
    """

    text: str
    shots: int
    complete: bool


@dataclass(frozen=True)
class Shots:
    """The solved examples that questions get.

    Args:
        settings: how many, and how they are joined.
        pool: the examples that they are drawn from.
        own: whether the pool is the questions themselves, none of which is its own example.
    """

    settings: FewShotSettings
    pool: Sequence[Question] = field(repr=False)
    own: bool

    def __post_init__(self) -> None:
        available = len(self.pool) - self.own
        if self.settings.shots > available:
            what = f"there are {available} solved examples to draw {self.settings.shots} from"
            remedy = f"write scoring.shots={max(0, available)}, or name more examples with scoring.shots_from="
            raise DataError(what, "scoring.shots_from" if not self.own else "scoring.files", remedy)

    def before(self, number: int) -> list[str]:
        """Return the solved examples before a question, in the order in which they stand there.

        Args:
            number: the place of the question among all of them.
        """
        wanted, size = self.settings.shots, len(self.pool)
        if not wanted:
            return []
        places = np.arange(min(size, wanted + self.own))
        drawn = keyed_random.permute(places, size, "solved examples", self.settings.seed, number).tolist()
        chosen = [place for place in drawn if not (self.own and place == number)][:wanted]
        return [self._solved(self.pool[place]) for place in chosen]

    def _solved(self, question: Question) -> str:
        settings = self.settings
        return f"{question.context}{settings.between}{question.answers[0]}{settings.separator}"

    def prompt(self, number: int, question: Question, fits: Callable[[str], bool]) -> Prompt:
        """Return the text before the answer to a question, with as many of its solved examples as fit.

        Args:
            number: the place of the question among all of them.
            question: the question.
            fits: whether the model takes a text and an answer after it.
        """
        solved = self.before(number)
        while True:
            text = "".join([*solved, question.context])
            complete = fits(text)
            if complete or not solved:
                return Prompt(text=text, shots=len(solved), complete=complete)
            solved = solved[1:]


def told(prompts: Sequence[Prompt], settings: FewShotSettings, longest: int) -> tuple[list[str], Mapping[str, float]]:
    """Return a line for each kind of shortened prompts, and the number of solved examples of a question.

    Args:
        prompts: of all questions.
        settings: how many solved examples were asked for.
        longest: the most tokens that the model takes.
    """
    fewer, cut = sum(prompt.shots < settings.shots for prompt in prompts), sum(not prompt.complete for prompt in prompts)
    mean = sum(prompt.shots for prompt in prompts) / len(prompts)
    lines = []
    if fewer:
        lines.append(
            f"{fewer:,} of {len(prompts):,} questions have fewer than {settings.shots} solved examples, {mean:.1f} on average: "
            f"more do not fit in {longest} tokens"
        )
    if cut:
        lines.append(f"{cut:,} of {len(prompts):,} questions were cut at their beginning: they do not fit in {longest} tokens")
    return lines, {"shots": mean, "fewer_shots": fewer, "cut": cut}
