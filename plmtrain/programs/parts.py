"""Several programs on one backbone: what each of them is as a part, and the learner that holds them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Batch, Term
from plmtrain.programs.program import Answer, Carry, Demonstration, Inspection, MakeBackbone, Program

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.generation import GenerationSettings
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.tokenizer import Tokenizer


class PartedLearner(nn.Module):
    """One backbone, and for each part what stands on it.

    The head that scores the vocabulary is shared by the parts that have it in one shape, as in XLM (Lample and Conneau 2019) and
    UniLM (Dong et al. 2019): whichever tokens a part asks for, the question is the same, and a part that is trained late or
    seldom has a head that knows the vocabulary. All other heads are a part's own: those of NSP and SOP are of one shape and mean
    opposite things.

    Args:
        backbone: the shared one.
        parts: the learner of each part, built on it. The backbone, and a head that an earlier part has, are lent to them.
        heads: by part, the head that it could share.
    """

    def __init__(self, backbone: Backbone, parts: Mapping[str, nn.Module], heads: Mapping[str, nn.Module | None]) -> None:
        super().__init__()
        self.backbone = backbone
        self.lent: dict[str, list[nn.Module]] = {}
        for name, learner in parts.items():
            self.lent[name] = [backbone]
            lend(learner, backbone, backbone)
            head = heads.get(name)
            earlier = (heads.get(other) for other in self.lent if other != name)
            if head is not None and (shared := next((one for one in earlier if alike(one, head)), None)) is not None:
                lend(learner, head, shared)
                self.lent[name].append(shared)
            self.add_module(f"part_{name}", learner)

    def part(self, name: str) -> nn.Module:
        """The learner of a part."""
        return self.get_submodule(f"part_{name}")

    @property
    def is_common(self) -> bool:
        """Whether every part uses every parameter."""
        used = [
            {id(weight) for module in (self.part(name), *lent) for weight in module.parameters()}
            for name, lent in self.lent.items()
        ]
        return all(weights == used[0] for weights in used)


def alike(one: nn.Module | None, other: nn.Module) -> bool:
    """Whether two modules are of one kind and shape."""
    if type(one) is not type(other) or one is None:
        return False
    shapes = [{name: tensor.shape for name, tensor in module.state_dict().items()} for module in (one, other)]
    return shapes[0] == shapes[1]


def lend(borrower: nn.Module, place: nn.Module, lent: nn.Module) -> None:
    """Let a module use another in the place of one of its own; the other's owner alone lists, saves and moves it.

    Args:
        borrower: uses it from now on, wherever within it the place is.
        place: what is taken out.
        lent: what is used instead; the same module where only its listing ends.
    """
    for module in list(borrower.modules()):
        for name in [name for name, child in module._modules.items() if child is place]:
            del module._modules[name]
            module.__dict__[name] = lent  # where torch does not look for modules


class Part(Program[Any]):
    """A program as a part of another: its learner is within a larger one, and its terms have its name before theirs.

    Args:
        name: of the part.
        program: what it does.
    """

    def __init__(self, name: str, program: Program[Any]) -> None:
        super().__init__(program.settings, program.model, program.vocabulary)
        self.part: str | None = name
        self.name = name
        self.program = program
        self.terms = tuple(f"{name}/{term}" for term in program.terms)
        self.ragged = program.ragged
        self.counted = program.counted
        self.in_nats_a_token = program.in_nats_a_token

    def learner_of(self, learner: nn.Module) -> nn.Module:
        """The part's learner within the whole."""
        return cast(PartedLearner, learner).part(self.name)

    def _inner(self, batch: Batch) -> Batch:
        """A batch as the program itself made it."""
        names = dict(zip(self.terms, self.program.terms, strict=True))
        return replace(batch, normalisers={names.get(name, name): count for name, count in batch.normalisers.items()})

    def row_length(self, sequence_length: int) -> int:
        return self.program.row_length(sequence_length)

    def row_advance(self, sequence_length: int) -> int:
        return self.program.row_advance(sequence_length)

    def other_length(self, sequence_length: int) -> int:
        return self.program.other_length(sequence_length)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        batch = self.program.collate(rows, keys)
        names = dict(zip(self.program.terms, self.terms, strict=True))
        return replace(batch, normalisers={names.get(name, name): count for name, count in batch.normalisers.items()})

    def collate_for_prediction(self, rows: Rows) -> Batch:
        return self.program.collate_for_prediction(rows)

    def build(self, make: MakeBackbone) -> nn.Module:
        return self.program.build(make)

    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        terms, carry = self.program.loss(self.learner_of(learner), self._inner(batch), carry)
        return {f"{self.name}/{name}": term for name, term in terms.items()}, carry

    def measures(self, counts: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        own = {name.removeprefix(f"{self.name}/"): numbers for name, numbers in counts.items()}
        return {f"{self.name}/{name}": value for name, value in self.program.measures(own).items()}

    def backbone_of(self, learner: nn.Module) -> Backbone:
        return cast(PartedLearner, learner).backbone

    def token_head_of(self, learner: nn.Module) -> nn.Module | None:
        """The part's own, or the one that was lent to it."""
        lent = cast(PartedLearner, learner).lent[self.name]
        shared = next((module for module in lent if not isinstance(module, Backbone)), None)
        return shared or self.program.token_head_of(self.learner_of(learner))

    def pooler_of(self, learner: nn.Module) -> nn.Linear | None:
        return self.program.pooler_of(self.learner_of(learner))

    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        return self.program.predict(self.learner_of(learner), batch)

    def writing(self, chosen: GenerationSettings) -> Part:
        return Part(self.name, self.program.writing(chosen))

    def inspect(self, batch: Batch) -> Inspection:
        return self.program.inspect(self._inner(batch))

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        return self.program.questions(texts, tokenizer)

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        return self.program.read_out(text, ids, answer, tokenizer)

    def demonstrate(self, learner: nn.Module, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        shown = self.program.demonstrate(self.learner_of(learner), rows, tokenizer)
        return replace(shown, title=f"{self.name}: {shown.title}")

    def models(self, learner: nn.Module) -> Mapping[str, Sequence[nn.Module]]:
        """Those of the program, by the part's name; by both names where it has several."""
        found = self.program.models(self.learner_of(learner))
        lent = cast(PartedLearner, learner).lent[self.name]
        return {
            f"{self.name}/{name}" if len(found) > 1 else self.name: _with_backbone(modules, lent)
            for name, modules in found.items()
        }

    def token_scores(self, learner: nn.Module, batch: Batch) -> Tensor:
        return self.program.token_scores(self.learner_of(learner), batch)


def _with_backbone(modules: Iterable[nn.Module], lent: Sequence[nn.Module]) -> list[nn.Module]:
    """A model's modules, with those that were lent to it where they are not among them."""
    modules = list(modules)
    return modules if any(isinstance(module, Backbone) for module in modules) else [*lent, *modules]


def build_parts(parts: Mapping[str, Program[Any]], make: MakeBackbone, common: ModelSettings) -> PartedLearner:
    """The learner of several programs on one backbone.

    Args:
        parts: the programs.
        make: builds a backbone.
        common: the settings of the one that they share; a backbone of other settings is a part's own.
    """
    shared: list[Backbone] = []

    def make_once(model: ModelSettings) -> Backbone:
        if model != common:
            return make(model)
        if not shared:
            shared.append(make(model))
        return shared[0]

    learners = {name: part.build(make_once) for name, part in parts.items()}
    heads = {name: part.token_head_of(learners[name]) for name, part in parts.items()}
    return PartedLearner(shared[0], learners, heads)
