"""Import a Hugging Face folder, or the original files of a model, into one that can be used wherever a run can.

It keeps Hugging Face's layout, which ``plmtrain.load``, ``init=``, ``predict`` and ``export`` read directly, so that there is
only one way to load a model. Importing adds that everything was checked once: one safetensors file in fp32, no pickle, no code,
no name that leads out of the folder, weights that are finite and compute the same after reading them back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from plmtrain.errors import DataError
from plmtrain.interop import foreign, gpt1_original
from plmtrain.interop.card import card_of_import
from plmtrain.interop.initial import weights_digest
from plmtrain.interop.model import Model
from plmtrain.interop.publishing import PublishedFolder, publish
from plmtrain.interop.row_templates import frames_alike
from plmtrain.interop.task_file import sequence_length_in, task_of
from plmtrain.interop.tokenizers import has_tokenizer, tokenizer_in
from plmtrain.text.tokenizer import Tokenizer


def import_folder(source: Path, target: Path, warn: Callable[[str], None], texts: tuple[str, ...] = ()) -> PublishedFolder:
    """Read a Hugging Face folder and write what plmtrain can use of it.

    Args:
        source: the folder, possibly a stranger's.
        target: the folder to write, which does not exist yet.
        warn: called with each thing that is missing or omitted.
        texts: the columns of the texts that a classifier reads, if the folder does not say so.

    Raises:
        SettingsError: if the folder contains no supported model, pickled weights or code, if it is not known what its classifier
            reads, or if the path is in use.
        CheckpointError: if its weights are damaged, or if the files differ from what was read; the new folder is removed.
        DataError: if its tokenizer is damaged.
        DiskError: if the disk refuses.
    """
    model = foreign.read(source)
    task = task_of(model, source, texts)
    tokenizer = tokenizer_in(source) if has_tokenizer(source) else None
    if tokenizer is None:
        takes = "lists of words" if model.settings.reads_characters else "token ids"
        warn(f"there is no tokenizer here that plmtrain can read: the model only takes {takes}")
    for line in _missing(model, tokenizer):
        warn(line)
    if model.others:
        warn(f"omitted, since plmtrain cannot use them: {', '.join(model.others[:8])}{' ...' if len(model.others) > 8 else ''}")
    origin = _origin(weights_digest(source))
    roles = tokenizer.vocabulary.roles if tokenizer is not None else {}
    return publish(
        target,
        model,
        tokenizer,
        {**model.roles, **roles},
        lambda done: card_of_import(
            "a Hugging Face folder" if done.saved.of_transformers else "its authors' files", origin, model, task, done
        ),
        task,
        sequence_length_in(source),
    )


def import_original(source: Path, target: Path, warn: Callable[[str], None], heads: int | None = None) -> PublishedFolder:
    """Read GPT-1's original files and write them as a Hugging Face folder.

    Args:
        source: the folder with the files.
        target: the folder to write, which does not exist yet.
        warn: called with each thing that is missing.
        heads: the number of attention heads, which the files do not say; None for heads of the published model's width.

    Raises:
        SettingsError: if the number of heads is unknown or impossible, or if the path is in use.
        CheckpointError: if the files are damaged or do not fit each other, or if what was written differs from what was read.
        DataError: if the tokenizer is damaged, or does not fit the model.
        DiskError: if the disk refuses.
    """
    model = gpt1_original.read(source, heads)
    tokenizer = gpt1_original.tokenizer_of(source)
    if tokenizer is None:
        warn("there is no tokenizer here: the model only takes token ids")
    for line in _missing(model, tokenizer):
        warn(line)
    origin = _origin(gpt1_original.digest(source))
    roles = tokenizer.vocabulary.roles if tokenizer is not None else {}
    return publish(
        target, model, tokenizer, roles, lambda done: card_of_import("its authors' files", origin, model, None, done), None
    )


def _origin(digest: str) -> str:
    return f"Its weights had the digest {digest[:16]} in the folder that they were read from."


def _missing(model: Model, tokenizer: Tokenizer | None) -> Iterator[str]:
    """Check that the tokenizer fits the model, and yield what it lacks."""
    if tokenizer is None:
        return
    if not frames_alike(tokenizer, model.settings):
        yield f"rows are laid out as {model.settings.family} models read them; the tokenizer did so otherwise, and is adapted"
    rows, tokens = model.backbone.vocabulary_size, tokenizer.vocabulary.size
    if tokens > rows:
        raise DataError(f"the tokenizer has {tokens} tokens, the model {rows}", "", "use the tokenizer that belongs to the model")
    # Any token will do as padding.
    family = model.settings.published.tokens
    if missing := family.roles.keys() - tokenizer.vocabulary.roles.keys() - {"pad"}:
        added = {family.roles[role] for role in missing} <= set(family.added)
        then = "runs that start from the model add them" if added else "uses that need one will fail"
        yield f"the tokenizer has no token for: {', '.join(sorted(missing))}; {then}"
