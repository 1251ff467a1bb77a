"""The programs that a step may train: one alone, or several that share a backbone, as in a mixture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Inputs
from plmtrain.programs.learner import Learner

if TYPE_CHECKING:
    from plmtrain.programs.program import AnyProgram, Baseline, MakeBackbone
    from plmtrain.settings.models.base import ModelSettings


@dataclass(frozen=True)
class Part:
    """A program, and where its learner is.

    Args:
        name: of the part; None where the program is the whole.
        program: what a step trains.
    """

    name: str | None
    program: AnyProgram

    def learner(self, whole: Learner) -> Learner:
        """Return the part's learner within the whole one."""
        if self.name is None:
            return whole
        assert isinstance(whole, MixtureLearner)
        return whole.part(self.name)

    def key(self, measure: str) -> str:
        """Return the name of one of the part's measures among those of the whole run: ``loss/TERM`` is ``loss/PART/TERM``."""
        if self.name is None:
            return measure
        if measure == "loss" or measure.startswith("loss/"):
            return f"loss/{self.name}{measure.removeprefix('loss')}"
        return f"{self.name}/{measure}"

    @property
    def baseline(self) -> Baseline | None:
        """The program's baseline, in the measures of the whole run."""
        own = self.program.baseline
        if own is None or self.name is None:
            return own
        return replace(own, measure=self.key(own.measure), reference=self.key(own.reference), of=f"{self.name}: {own.of}")


@dataclass(frozen=True)
class Parts:
    """The parts of what a run trains, and which of them each step trains.

    Args:
        members: all of them, in the order of their names.
        main: the one that answers where none is named.
        draw: the part of a step, by the run's seed and the 0-based step; the same in all processes.
        join: what a validation of all parts comes to, from what each part's own validation gave.
    """

    members: Sequence[Part]
    main: Part
    draw: Callable[[int, int], Part] = field(repr=False)
    join: Callable[[Mapping[str, Mapping[str, float]]], dict[str, float]] | None = field(default=None, repr=False)

    @classmethod
    def alone(cls, program: AnyProgram) -> Parts:
        """Return a program as the only, unnamed part of itself."""
        part = Part(None, program)
        return cls([part], part, lambda seed, step: part)

    @property
    def names(self) -> list[str]:
        """The names of the parts; empty where a program stands alone."""
        return [part.name for part in self.members if part.name is not None]

    def named(self, name: str) -> Part:
        """Return the part of some name, which must be one of ``names``."""
        return next(part for part in self.members if part.name == name)


class MixtureLearner(Learner):
    """One backbone, and the heads of each part on it.

    The head that scores the vocabulary is shared by the parts that have it in one shape, as in XLM (Lample and Conneau 2019) and
    UniLM (Dong et al. 2019): whichever tokens a part asks for, the question is the same, and a part that is trained late or
    seldom has a head that knows the vocabulary. All other heads are a part's own: those of NSP and SOP are of one shape and mean
    opposite things.

    Args:
        backbone: the shared one.
        parts: the learner of each part, built on it. The backbone, and a head that an earlier part has, are lent to them.
        main: the part whose heads are meant where none is named.
    """

    def __init__(self, backbone: Backbone, parts: Mapping[str, Learner], main: str) -> None:
        super().__init__(backbone)
        self._main = main
        self._lent: dict[str, list[nn.Module]] = {}
        heads = {name: learner.token_head for name, learner in parts.items()}
        for name, learner in parts.items():
            self._lent[name] = [backbone]
            lend(learner, backbone, backbone)
            head = heads[name]
            earlier = (heads[other] for other in self._lent if other != name)
            if head is not None and (shared := next((one for one in earlier if alike(one, head)), None)) is not None:
                lend(learner, head, shared)
                self._lent[name].append(shared)
            self.add_module(f"part_{name}", learner)

    def part(self, name: str) -> Learner:
        """Return the learner of a part."""
        learner = self.get_submodule(f"part_{name}")
        assert isinstance(learner, Learner)
        return learner

    @property
    def token_head(self) -> nn.Module | None:
        return self.part(self._main).token_head

    @property
    def pooler_layer(self) -> nn.Linear | None:
        return self.part(self._main).pooler_layer

    def models(self) -> Mapping[str, Sequence[nn.Module]]:
        """Return those of all parts by the part's name, or by both names where a part has several; the main part's first."""
        models: dict[str, Sequence[nn.Module]] = {}
        for name in (self._main, *self._lent):
            own = self.part(name).models()
            models |= {f"{name}/{model}" if len(own) > 1 else name: modules for model, modules in own.items()}
        return models

    def token_scores(self, inputs: Inputs) -> Tensor:
        return self.part(self._main).token_scores(inputs)

    @property
    def is_common(self) -> bool:
        """Whether every part uses every parameter."""
        used = [
            {id(weight) for module in (self.part(name), *lent) for weight in module.parameters()}
            for name, lent in self._lent.items()
        ]
        return all(weights == used[0] for weights in used)


def trains_all(learner: Learner) -> bool:
    """Whether every step trains every parameter of a learner."""
    return learner.is_common if isinstance(learner, MixtureLearner) else True


def alike(one: nn.Module | None, other: nn.Module) -> bool:
    """Whether two modules are of one class and shape."""
    if type(one) is not type(other) or one is None:
        return False
    shapes = [{name: tensor.shape for name, tensor in module.state_dict().items()} for module in (one, other)]
    return shapes[0] == shapes[1]


def lend(borrower: nn.Module, place: nn.Module, lent: nn.Module) -> None:
    """Let a module use another in the place of one of its own; only the lender lists, saves and moves it.

    Args:
        borrower: uses it from now on, wherever within it the place is.
        place: what is taken out.
        lent: what is used instead; the same module where it only ceases to be listed.
    """
    for module in list(borrower.modules()):
        for name in [name for name, child in module._modules.items() if child is place]:
            del module._modules[name]
            module.__dict__[name] = lent  # where torch does not look for modules


def build_mixture(parts: Mapping[str, AnyProgram], make: MakeBackbone, common: ModelSettings, main: str) -> MixtureLearner:
    """Build the learner of several programs on one backbone.

    Args:
        parts: the programs.
        make: builds a backbone.
        common: the settings of the backbone that they share; one of other settings is a part's own.
        main: the part whose heads are meant where none is named.
    """
    shared: list[Backbone] = []

    def make_once(model: ModelSettings) -> Backbone:
        if model != common:
            return make(model)
        if not shared:
            shared.append(make(model))
        return shared[0]

    learners = {name: part.build(make_once) for name, part in parts.items()}
    return MixtureLearner(shared[0], learners, main)
