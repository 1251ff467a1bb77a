"""The weights with which a student begins: its teacher's embeddings and head, and some of its layers (Sanh et al. 2019, section
3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from plmtrain.console import counted
from plmtrain.errors import SettingsError

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.programs.learner import Learner
    from plmtrain.settings.comparison import ComparisonSettings

_LAYERS = "layers"
"""The name of a backbone's blocks among its modules."""
_SAME = ("heads", "activation", "norm")
"""The settings of a model that no tensor shows, and that give its weights their meaning."""


def inherit(settings: ComparisonSettings, learner: Learner, teacher: Learner) -> str:
    """Replace fresh weights of a student by its teacher's, as the settings say.

    Args:
        settings: name the layers.
        learner: the student, an encoder or a decoder with its heads.
        teacher: the teacher's learner, of the same kind.

    Returns:
        A description of what was replaced.

    Raises:
        SettingsError: if the weights differ in shape or meaning, or the settings do not name a layer for each of the student's.
    """
    chosen = _initial_layers(settings, learner.backbone, teacher.backbone)
    if not chosen:
        return "the student starts from random weights"
    pairs = list(_pairs(learner, teacher, chosen))
    wrong = [*_of_other_meaning(learner.backbone, teacher.backbone)]
    wrong += [line for place, ours, theirs in pairs for line in _unlike(place, ours, theirs)]
    if wrong:
        raise SettingsError(
            "the student cannot start from the teacher's weights",
            f"objective.initial_layers: {'; '.join(wrong[:4])}",
            "choose a model of the teacher's shape with fewer layers, or write objective.initial_layers=none",
        )
    for _, ours, theirs in pairs:
        assert theirs is not None
        source = theirs.state_dict()
        ours.load_state_dict({name: source[name] for name in ours.state_dict()})
    head = "" if learner.token_head is None else ", head"
    return f"the student starts from its embeddings{head} and layers {', '.join(map(str, chosen))}"


def spaced(wanted: int, known: int) -> list[int]:
    """Return layers at even distances, the first and the last among them: of 12 layers the six of the authors' code.

    Args:
        wanted: the number of layers to return.
        known: the number of layers to choose from.
    """
    gaps = max(1, wanted - 1)
    return [(2 * place * (known - 1) + gaps) // (2 * gaps) for place in range(wanted)]


def _initial_layers(settings: ComparisonSettings, student: Backbone, teacher: Backbone) -> Sequence[int]:
    """Return the teacher's layer that each block of the student starts from; none for random weights."""
    taught: Any = teacher.settings
    chosen, wanted, known = settings.initial_layers, len(student.blocks()), taught.layers
    if chosen == "none":
        return []
    if chosen == "spaced":
        return spaced(wanted, known)
    if len(chosen) != wanted or max(chosen) >= known:
        what = f"objective.initial_layers names the layers {', '.join(map(str, chosen))}"
        where = f"the student has {counted(wanted, 'block')}; the teacher's layers are 0 to {known - 1}"
        raise SettingsError(what, where, f"name {counted(wanted, 'layer')} of these, or write objective.initial_layers=spaced")
    return chosen


def _pairs(learner: Learner, teacher: Learner, chosen: Sequence[int]) -> Iterator[tuple[str, nn.Module, nn.Module | None]]:
    """Yield each module of the student that starts from one of the teacher: its name, itself, and the teacher's."""
    theirs = dict(teacher.backbone.named_children())
    for name, module in learner.backbone.named_children():
        if name != _LAYERS:
            yield name, module, theirs.get(name)
    if learner.token_head is not None:
        yield "head", learner.token_head, teacher.token_head
    blocks = teacher.backbone.blocks()
    for place, (own, layer) in enumerate(zip(learner.backbone.blocks(), chosen, strict=True)):
        yield f"{_LAYERS}.{place}", own, blocks[min(layer, len(blocks) - 1)]  # shared layers are one block


def _of_other_meaning(student: Backbone, teacher: Backbone) -> Iterator[str]:
    for key in _SAME:
        ours, theirs = (getattr(backbone.settings, key, None) for backbone in (student, teacher))
        if ours != theirs:
            yield f"{key} is {theirs}, not {ours}"


def _unlike(place: str, ours: nn.Module, theirs: nn.Module | None) -> Iterator[str]:
    """Yield the differences between tensors of the student and the teacher's. The teacher may have more, such as segments."""
    there = {} if theirs is None else theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        if name not in there:
            yield f"the teacher has no {place}.{name}"
        elif there[name].shape != tensor.shape:
            yield f"{place}.{name} is {list(there[name].shape)}, not {list(tensor.shape)}"
