"""``plmtrain.load``: load a trained model in Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from plmtrain.errors import SettingsError
from plmtrain.interop import hugging_face
from plmtrain.interop.hugging_face import HuggingFaceModel
from plmtrain.interop.inputs import inputs_of
from plmtrain.interop.model import vocabulary_scores
from plmtrain.interop.tokenizers import tokenizer_in
from plmtrain.programs.parts import Part
from plmtrain.training.restore import TrainedRun, is_run, load_run, tokenizer_folder

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Loaded:
    """A loaded model.

    Args:
        folder: the folder it was loaded from.
        model: the torch module, in eval mode.
        scores: computes the result of ``logits`` from the same arguments.
    """

    folder: Path
    model: nn.Module
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


def load(folder: str | Path, part: str | None = None) -> Loaded:
    """Load the model of a run or a Hugging Face folder.

    Args:
        folder: the folder of either.
        part: for a mixture, the part whose language-model head is used; the one with the largest share if None.

    Raises:
        SettingsError: if the folder contains neither, or the run has no part with this name.
        CheckpointError: if its weights cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SettingsError("there is no such folder", str(folder), "name a run, or a Hugging Face folder")
    if (folder / "config.json").exists():
        if part is not None:
            raise SettingsError("a Hugging Face folder has no parts", f"part: {part}", "omit it")
        read = FromHuggingFace(hugging_face.read(folder))
        return Loaded(folder, read.eval(), read)
    if is_run(folder):
        trained = load_run(folder)
        model = FromRun(trained, trained.part(part))
        return Loaded(folder, model.eval(), model)
    raise SettingsError("neither a run nor a Hugging Face model", str(folder), "name a run, or a folder with config.json in it")


class FromHuggingFace(nn.Module):
    """The modules of a Hugging Face folder as one module with the arguments of transformers' class.

    Args:
        read: the content of the folder.
    """

    def __init__(self, read: HuggingFaceModel) -> None:
        super().__init__()
        self.settings = read.settings
        self.backbone = read.backbone
        self.heads = nn.ModuleList(read.heads.values())
        self._read = read

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Tensor) -> Tensor:
        """Return the logits over the vocabulary; arguments and result as in ``Loaded.logits``."""
        given = others if attention_mask is None else {"attention_mask": attention_mask, **others}
        inputs = inputs_of(self.settings, self.backbone.vocabulary_size, self._read.roles, input_ids, given)
        scores = vocabulary_scores(self._read, inputs)
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

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Tensor) -> Tensor:
        """Return the logits over the vocabulary; arguments and result as in ``Loaded.logits``."""
        program = self._part.program
        given = others if attention_mask is None else {"attention_mask": attention_mask, **others}
        tokens = self.learner.backbone.vocabulary_size
        inputs = inputs_of(program.model, tokens, program.vocabulary.roles, input_ids, given)
        return self._part.learner(self.learner).token_scores(inputs)
