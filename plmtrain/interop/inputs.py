"""Conversion of the arguments of transformers' classes to the inputs of plmtrain's models."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plmtrain.batch import Inputs, Layout, shift_right
from plmtrain.errors import DataError, SettingsError, nearest
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.models.encoder import EncoderSettings

_READS: Mapping[str, tuple[str, ...]] = {
    "encoder": ("attention_mask", "token_type_ids", "position_ids"),
    "disentangled": ("attention_mask", "token_type_ids"),
    "two_stream": ("attention_mask", "token_type_ids"),
    "encoder_decoder": ("attention_mask", "decoder_input_ids"),
    "decoder": ("attention_mask", "token_type_ids", "position_ids"),
}
"""The arguments besides ``input_ids`` that each kind of model reads."""


def inputs_of(settings: ModelSettings, tokens: int, roles: Mapping[str, int], ids: Tensor, given: Mapping[str, Tensor]) -> Inputs:
    """Make the inputs of a model.

    Args:
        settings: the model's settings.
        tokens: the number of rows of its token embedding.
        roles: the known ids of special tokens, by role.
        ids: [batch, length] token ids.
        given: the further arguments, by transformers' names.

    Raises:
        SettingsError: for an argument that the model does not read.
        DataError: if ids or lengths exceed the model's.
    """
    reads = _READS.get(settings.kind, ("attention_mask",))
    if getattr(settings, "languages", ()):
        reads = (*(name for name in reads if name != "token_type_ids"), "langs")
    for name in sorted(given.keys() - set(reads)):
        raise SettingsError(f"this kind of model ({settings.kind}) does not read {name}", "logits", nearest(name, reads))
    values = {name: torch.as_tensor(value) for name, value in given.items()}
    ids = torch.as_tensor(ids)
    _check_ids("input_ids", ids, settings.positions, tokens)
    mask, segments, positions = values.get("attention_mask"), values.get("token_type_ids"), None
    decoder = None
    if isinstance(settings, EncoderSettings):
        if settings.segments == 0:
            segments = None  # DistilBERT has no segments, but tokenizers like BERT's still return them
        if settings.languages:
            segments = values.get("langs")
        _check_segments("langs" if settings.languages else "token_type_ids", segments, settings.segment_rows)
        offset = settings.position_offset
        positions = _positions(ids, values.get("position_ids"), offset, roles.get("pad", offset - 1))
    if settings.kind == "disentangled":
        segments = None  # DeBERTa has none, but its tokenizers still return them
    if settings.kind == "decoder":
        positions = values.get("position_ids")
        if segments is not None:
            _check_ids("token_type_ids", segments, settings.positions, tokens)
    if settings.kind == "encoder_decoder":
        decoder_ids = values.get("decoder_input_ids")
        decoder_ids = shift_right(ids, _start(settings, roles)) if decoder_ids is None else decoder_ids
        _check_ids("decoder_input_ids", decoder_ids, settings.positions, tokens)
        decoder = Inputs(ids=decoder_ids, layout=Layout(causal=True))
    if settings.published.counts_padding and mask is None and "pad" in roles:
        # transformers' class removes padding anywhere in a row.
        mask = torch.arange(ids.shape[1], device=ids.device) < (ids != roles["pad"]).sum(dim=1, keepdim=True)
    layout = Layout(tokens=None if mask is None else mask.bool())
    return Inputs(ids=ids, layout=layout, segments=segments, positions=positions, decoder=decoder)


def _positions(ids: Tensor, position_ids: Tensor | None, offset: int, pad: int) -> Tensor | None:
    """Return positions from 0, as in transformers' class of the model's kind; None to count them along the row.

    Args:
        ids: [batch, length] token ids.
        position_ids: [batch, length] rows of the position table, if the caller gives them.
        offset: the number of unused rows at the start of that table.
        pad: the padding token's id. RoBERTa's class, which has an offset, counts only the other tokens, wherever padding is.
    """
    if position_ids is not None:
        return position_ids - offset
    if not offset:
        return None
    tokens = ids != pad
    return tokens.long().cumsum(dim=1) * tokens - 1


def _start(settings: ModelSettings, roles: Mapping[str, int]) -> int:
    """Return the token that a decoder's inputs begin with."""
    role = settings.published.decoder_start
    start = roles.get(role, roles.get("sep") if role == "eos" else None)
    if start is None:
        raise SettingsError("the decoder's start token is unknown", "logits", "give decoder_input_ids")
    return start


def _check_segments(name: str, segments: Tensor | None, known: int) -> None:
    """Refuse segment ids or language ids that exceed the model's embedding."""
    if segments is not None and segments.numel() and not 0 <= int(segments.min()) <= int(segments.max()) < known:
        raise DataError(
            f"{name} from {int(segments.min())} to {int(segments.max())}",
            f"the model has {known} {'languages' if name == 'langs' else 'segments'}",
            "omit them",
        )


def _check_ids(name: str, ids: Tensor, positions: int, tokens: int) -> None:
    """Refuse token ids and lengths that exceed the model's embeddings."""
    if ids.ndim != 2:
        raise DataError(f"{name} is {list(ids.shape)}", "logits", "give [batch, length]")
    if ids.shape[1] > positions:
        raise DataError(f"{ids.shape[1]} tokens in a row", f"the model takes at most {positions}", "truncate the text")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < tokens:
        vocabulary = f"the model has {tokens} tokens"
        raise DataError(f"{name} from {int(ids.min())} to {int(ids.max())}", vocabulary, "use the model's own tokenizer")
