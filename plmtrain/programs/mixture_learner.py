"""The learner of a mixture: one backbone with the heads of all parts, of which some are shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from plmtrain.backbones import Backbone
from plmtrain.programs.learner import Learner

if TYPE_CHECKING:
    from plmtrain.programs.program import AnyProgram, MakeBackbone
    from plmtrain.settings.models.base import ModelSettings


class MixtureLearner(Learner):
    """One backbone, and the heads of each part on it.

    Parts whose language-model heads have the same shape share one, as in XLM (Lample and Conneau 2019) and UniLM (Dong et al.
    2019): the task of the head is the same whichever tokens a part predicts, and a part that is trained late or rarely then has
    a trained head. All other heads belong to one part: those of NSP and SOP have the same shape but opposite labels.

    Args:
        backbone: the shared backbone.
        parts: the learner of each part, built on it. They borrow the backbone, and a head that an earlier part has.
        main: the default part, whose models come first.
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

    def part(self, name: str | None) -> Learner:
        if name is None:
            return self
        learner = self.get_submodule(f"part_{name}")
        assert isinstance(learner, Learner)
        return learner

    def models(self) -> Mapping[str, Sequence[nn.Module]]:
        """Return the models of all parts, the main part's first: named PART, or PART/MODEL if a part has several."""
        models: dict[str, Sequence[nn.Module]] = {}
        for name in (self._main, *self._lent):
            own = self.part(name).models()
            models |= {f"{name}/{model}" if len(own) > 1 else name: modules for model, modules in own.items()}
        return models

    @property
    def is_common(self) -> bool:
        used = [
            {id(weight) for module in (self.part(name), *lent) for weight in module.parameters()}
            for name, lent in self._lent.items()
        ]
        return all(weights == used[0] for weights in used)


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
        main: the default part, whose models come first.
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
