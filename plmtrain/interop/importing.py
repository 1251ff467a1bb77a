"""From a Hugging Face folder to one that serves wherever a run does.

It keeps Hugging Face's layout, which ``plmtrain.load``, ``init=``, ``predict`` and ``export`` read as it is, so that there is
no second way to load a model. What importing adds is that everything was judged before, once: one safetensors file in fp32, no
pickle, no code, no name that leads elsewhere, weights that are finite and compute the same when they are read back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from plmtrain.errors import DataError
from plmtrain.interop import hugging_face
from plmtrain.interop.card import card_of_import
from plmtrain.interop.hugging_face import HuggingFaceModel
from plmtrain.interop.initial import weights_digest
from plmtrain.interop.publishing import Published, publish
from plmtrain.interop.tokenizers import has_tokenizer, tokenizer_in
from plmtrain.text.tokenizer import Tokenizer


def import_folder(source: Path, target: Path, warn: Callable[[str], None]) -> Published:
    """Read a Hugging Face folder and write what plmtrain understands of it.

    Args:
        source: a stranger's folder.
        target: the folder to write, which does not exist yet.
        warn: hears of what is missing or was left out.

    Raises:
        SettingsError: if the folder holds no model that we have, pickled weights or code, or if the place is taken.
        CheckpointError: if its weights are damaged, or if what was written is not what was read; nothing is left of it.
        DataError: if its tokenizer is damaged.
        DiskError: if the disk refuses.
    """
    model = hugging_face.read(source)
    tokenizer = tokenizer_in(source) if has_tokenizer(source) else None
    if tokenizer is None:
        warn("there is no tokenizer here that plmtrain reads: the model takes token ids only")
    for line in _missing(model, tokenizer):
        warn(line)
    if model.others:
        warn(f"left out, for plmtrain does not know them: {', '.join(model.others[:8])}{' ...' if len(model.others) > 8 else ''}")
    digest = weights_digest(source)
    origin = f"Its weights had the digest {digest[:16]} in the folder that they were read from."
    roles = tokenizer.vocabulary.roles if tokenizer is not None else {}
    return publish(target, model, tokenizer, {**model.roles, **roles}, lambda done: card_of_import(origin, model, done))


def _missing(model: HuggingFaceModel, tokenizer: Tokenizer | None) -> Iterator[str]:
    """What the tokenizer lacks."""
    if tokenizer is None:
        return
    rows, tokens = model.backbone.vocabulary_size, tokenizer.vocabulary.size
    if tokens > rows:
        raise DataError(
            f"the tokenizer has {tokens} tokens, the model {rows}", "", "take the tokenizer that belongs to the model"
        )
    if missing := model.settings.published.tokens.roles.keys() - tokenizer.vocabulary.roles.keys():
        yield f"the tokenizer has no token for: {', '.join(sorted(missing))}; what needs one will say so"
