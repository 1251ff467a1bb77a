"""Distillation: a small encoder learns the predictions and the states of a large one (Sanh et al. 2019, sections 2 and 3).

Three terms: the divergence of the student's probabilities of tokens from the teacher's, both softened by a temperature; the
loss of masked language modelling; and one minus the cosine between the last states of both. Teacher and student read the same
masked rows. Rare tokens are masked rather than frequent ones. The authors draw the masked tokens from a whole batch, 0.15 of its
tokens rounded up; here each row has its own share, so that a row's mask is the same in any batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.backbones import Backbone
from plmtrain.backbones.encoder import Encoder
from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.console import counted
from plmtrain.corruption.frequency_masking import FrequencyMasker
from plmtrain.data.rows.framing import framed
from plmtrain.errors import SettingsError
from plmtrain.nn.distillation import tied_divergence
from plmtrain.nn.heads import MaskedLMHead, TeacherProjection, TiedHead
from plmtrain.programs.masked.program import MaskedLearner, MaskedProgram
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.programs.taught import Taught
from plmtrain.settings.objectives.distillation import DistillationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.programs.learner import Learner
    from plmtrain.settings.models.encoder import EncoderSettings
    from plmtrain.text.vocabulary import Vocabulary


class DistillationLearner(MaskedLearner):
    """An encoder with a language-model head, and a projection of its states where the teacher's have another size.

    Args:
        backbone: the encoder.
        head: the language-model head.
        projection: maps the last states to the size of the teacher's; None if both have one size.
    """

    def __init__(self, backbone: Backbone, head: MaskedLMHead | TiedHead, projection: TeacherProjection | None) -> None:
        super().__init__(backbone, head)
        self.projection = projection

    def compared(self, hidden: Tensor) -> Tensor:
        """Return states as they are compared with the teacher's.  # [n, width] -> [n, teacher's width]"""
        compared: Tensor = hidden if self.projection is None else self.projection(hidden)
        return compared


class Distillation(MaskedProgram[DistillationSettings, DistillationLearner], Taught):
    """Predict the chosen tokens, give all tokens the probabilities that the teacher gives them, and have its last states."""

    def __init__(self, settings: DistillationSettings, model: EncoderSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = FrequencyMasker(settings, vocabulary, counts_special=True)
        # The teacher's logits are the greatest part of its cost, and this term alone reads them.
        self.terms = ("kl", "mlm", "cosine") if settings.kl_weight else ("mlm", "cosine")

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original = framed(rows, self.format, self.vocabulary)
        masked = self.mask(original, self._frequencies(rows).take(original.ids), keys)
        real = np.arange(original.ids.size) if original.real is None else np.flatnonzero(original.real)
        normalisers = {"mlm": float(len(masked.positions)), "cosine": float(len(real))}
        if self.settings.kl_weight:
            normalisers["kl"] = normalisers["cosine" if self.settings.kl_over == "real" else "mlm"]
        return Batch(
            inputs=Inputs(ids=torch.from_numpy(masked.ids), layout=Layout.of(original.real, original.documents)),
            targets={
                "positions": torch.from_numpy(masked.positions),
                "labels": torch.from_numpy(masked.labels),
                "real": torch.from_numpy(real),
            },
            samples=torch.from_numpy(keys.samples),
            normalisers=normalisers,
        )

    def _frequencies(self, rows: Rows) -> NDArray[np.float64]:
        """Return the frequency of each token; one that the training text lacks is as frequent as the rarest.  # [vocabulary]"""
        known = rows.frequencies
        if known is None:
            return np.ones(self.vocabulary.size)
        frequencies: NDArray[np.float64] = np.maximum(known, known[known > 0].min(initial=1.0))
        return frequencies

    def build(self, make: MakeBackbone) -> DistillationLearner:
        backbone = make(self.model)
        taught_width = self.settings.teacher_width
        projection = None
        if taught_width is not None and taught_width != backbone.width:
            model = self.model
            projection = TeacherProjection(
                backbone.width, taught_width, initial_std=model.initial_std, initial_truncated=model.initial_truncated
            )
        return DistillationLearner(backbone, self.head(backbone), projection)

    def lessons(self, teacher: Learner, batch: Batch) -> Mapping[str, Tensor]:
        states = teacher.backbone.encode(batch.inputs).flatten(0, 1)  # [batch * length, width]
        lessons = {"states": states.index_select(0, batch.targets["real"])}
        if self.settings.kl_weight:
            head = cast(MaskedLMHead | TiedHead, teacher.token_head)
            features = head.features(states.index_select(0, self._compared(batch)))
            lessons |= {"features": features, "table": teacher.backbone.embedding_weight, "bias": head.bias}
        return lessons

    def _compared(self, batch: Batch) -> Tensor:
        """Return the positions whose probabilities are compared.  # [n]"""
        return batch.targets["real" if self.settings.kl_over == "real" else "positions"]

    def loss(self, learner: DistillationLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        settings, lessons = self.settings, batch.lessons
        hidden = learner.backbone.encode(batch.inputs).flatten(0, 1)  # [batch * length, width]
        terms: dict[str, Term] = {}
        if settings.kl_weight:
            features = learner.head.features(hidden.index_select(0, self._compared(batch)))
            taught = lessons["features"], lessons["table"], lessons["bias"]
            total = tied_divergence(features, learner.backbone.embedding_weight, learner.head.bias, taught, settings.temperature)
            terms["kl"] = Term(total=total, normaliser=batch.normalisers["kl"], weight=settings.kl_weight)
        logits = learner.scores(hidden.index_select(0, batch.targets["positions"]))  # [predicted, vocabulary]
        terms["mlm"] = self.mlm_term(learner, batch, logits, settings.mlm_weight)
        states = learner.compared(hidden.index_select(0, batch.targets["real"]))  # [real, teacher's width]
        cosines = functional.cosine_similarity(states.float(), lessons["states"].float(), dim=-1)
        terms["cosine"] = Term(total=(1 - cosines).sum(), normaliser=batch.normalisers["cosine"], weight=settings.cosine_weight)
        return terms, carry

    def inherit(self, learner: DistillationLearner, teacher: Learner) -> str:
        chosen = self._initial_layers(learner.backbone, teacher.backbone)
        if not chosen:
            return "the student starts from random weights"
        pairs = list(_pairs(learner, teacher, chosen))
        if wrong := [line for place, ours, theirs in pairs for line in _unlike(place, ours, theirs)]:
            raise SettingsError(
                "the student cannot start from the teacher's weights",
                f"objective.initial_layers: {'; '.join(wrong[:4])}",
                "choose a model of the teacher's shape with fewer layers, or write objective.initial_layers=none",
            )
        for _, ours, theirs in pairs:
            source = theirs.state_dict()
            ours.load_state_dict({name: source[name] for name in ours.state_dict()})
        return f"the student starts from its embeddings, head and layers {', '.join(map(str, chosen))}"

    def _initial_layers(self, student: Backbone, teacher: Backbone) -> list[int]:
        """Return the teacher's layer that each block of the student starts from; none for random weights.

        Raises:
            SettingsError: if they are not one for each block, or the teacher lacks one.
        """
        chosen, wanted, known = self.settings.initial_layers, len(student.blocks()), _layers(teacher)
        if chosen == "none":
            return []
        if chosen == "spaced":
            return spaced(wanted, known)
        if len(chosen) != wanted or max(chosen) >= known:
            what = f"objective.initial_layers names the layers {', '.join(map(str, chosen))}"
            where = f"the student has {counted(wanted, 'block')}; the teacher's layers are 0 to {known - 1}"
            raise SettingsError(
                what, where, f"name {counted(wanted, 'layer')} of these, or write objective.initial_layers=spaced"
            )
        return list(chosen)


def spaced(wanted: int, known: int) -> list[int]:
    """Return layers at even distances, the first and the last among them: of 12 layers the six of the authors' code.

    Args:
        wanted: the number of layers to return.
        known: the number of layers to choose from.
    """
    gaps = max(1, wanted - 1)
    return [(2 * place * (known - 1) + gaps) // (2 * gaps) for place in range(wanted)]


def _layers(backbone: Backbone) -> int:
    return cast("EncoderSettings", backbone.settings).layers


def _pairs(learner: DistillationLearner, teacher: Learner, chosen: list[int]) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Yield each module of the student that starts from one of the teacher: its name, itself, and the teacher's."""
    ours, theirs = cast(Encoder, learner.backbone), cast(Encoder, teacher.backbone)
    yield "embeddings", ours.embeddings, theirs.embeddings
    assert teacher.token_head is not None, "refused where the teacher is loaded"
    yield "head", learner.head, teacher.token_head
    blocks = theirs.blocks()
    for place, layer in enumerate(chosen):
        yield f"layers.{place}", ours.blocks()[place], blocks[min(layer, len(blocks) - 1)]  # shared layers are one block


def _unlike(place: str, ours: nn.Module, theirs: nn.Module) -> Iterator[str]:
    """Yield the differences between tensors of the student and the teacher's. The teacher may have more, such as segments."""
    there = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        if name not in there:
            yield f"the teacher has no {place}.{name}"
        elif there[name].shape != tensor.shape:
            yield f"{place}.{name} is {list(there[name].shape)}, not {list(tensor.shape)}"
