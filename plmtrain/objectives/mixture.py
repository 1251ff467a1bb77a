"""Several objectives on one backbone: each step trains one of them, drawn with probability proportional to its share.

As in UniLM (Dong et al. 2019, section 2.3) and XLM (Lample and Conneau 2019, section 5.1), a step trains a single objective. The
draw is keyed by the seed and the step. A part reads the samples of the run's step, cut into its own rows, whichever parts were
drawn before: parts keep no position in the data. Parameters that the drawn part does not use, such as the other parts' heads,
have no gradient in that step; they and their moments do not change.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from plmtrain import keyed_random
from plmtrain.programs.learner import Learner
from plmtrain.programs.mixture_learner import MixtureLearner, build_mixture
from plmtrain.programs.parts import Part, Parts
from plmtrain.programs.program import AnyProgram, MakeBackbone, Trainable
from plmtrain.settings.objectives.mixture import MixtureSettings

if TYPE_CHECKING:
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.vocabulary import Vocabulary


class Mixture(Trainable):
    """Objectives on one backbone, one in each step; the one with the largest share is the default part.

    Args:
        settings: the shares of the objectives.
        programs: the objectives by name.
    """

    def __init__(self, settings: MixtureSettings, programs: Mapping[str, AnyProgram]) -> None:
        self.settings, self.programs = settings, programs
        self._main = max(settings.shares, key=lambda name: settings.shares[name])  # on ties, the first by name
        self.model, self.vocabulary = programs[self._main].model, programs[self._main].vocabulary
        trained = {name: share for name, share in settings.shares.items() if share}
        self._names, self._edges = list(trained), list(accumulate(trained.values()))
        self._members = {name: Part(name, program) for name, program in programs.items()}

    @classmethod
    def of(
        cls,
        settings: MixtureSettings,
        model: ModelSettings,
        vocabulary: Vocabulary,
        build: Callable[[Any], AnyProgram],
    ) -> Mixture:
        return cls(settings, {name: build(part) for name, part in settings.parts.items()})

    @property
    def parts(self) -> Parts:
        return Parts(list(self._members.values()), self._members[self._main], self._draw, self._join)

    def _draw(self, seed: int, step: int) -> Part:
        uniform = (keyed_random.scalar("mixture", seed, step) >> 10) * 2.0**-53
        place = bisect_right(self._edges, uniform * self._edges[-1])
        return self._members[self._names[min(place, len(self._names) - 1)]]

    def _join(self, measured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Return all measures under their part's name, and as ``loss`` the expected loss of a step: the mean of the parts'
        losses, weighted by their shares."""
        shares = self.settings.shares
        joined: dict[str, float] = {}
        for name, values in measured.items():
            joined |= {self._members[name].key(key): value for key, value in values.items()}
        joined["loss"] = sum(share * joined[f"loss/{name}"] for name, share in shares.items()) / sum(shares.values())
        return joined

    def build(self, make: MakeBackbone) -> MixtureLearner:
        return build_mixture(self.programs, make, self.model, self._main)

    def initialise(self, learner: Learner) -> None:
        for part in self._members.values():
            part.program.initialise(part.learner(learner))
