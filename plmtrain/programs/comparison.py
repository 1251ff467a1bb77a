"""The terms of a loss that compare a student with its teacher: predictions, states and attention.

Predictions and last states are compared as in DistilBERT (Sanh et al. 2019, section 2), the embeddings, the states of each layer
and its attention as in TinyBERT (Jiao et al. 2020, section 3.1): each layer of the student has one of the teacher's, and where
the states of both differ in size, one projection, trained with the student, maps all of the student's, as in the authors' code.
The targets of a program's own, such as masked tokens, are its own matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from plmtrain.batch import Batch, Layout, Term
from plmtrain.console import counted
from plmtrain.nn.attention import may_see
from plmtrain.nn.blocks import Block
from plmtrain.nn.distillation import score_differences, tied_divergence
from plmtrain.nn.heads import TeacherProjection
from plmtrain.programs.learner import Learner, Scorer
from plmtrain.settings.comparison import ComparisonSettings

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.settings.models.base import UniformTransformerSettings


class ComparedLearner(Learner):
    """A student whose states are compared with a teacher's.

    Args:
        backbone: the part that is kept after pretraining.
    """

    projection: TeacherProjection | None
    """Maps states to the size of the teacher's; None if both have one size."""

    def compared(self, hidden: Tensor) -> Tensor:
        """Return states as they are compared with the teacher's.  # [n, width] -> [n, teacher's width]"""
        compared: Tensor = hidden if self.projection is None else self.projection(hidden)
        return compared


class Comparison:
    """The terms that compare a student with its teacher.

    Args:
        settings: the weight of each, and the layers that are compared.
        model: the student's settings.
    """

    def __init__(self, settings: ComparisonSettings, model: UniformTransformerSettings) -> None:
        self.settings, self.model = settings, model
        # The teacher's logits are the greatest part of its cost, and this term alone reads them.
        self.of_predictions = ("kl",) if settings.kl_weight else ()
        weights = {
            "cosine": settings.compares_last_states,
            "hidden": settings.hidden_weight,
            "attention": settings.attention_weight,
        }
        self.of_states = tuple(name for name, wanted in weights.items() if wanted)

    def projection(self) -> TeacherProjection | None:
        """Build the projection of the student's states, with initial weights; None if it needs none."""
        model, taught = self.model, self.settings.teacher_width
        if taught is None or taught == model.width:
            return None
        return TeacherProjection(model.width, taught, initial_std=model.initial_std, initial_truncated=model.initial_truncated)

    def normalisers(self, layout: Layout, ids: Tensor, compared: int) -> dict[str, float]:
        """Return the number of targets of each term.

        Args:
            layout: of the rows.
            ids: [batch, length].
            compared: the number of tokens whose probabilities are compared.
        """
        real = float(ids.numel() if layout.tokens is None else layout.tokens.sum())
        counts = {"kl": float(compared), "cosine": real, "hidden": real}
        if self.settings.attention_weight:
            seen = _pairs(layout, ids)
            counts["attention"] = float(len(ids) * ids.shape[1] ** 2 if seen is None else seen.sum())
        return {name: counts[name] for name in (*self.of_predictions, *self.of_states)}

    def lessons(self, teacher: Learner, batch: Batch, compared: Tensor | None) -> dict[str, Tensor]:
        """Return the teacher's outputs that the terms read; it is called without gradients.

        Args:
            teacher: reads the batch.
            batch: its targets may have the ``real`` positions; without them all are.
            compared: [n] the positions whose probabilities are compared; None for all.
        """
        layers = teacher.backbone.encode_layers(batch.inputs)
        lessons: dict[str, Tensor] = {}
        if self.of_predictions:
            assert isinstance(teacher, Scorer), "refused where the teacher is loaded"
            named = zip(("features", "table", "bias"), teacher.factors(_at(layers[-1], compared)), strict=True)
            lessons |= dict(named)
        if "cosine" in self.of_states:
            lessons["states"] = _at(layers[-1], batch.targets.get("real"))
        taught = self.taught_layers(teacher.backbone) if self.settings.maps_layers else []
        if self.settings.hidden_weight:
            read = [layers[0], *(layers[layer + 1] for layer in taught)]
            lessons["hidden"] = torch.stack([_at(states, batch.targets.get("real")) for states in read])
        if self.settings.attention_weight:
            lessons["attention"] = torch.stack([_scores(teacher.backbone, layer, layers[layer]) for layer in taught])
        return lessons

    def predictions(self, learner: Scorer, hidden: Tensor, batch: Batch, compared: Tensor | None) -> dict[str, Term]:
        """Return the term of the probabilities of tokens; none without its weight.

        Args:
            learner: the student.
            hidden: [batch, length, width] its last states.
            batch: with the teacher's outputs.
            compared: as in ``lessons``.
        """
        if not self.of_predictions:
            return {}
        lessons = batch.lessons
        taught = lessons["features"], lessons["table"], lessons["bias"]
        total = tied_divergence(*learner.factors(_at(hidden, compared)), taught, self.settings.temperature)
        return {"kl": Term(total=total, normaliser=batch.normalisers["kl"], weight=self.settings.kl_weight)}

    def states(self, learner: ComparedLearner, layers: Sequence[Tensor], batch: Batch) -> dict[str, Term]:
        """Return the terms of states and attention.

        Args:
            learner: the student.
            layers: the output of its embeddings and of each layer, [batch, length, width] each.
            batch: with the teacher's outputs.
        """
        settings, real, totals = self.settings, batch.targets.get("real"), {}
        if "cosine" in self.of_states:
            states, taught = learner.compared(_at(layers[-1], real)), batch.lessons["states"]  # [real, teacher's width]
            totals["cosine"] = (1 - functional.cosine_similarity(states.float(), taught.float(), dim=-1)).sum()
        if settings.hidden_weight:
            pairs = zip(layers, batch.lessons["hidden"], strict=True)
            differences = [learner.compared(_at(states, real)).float() - taught.float() for states, taught in pairs]
            totals["hidden"] = torch.stack([each.square().mean(dim=-1).sum() for each in differences]).sum()
        if settings.attention_weight:
            seen, backbone = _pairs(batch.layout, batch.inputs.ids), learner.backbone
            read = enumerate(zip(layers[:-1], batch.lessons["attention"], strict=True))
            differences = [score_differences(_scores(backbone, layer, states), taught, seen) for layer, (states, taught) in read]
            totals["attention"] = torch.stack(differences).sum()
        weights: Mapping[str, float] = {name: getattr(settings, f"{name}_weight") for name in totals}
        return {
            name: Term(total=total, normaliser=batch.normalisers[name], weight=weights[name]) for name, total in totals.items()
        }

    def taught_layers(self, teacher: Backbone) -> list[int]:
        """Return for each layer of the student the teacher's layer that it is compared with."""
        chosen = self.settings.taught_layers
        return uniform(self.model.layers, _settings(teacher).layers) if chosen == "uniform" else list(chosen)

    def unfit(self, teacher: Learner) -> Iterator[tuple[str, str]]:
        """Yield each reason why the student cannot be compared with a teacher, and what to do."""
        settings, model, taught = self.settings, self.model, _settings(teacher.backbone)
        if taught.kind != model.kind:
            yield f"the teacher is of kind {taught.kind}, and model={model.name} of kind {model.kind}", "choose two of one kind"
            return
        if self.of_predictions and not isinstance(teacher, Scorer):
            yield "the teacher scores no tokens", "write objective.kl_weight=0, or name a model with a language-model head"
        width = settings.teacher_width or model.width
        if self.of_states and taught.width != width:
            what = f"the teacher's states have {taught.width} numbers, and objective.teacher_width says {width}"
            yield what, f"write objective.teacher_width={taught.width}"
        chosen = () if settings.taught_layers == "uniform" or not settings.maps_layers else settings.taught_layers
        if chosen and (len(chosen) != model.layers or max(chosen) >= taught.layers):
            what = (
                f"objective.taught_layers names the layers {', '.join(map(str, chosen))}, the student has "
                f"{counted(model.layers, 'layer')}, and the teacher's are 0 to {taught.layers - 1}"
            )
            yield what, f"name {counted(model.layers, 'layer')} of these, or write objective.taught_layers=uniform"
        if settings.attention_weight and taught.heads != model.heads:
            what = f"the teacher has {counted(taught.heads, 'attention head')}, and the student {model.heads}"
            yield what, f"write model.heads={taught.heads}, or objective.attention_weight=0"


def uniform(layers: int, known: int) -> list[int]:
    """Return the last layer of each of as many equal shares of a teacher's layers: of 12 layers, 2, 5, 8 and 11 for 4 (Jiao et
    al. 2020, section 4.1: g(m) = 3m).

    Args:
        layers: the student's.
        known: the teacher's.
    """
    return [max(0, (2 * (place + 1) * known + layers) // (2 * layers) - 1) for place in range(layers)]


def _settings(backbone: Backbone) -> Any:
    """Return the settings of an encoder or a decoder of Transformer blocks."""
    return backbone.settings


def _scores(backbone: Backbone, layer: int, hidden: Tensor) -> Tensor:
    """Return the attention scores of a layer, given its input.  # [batch, heads, query, key]"""
    blocks = backbone.blocks()
    block = blocks[min(layer, len(blocks) - 1)]  # shared layers are one block
    assert isinstance(block, Block)
    return block.attention_scores(hidden)


def _at(states: Tensor, positions: Tensor | None) -> Tensor:
    """Return states at some positions, or at all of them.  # [batch, length, width] -> [n, width]"""
    flat = states.flatten(0, 1)
    return flat if positions is None else flat.index_select(0, positions)


def _pairs(layout: Layout, ids: Tensor) -> Tensor | None:
    """Return the pairs of positions whose attention is compared: where a token that is not padding sees another.

    Returns:
        [batch, query, key]; None for all pairs.
    """
    seen = may_see(layout, ids.shape[1], ids.device)
    if seen is None:
        return None
    seen = seen if layout.tokens is None else seen & layout.tokens[:, :, None]
    return seen.expand(len(ids), ids.shape[1], -1)
