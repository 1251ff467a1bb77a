"""The parts of a run's training: one program, or the several programs of a mixture that share a backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plmtrain.programs.baseline import Baseline
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import AnyProgram


@dataclass(frozen=True)
class Part:
    """A program and its name within a mixture.

    Args:
        name: the part's name; None if the program is not in a mixture.
        program: the program that a step trains.
    """

    name: str | None
    program: AnyProgram

    def learner(self, whole: Learner) -> Learner:
        """Return the part's learner within the run's learner."""
        return whole.part(self.name)

    def key(self, measure: str) -> str:
        """Return the name of one of the part's measures within the run: ``loss/TERM`` becomes ``loss/PART/TERM``."""
        if self.name is None:
            return measure
        if measure == "loss" or measure.startswith("loss/"):
            return f"loss/{self.name}{measure.removeprefix('loss')}"
        return f"{self.name}/{measure}"

    @property
    def baseline(self) -> Baseline | None:
        """The program's baseline, with the run's names of measures."""
        own = self.program.baseline
        if own is None or self.name is None:
            return own
        return replace(own, measure=self.key(own.measure), reference=self.key(own.reference), of=f"{self.name}: {own.of}")


@dataclass(frozen=True)
class Parts:
    """The parts of a run's training, and the choice of a part for each step.

    Args:
        members: all parts, in the order of their names.
        main: the default part.
        draw: returns the part of a step from the run's seed and the 0-based step; the same in all processes.
        join: combines the measures of each part's validation into those of the run.
    """

    members: Sequence[Part]
    main: Part
    draw: Callable[[int, int], Part] = field(repr=False)
    join: Callable[[Mapping[str, Mapping[str, float]]], dict[str, float]] | None = field(default=None, repr=False)

    @classmethod
    def alone(cls, program: AnyProgram) -> Parts:
        """Return a program as the only part, without a name."""
        part = Part(None, program)
        return cls([part], part, lambda seed, step: part)

    @property
    def names(self) -> list[str]:
        """The names of the parts; empty outside a mixture."""
        return [part.name for part in self.members if part.name is not None]

    @property
    def are_ragged(self) -> bool:
        """Whether the rows of any part differ in length from batch to batch."""
        return any(part.program.ragged for part in self.members)

    def named(self, name: str) -> Part:
        """Return the part with a name, which must be one of ``names``."""
        return next(part for part in self.members if part.name == name)
