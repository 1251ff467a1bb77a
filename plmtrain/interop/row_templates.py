"""The special tokens that a tokenizer puts around texts in transformers, compared with the rows that a model was trained on."""

from __future__ import annotations

from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.errors import CheckpointError
from plmtrain.families import Piece
from plmtrain.settings.models.base import ModelSettings
from plmtrain.text.tokenizer import Tokenizer

_TEXTS = ("one text", "another")


def framed_for(tokenizer: Tokenizer, model: ModelSettings) -> Tokenizer:
    """Return a tokenizer that frames a text and a pair as the model's rows are; the same one where it does so already.

    A tokenizer that lacks one of the tokens is returned as it is: no row of the model could be made with it.
    """
    if frames_alike(tokenizer, model):
        return tokenizer
    family = model.published.tokens
    return tokenizer.framing(_pieces(model, 1), _pieces(model, 2), padding_side=family.padding_side)


def frames_alike(tokenizer: Tokenizer, model: ModelSettings) -> bool:
    """Return whether a tokenizer frames a text and a pair as the model's rows are, as far as it has the tokens."""
    return all(_is_framed(tokenizer, model, texts) for texts in (1, 2))


def verify_frames(tokenizer: Tokenizer, model: ModelSettings, place: str) -> None:
    """Encode a text and a pair with a tokenizer that was written.

    Raises:
        CheckpointError: if the rows are not those that the model was trained on.
    """
    if not frames_alike(tokenizer, model):
        raise CheckpointError("the tokenizer frames texts otherwise than the training did", place, "the folder was removed")


def _segments(model: ModelSettings) -> int:
    """Return the number of segments that a model distinguishes; 0 if transformers' class does not read them."""
    return 0 if model.kind == "decoder" else getattr(model, "segments", 3)


def _pieces(model: ModelSettings, texts: int) -> tuple[Piece, ...]:
    """Return the pieces of the model's rows, without segments that it does not have."""
    most = _segments(model) - 1
    return tuple((piece, max(0, min(segment, most))) for piece, segment in RowFormat.of(model.family, texts).pieces)


def _is_framed(tokenizer: Tokenizer, model: ModelSettings, texts: int) -> bool:
    pieces, roles = _pieces(model, texts), tokenizer.vocabulary.roles
    if any(isinstance(piece, str) and piece not in roles for piece, _ in pieces):
        return True
    own = [ids.tolist() for ids, _ in tokenizer.encode(_TEXTS[:texts])]
    ids: list[int] = []
    segments: list[int] = []
    for piece, segment in pieces:
        part = own[piece] if isinstance(piece, int) else [roles[piece]]
        ids += part
        segments += [segment] * len(part)
    framed_ids, framed_segments = tokenizer.framed(*_TEXTS[:texts])
    # A model without segments does not read them.
    return framed_ids == ids and (framed_segments == segments or not _segments(model))
