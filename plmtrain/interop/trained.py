"""A model that can be asked, whatever folder it is in: a run of ours, or a Hugging Face folder, imported or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from plmtrain import objectives
from plmtrain.errors import SettingsError
from plmtrain.interop import hugging_face
from plmtrain.interop.tokenizers import tokenizer_in
from plmtrain.nn.heads import MaskedLMHead
from plmtrain.settings.lookup import objective_classes
from plmtrain.training.restore import Trained, is_run, load_run

_OBJECTIVES: Mapping[type[nn.Module], str] = {MaskedLMHead: "masked_lm"}
"""For a head, the type of the objective that could have trained it."""


def load_trained(folder: Path, report: Callable[[str], None] = lambda line: None) -> Trained:
    """Load a run's newest sound checkpoint, or the model in a Hugging Face folder.

    Args:
        folder: of either.
        report: hears of damaged checkpoints that were passed over.

    Raises:
        SettingsError: if the folder holds neither, or a model that no objective of ours trains.
        CheckpointError: if its weights cannot be used.
    """
    if is_run(folder) or not (folder / hugging_face.CONFIG).is_file():
        return load_run(folder, report)
    read = hugging_face.read(folder)
    name = next((name for kind, name in _OBJECTIVES.items() if kind in read.heads), None)
    if name is None:
        remedy = "start a run from it with init=, or take a folder with a language-model head"
        raise SettingsError("there is nothing here to ask", f"{folder} offers {', '.join(read.offers)}", remedy)
    tokenizer = tokenizer_in(folder)
    program = objectives.build(objective_classes()[name](type=name, name=name), read.settings, tokenizer.vocabulary)
    learner = program.build(lambda model: read.backbone)
    for place, part in learner.named_children():
        if part is not read.backbone:
            setattr(learner, place, read.heads[type(part)])
    return Trained(folder=folder, tokenizer=tokenizer, program=program, learner=learner.eval())
