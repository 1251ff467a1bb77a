"""``plmtrain.load``: a trained model in three lines of Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from plmtrain.batch import Batch, Layout
from plmtrain.errors import DataError, SettingsError, nearest
from plmtrain.interop import hugging_face
from plmtrain.interop.hugging_face import HuggingFaceModel
from plmtrain.interop.tokenizers import tokenizer_in
from plmtrain.nn.heads import MaskedLMHead
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.training.restore import TrainedRun, is_run, load_run, tokenizer_folder

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Loaded:
    """A model ready to use.

    Args:
        folder: where it came from.
        model: the torch module, in eval mode.
        scores: computes what ``logits`` returns, from the same arguments.
    """

    folder: Path
    model: nn.Module
    scores: Callable[..., Tensor]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Turns text into ids and back.

        Raises:
            DataError: if the folder has none; a model without one still takes ids.
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
        """The language-model head's scores at every position.

        Args:
            input_ids: [batch, length] token ids.
            attention_mask: [batch, length], 1 at real tokens and 0 at padding; None where there is none.
            token_type_ids: [batch, length] segment ids; None for the first segment throughout.
            decoder_input_ids: [batch, length] for models with a decoder beside their encoder.
            inputs: what else the model reads, such as ``position_ids``.

        Returns:
            [batch, length, vocabulary].

        Raises:
            SettingsError: if there is no language-model head, or an input that the model does not read.
            DataError: if ids or lengths are beyond the model's.
        """
        given = {
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "decoder_input_ids": decoder_input_ids,
            **inputs,
        }
        with torch.no_grad():
            return self.scores(input_ids, **{name: value for name, value in given.items() if value is not None})


def load(folder: str | Path) -> Loaded:
    """Load a run's or a Hugging Face folder.

    Raises:
        SettingsError: if the folder holds neither.
        CheckpointError: if its weights cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SettingsError("there is no such folder", str(folder), "name a run, or a Hugging Face folder")
    if (folder / "config.json").exists():
        found = FromHuggingFace(hugging_face.read(folder))
        return Loaded(folder, found.eval(), found)
    if is_run(folder):
        model = FromRun(load_run(folder))
        return Loaded(folder, model.eval(), model)
    raise SettingsError("neither a run nor a Hugging Face model", str(folder), "name a run, or a folder with config.json in it")


class FromHuggingFace(nn.Module):
    """The parts of a Hugging Face folder as one module that reads what transformers' class would.

    Args:
        read: the parts.
    """

    def __init__(self, read: HuggingFaceModel) -> None:
        super().__init__()
        settings = read.settings
        assert isinstance(settings, EncoderSettings)
        self.settings = settings
        self.backbone = read.backbone
        self.heads = nn.ModuleList(read.heads.values())
        self.head = read.heads.get(MaskedLMHead)
        self.pad = read.roles.get("pad", settings.position_offset - 1)
        self.offers = read.offers

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        **others: Tensor,
    ) -> Tensor:
        """Scores over the vocabulary; arguments and result as in ``Loaded.logits``."""
        for name in others:
            valid = ("attention_mask", "token_type_ids", "position_ids")
            raise SettingsError(f"an encoder does not read {name}", "logits", nearest(name, valid))
        if self.head is None:
            raise SettingsError(
                "there is no language-model head here",
                f"the folder offers {', '.join(self.offers)}",
                "use .model.backbone.encode, or load a folder of a ForMaskedLM class",
            )
        ids = torch.as_tensor(input_ids)
        check_ids(ids, self.settings.positions, self.backbone.vocabulary_size)
        layout = Layout(tokens=None if attention_mask is None else torch.as_tensor(attention_mask).bool())
        if self.settings.segments == 0:
            token_type_ids = None  # DistilBERT has none; tokenizers of BERT's kind still make them
        check_segments(token_type_ids, self.settings.segments)
        positions = positions_of(ids, position_ids, self.settings.position_offset, self.pad)
        hidden = self.backbone.encode(ids, layout, token_type_ids, positions)
        scores: Tensor = self.head(hidden, self.backbone.embedding_weight)
        return scores


def positions_of(ids: Tensor, position_ids: Tensor | None, offset: int, pad: int) -> Tensor | None:
    """Positions counted from 0, as transformers' class of the model's kind has them; None for their order in the row.

    Args:
        ids: [batch, length] token ids.
        position_ids: [batch, length] rows of the position table, where the caller names them.
        offset: rows at the head of that table that no position uses.
        pad: the padding's id. RoBERTa's class, which has such an offset, counts the other tokens, wherever padding stands.
    """
    if position_ids is not None:
        return torch.as_tensor(position_ids) - offset
    if not offset:
        return None
    tokens = ids != pad
    return tokens.long().cumsum(dim=1) * tokens - 1


def check_segments(segments: Tensor | None, known: int) -> None:
    """Refuse segment ids that the model has no row for.

    Raises:
        DataError: if there is one.
    """
    if segments is not None and segments.numel() and not 0 <= int(segments.min()) <= int(segments.max()) < known:
        raise DataError(
            f"token_type_ids from {int(segments.min())} to {int(segments.max())}",
            f"the model has {known} segments",
            "leave them out",
        )


def check_ids(ids: Tensor, positions: int, vocabulary_size: int) -> None:
    """Refuse ids that the model has no row for.

    Raises:
        DataError: if ids or lengths are beyond the model's.
    """
    if ids.ndim != 2:
        raise DataError(f"input_ids is {list(ids.shape)}", "logits", "give [batch, length]")
    if ids.shape[1] > positions:
        raise DataError(f"{ids.shape[1]} tokens in a row", f"the model takes {positions}", "cut the text")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary_size:
        vocabulary = f"the model has {vocabulary_size} tokens"
        raise DataError(f"ids from {int(ids.min())} to {int(ids.max())}", vocabulary, "use the model's own tokenizer")


class FromRun(nn.Module):
    """A run's learner as one module that reads what transformers' class of its kind would.

    Args:
        trained: the run.
    """

    INPUTS = {"token_type_ids": "segments", "position_ids": "positions"}  # noqa: RUF012  # transformers' names and ours

    def __init__(self, trained: TrainedRun) -> None:
        super().__init__()
        self.learner = trained.learner
        self.program = trained.program

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Tensor) -> Tensor:
        """Scores over the vocabulary; arguments and result as in ``Loaded.logits``."""
        for name in others:
            if name not in self.INPUTS:
                raise SettingsError(f"the run does not read {name}", "logits", nearest(name, ["attention_mask", *self.INPUTS]))
        ids = torch.as_tensor(input_ids)
        check_ids(ids, self.program.model.positions, self.program.vocabulary.size)
        inputs = {"ids": ids, **{self.INPUTS[name]: torch.as_tensor(value) for name, value in others.items()}}
        model = self.program.model
        if isinstance(model, EncoderSettings):
            if model.segments:
                check_segments(inputs.get("segments"), model.segments)
            positions = positions_of(ids, others.get("position_ids"), model.position_offset, self.program.vocabulary["pad"])
            if positions is not None:
                inputs["positions"] = positions
        batch = Batch(
            inputs=inputs,
            targets={},
            layout=Layout(tokens=None if attention_mask is None else torch.as_tensor(attention_mask).bool()),
            samples=torch.arange(len(ids)),
            normalisers={},
        )
        return self.program.token_scores(self.learner, batch)
