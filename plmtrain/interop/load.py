"""``plmtrain.load``: load a trained model in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.backbones.bilstm import BiLSTM
from plmtrain.batch import Inputs
from plmtrain.errors import SettingsError
from plmtrain.interop import foreign
from plmtrain.interop.inputs import inputs_of
from plmtrain.interop.model import Model, vocabulary_scores
from plmtrain.interop.tokenizers import tokenizer_in
from plmtrain.interop.word_states import WordStates
from plmtrain.programs.parts import Part
from plmtrain.programs.spelling import with_spellings
from plmtrain.training.restore import TrainedRun, is_run, load_run, tokenizer_folder

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Loaded:
    """A loaded model.

    Args:
        folder: the folder it was loaded from.
        model: the torch module, in eval mode.
        backbone: the part of the module that computes hidden states.
        inputs: makes the backbone's inputs from the arguments of ``logits``.
        scores: computes the result of ``logits`` from the same arguments.
    """

    folder: Path
    model: nn.Module
    backbone: Backbone
    inputs: Callable[..., Inputs]
    scores: Callable[..., Tensor]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer.

        Raises:
            DataError: if the folder has none; the model can still be used with token ids.
        """
        return tokenizer_in(tokenizer_folder(self.folder))

    def logits(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        **inputs: Tensor,
    ) -> Tensor:
        """Return the language-model head's logits at every position.

        Args:
            input_ids: [batch, length] token ids.
            attention_mask: [batch, length], 1 at real tokens and 0 at padding; None without padding.
            token_type_ids: [batch, length] segment ids; None for the first segment everywhere.
            decoder_input_ids: [batch, length] the decoder's input of an encoder-decoder.
            inputs: further arguments of the model, such as ``position_ids``.

        Returns:
            [batch, length, vocabulary].

        Raises:
            SettingsError: if there is no language-model head, or for an argument that the model does not read.
            DataError: if ids or lengths exceed the model's.
        """
        given = {
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "decoder_input_ids": decoder_input_ids,
            **inputs,
        }
        with torch.no_grad():
            return self.scores(input_ids, **{name: value for name, value in given.items() if value is not None})

    def hidden_states(
        self,
        input_ids: Tensor | Sequence[Sequence[str]],
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        **inputs: Tensor,
    ) -> list[Tensor]:
        """Return the states of the embeddings and of every layer; of an encoder-decoder the encoder's, then the decoder's.

        A model that reads characters takes sentences as lists of words. It reads the marks of sentences around them, whose states
        are left out, and begins where the preceding call ended: the first sentence of this call continues the first one of that
        call, and so on, until ``reset``.

        Args:
            input_ids: [batch, length] token ids, or a list of words for each row of a model that reads characters.
            attention_mask, token_type_ids, decoder_input_ids, inputs: as for ``logits``; none of them for lists of words.

        Returns:
            [batch, length, width] each; of the longest sentence's length, with zeros after shorter ones, for lists of words.

        Raises:
            SettingsError: for an argument that the model does not read.
            DataError: if ids or lengths exceed the model's, or a sentence has no words.
        """
        given = {
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "decoder_input_ids": decoder_input_ids,
            **inputs,
        }
        present = {name: value for name, value in given.items() if value is not None}
        with torch.no_grad():
            if self.word_states is not None:
                return self.word_states.read(input_ids, present)
            return self.backbone.all_layers(self.inputs(input_ids, **present))

    def reset(self) -> None:
        """Forget the sentences that ``hidden_states`` has read; without effect on a model that keeps no state."""
        if self.word_states is not None:
            self.word_states.reset()

    @cached_property
    def word_states(self) -> WordStates | None:
        """The reader of lists of words; None for a model that reads token ids."""
        return WordStates(self.backbone) if isinstance(self.backbone, BiLSTM) else None


def load(folder: str | Path, part: str | None = None) -> Loaded:
    """Load the model of a run, of a Hugging Face folder, or of ELMo's original files.

    Args:
        folder: the folder of any of these.
        part: for a mixture, the part whose language-model head is used; the one with the largest share if None.

    Raises:
        SettingsError: if the folder contains neither, or the run has no part with this name.
        CheckpointError: if its weights cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SettingsError("there is no such folder", str(folder), "name a run, or a Hugging Face folder")
    if foreign.is_model(folder):
        if part is not None:
            raise SettingsError("a Hugging Face folder has no parts", f"part: {part}", "omit it")
        read = FromFolder(foreign.read(folder))
        return Loaded(folder, read.eval(), read.backbone, read.inputs, read)
    if is_run(folder):
        trained = load_run(folder)
        model = FromRun(trained, trained.part(part))
        return Loaded(folder, model.eval(), model.backbone, model.inputs, model)
    raise SettingsError("neither a run nor a Hugging Face model", str(folder), "name a run, or a folder with config.json in it")


class FromFolder(nn.Module):
    """The modules of a folder of another program as one module with the arguments of transformers' class.

    Args:
        read: the content of the folder.
    """

    def __init__(self, read: Model) -> None:
        super().__init__()
        self.settings = read.settings
        self.backbone = read.backbone
        self.heads = nn.ModuleList(read.heads.values())
        self._read = read

    def inputs(self, input_ids: Tensor, **given: Tensor) -> Inputs:
        """Make the backbone's inputs; arguments as in ``Loaded.logits``."""
        return inputs_of(self.settings, self.backbone.vocabulary_size, self._read.roles, input_ids, given)

    def forward(self, input_ids: Tensor, **others: Tensor) -> Tensor:
        """Return the logits over the vocabulary; arguments and result as in ``Loaded.logits``."""
        scores = None
        if not self.settings.reads_characters:
            scores = vocabulary_scores(self._read, self.inputs(input_ids, **others))
        if scores is None:
            raise SettingsError(
                "there is no language-model head",
                f"the folder offers {', '.join(self._read.offers)}",
                "use .model.backbone.encode, or load a folder of a class with a language-model head",
            )
        return scores


class FromRun(nn.Module):
    """A run's learner as one module with the arguments of transformers' class of its kind.

    Args:
        trained: the run.
        part: the part whose language-model head is used.
    """

    def __init__(self, trained: TrainedRun, part: Part) -> None:
        super().__init__()
        self.learner = trained.learner
        self._part = part

    @property
    def backbone(self) -> Backbone:
        """The backbone of the part."""
        return self._part.learner(self.learner).backbone

    def inputs(self, input_ids: Tensor, **given: Tensor) -> Inputs:
        """Make the backbone's inputs; arguments as in ``Loaded.logits``."""
        program = self._part.program
        inputs = inputs_of(program.model, self.learner.backbone.vocabulary_size, program.vocabulary.roles, input_ids, given)
        return with_spellings(inputs, program.model, program.vocabulary)

    def forward(self, input_ids: Tensor, **others: Tensor) -> Tensor:
        """Return the logits over the vocabulary; arguments and result as in ``Loaded.logits``."""
        return self._part.learner(self.learner).token_scores(self.inputs(input_ids, **others))
