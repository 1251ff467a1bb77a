"""Loading a trained model for prediction from any folder: a run, or a Hugging Face folder, imported or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from plmtrain import objectives, tasks
from plmtrain.errors import SettingsError
from plmtrain.interop import foreign
from plmtrain.interop.model import Model
from plmtrain.interop.task_file import sequence_length_in, task_of
from plmtrain.interop.tokenizers import tokenizer_in
from plmtrain.nn.heads import MaskDecoderHead, MaskedLMHead, PairHead, Pooler, TiedHead
from plmtrain.programs.program import Trainable
from plmtrain.settings.models.decoder import DecoderSettings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.models.relative_encoder_decoder import RelativeEncoderDecoderSettings
from plmtrain.settings.objectives.bart import BartSettings
from plmtrain.settings.objectives.clm import CausalLMSettings
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings
from plmtrain.settings.objectives.nsp import NextSentenceSettings
from plmtrain.settings.objectives.plm import PermutationLMSettings
from plmtrain.settings.objectives.sop import SentenceOrderSettings
from plmtrain.settings.objectives.span_corruption import SpanCorruptionSettings
from plmtrain.settings.objectives.tlm import TranslationLMSettings
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.restore import Trained, is_run, load_run


def load_trained(folder: Path, report: Callable[[str], None] = lambda line: None) -> Trained:
    """Load a run's newest sound checkpoint, or the model in a Hugging Face folder.

    Args:
        folder: the folder of either.
        report: called with a message for each damaged checkpoint that was skipped.

    Raises:
        SettingsError: if the folder contains neither, a model that no objective of plmtrain trains, or a classifier and not a
            word on how many texts it reads.
        CheckpointError: if its weights cannot be used.
    """
    if is_run(folder) or not foreign.is_model(folder):
        return load_run(folder, report)
    read = foreign.read(folder)
    tokenizer = tokenizer_in(folder)
    program = _program(read, tokenizer.vocabulary, folder)
    learner = program.build(lambda model: read.backbone)
    for place, part in learner.named_children():
        if part is not read.backbone:
            setattr(learner, place, read.heads[type(part)])
    return Trained(folder=folder, tokenizer=tokenizer, program=program, learner=learner.eval())


def _program(read: Model, vocabulary: Vocabulary, folder: Path) -> Trainable:
    """Make a program for prediction with a model's heads."""
    model = read.settings
    if isinstance(model, EncoderSettings) and model.languages and TiedHead in read.heads:
        return objectives.build(TranslationLMSettings(name="tlm"), model, vocabulary)
    if {MaskedLMHead, Pooler, PairHead} <= read.heads.keys():
        pairs = SentenceOrderSettings(name="sop") if model.published.pairs == "sop" else NextSentenceSettings(name="nsp")
        return objectives.build(pairs, model, vocabulary)
    if read.heads.keys() & {MaskedLMHead, MaskDecoderHead} or (isinstance(model, EncoderSettings) and TiedHead in read.heads):
        return objectives.build(MaskedLMSettings(name="mlm"), model, vocabulary)
    if (task := task_of(read, folder)) is not None:
        return tasks.build(task, model, vocabulary, min(sequence_length_in(folder) or model.positions, model.positions))
    if TiedHead in read.heads:
        return objectives.build(PermutationLMSettings(name="plm"), model, vocabulary)
    if isinstance(model, DecoderSettings) and not read.heads:
        return objectives.build(CausalLMSettings(name="clm"), model, vocabulary)
    if isinstance(model, RelativeEncoderDecoderSettings) and not read.heads:
        return objectives.build(SpanCorruptionSettings(name="span_corruption"), model, vocabulary)
    if isinstance(model, EncoderDecoderSettings) and not read.heads:
        return objectives.build(BartSettings(name="bart"), model, vocabulary)
    remedy = "start a run from it with init=, or take a folder with a language-model head"
    raise SettingsError("this model cannot answer", f"{folder} offers {', '.join(read.offers)}", remedy)
