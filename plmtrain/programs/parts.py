"""The parts of a run's training: one program, or the several programs of a mixture that share a backbone."""

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
    """A program and its name within a mixture.

    Args:
        name: the part's name; None if the program is not in a mixture.
        program: the program that a step trains.
    """

    name: str | None
    program: AnyProgram

    def learner(self, whole: Learner) -> Learner:
        """Return the part's learner within the run's learner."""
        if self.name is None:
            return whole
        assert isinstance(whole, MixtureLearner)
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

    def named(self, name: str) -> Part:
        """Return the part with a name, which must be one of ``names``."""
        return next(part for part in self.members if part.name == name)


class MixtureLearner(Learner):
    """One backbone, and the heads of each part on it.

    Parts whose language-model heads have the same shape share one, as in XLM (Lample and Conneau 2019) and UniLM (Dong et al.
    2019): the task of the head is the same whichever tokens a part predicts, and a part that is trained late or rarely then has
    a trained head. All other heads belong to one part: those of NSP and SOP have the same shape but opposite labels.

    Args:
        backbone: the shared backbone.
        parts: the learner of each part, built on it. They borrow the backbone, and a head that an earlier part has.
        main: the default part.
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
        """Return the models of all parts, the main part's first: named PART, or PART/MODEL if a part has several."""
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
    """Replace a submodule by a module of another owner, which alone registers, saves and moves it.

    Args:
        borrower: the module in which the submodule is replaced, at any depth.
        place: the submodule to replace.
        lent: the module that is used instead; the same module if it is only to be unregistered.
    """
    for module in list(borrower.modules()):
        for name in [name for name, child in module._modules.items() if child is place]:
            del module._modules[name]
            module.__dict__[name] = lent  # not registered with torch


def build_mixture(parts: Mapping[str, AnyProgram], make: MakeBackbone, common: ModelSettings, main: str) -> MixtureLearner:
    """Build the learner of several programs on one backbone.

    Args:
        parts: the programs.
        make: builds a backbone from model settings.
        common: the settings of the shared backbone; a backbone with other settings belongs to one part.
        main: the default part.
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
