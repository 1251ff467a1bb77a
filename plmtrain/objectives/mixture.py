"""Several objectives on one backbone: each step trains one of them, drawn by key with its share.

Every part reads the samples of the run's own step in rows of its own, whichever part was drawn before: no part has a position.
What is not of the drawn part, its heads above all, has no gradient in that step and stays as it is, its moments too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

from plmtrain import keyed_random
from plmtrain.programs.parts import Part, PartedLearner, build_parts
from plmtrain.programs.program import MakeBackbone, Program
from plmtrain.settings.objectives.mixture import MixtureSettings

if TYPE_CHECKING:
    from torch import nn

    from plmtrain.settings.generation import GenerationSettings
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.vocabulary import Vocabulary


class Mixture(Part):
    """Several objectives on one backbone, one in each step.

    Asked as a whole, it answers as the part with the largest share.

    Args:
        settings: the shares.
        parts: the objectives, ready, by name.
    """

    def __init__(self, settings: MixtureSettings, parts: Mapping[str, Program[Any]]) -> None:
        main = max(settings.shares, key=lambda name: settings.shares[name])  # of equal ones the first by name
        super().__init__(main, parts[main])
        self.settings, self.part, self.main = settings, None, main
        self.parts: dict[str, Part] = {name: Part(name, part) for name, part in parts.items()}
        self.terms = tuple(term for part in self.parts.values() for term in part.terms)
        self.ragged = any(part.ragged for part in self.parts.values())
        trained = {name: share for name, share in settings.shares.items() if share}
        self._names, self._edges = list(trained), list(accumulate(trained.values()))

    @classmethod
    def of(cls, settings: Any, model: ModelSettings, vocabulary: Vocabulary, build: Callable[[Any], Program[Any]]) -> Mixture:
        return cls(settings, {name: build(part) for name, part in settings.parts.items()})

    def drawn(self, seed: int, step: int) -> Program[Any]:
        uniform = (keyed_random.scalar("mixture", seed, step) >> 10) * 2.0**-53
        place = bisect_right(self._edges, uniform * self._edges[-1])
        return self.parts[self._names[min(place, len(self._names) - 1)]]

    def trains_all(self, learner: nn.Module) -> bool:
        return cast(PartedLearner, learner).is_common

    def joined(self, measured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """``loss``, what a step costs on average: the parts' losses by their shares. Of each part ``loss/PART``, and what it
        measured, under its name."""
        shares = self.settings.shares
        found: dict[str, float] = {}
        for name, values in measured.items():
            for key, value in values.items():
                if key == "loss":
                    found[f"loss/{name}"] = value
                elif key.removeprefix("loss/").startswith(f"{name}/"):
                    found[key] = value
                else:
                    found[f"{name}/{key}"] = value
        found["loss"] = sum(share * found[f"loss/{name}"] for name, share in shares.items()) / sum(shares.values())
        return found

    def build(self, make: MakeBackbone) -> PartedLearner:
        return build_parts({name: part.program for name, part in self.parts.items()}, make, self.model)

    def writing(self, chosen: GenerationSettings) -> Part:
        return self.parts[self.name].writing(chosen)

    def models(self, learner: nn.Module) -> Mapping[str, Sequence[nn.Module]]:
        """Those of all parts, those of the main one first."""
        found = dict(self.parts[self.name].models(learner))
        for part in self.parts.values():
            found |= part.models(learner)
        return found
