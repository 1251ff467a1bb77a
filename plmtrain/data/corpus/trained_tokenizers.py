"""The tokenizer of a corpus: an existing one, or one trained on the training text, once."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from plmtrain.console import warn
from plmtrain.data.corpus.documents import Reading, reading_of
from plmtrain.data.corpus.encoding import running_text
from plmtrain.data.corpus.sources import HASHES, Sources, find_sources
from plmtrain.data.corpus.updates import OnUpdate, PreparationUpdate
from plmtrain.data.rows.quotas import Repeats
from plmtrain.errors import DataError
from plmtrain.faults import fault_point
from plmtrain.files import FolderLock, atomic_folder, clear_leftovers, make_folder, write_json_atomically
from plmtrain.json_files import read_object
from plmtrain.settings.data import DataSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.stopping import safe_point
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

# Of the training; another version trains again, and gives the same tokenizer wherever no word is longer than the longest one.
_VERSION = 2
_RECORD = "made_from.json"
_REPORT_EVERY = 256  # documents


def tokenizer_for(data: DataSettings, settings: TokenizerSettings, on_update: OnUpdate) -> Tokenizer:
    """Return the tokenizer of a run on a corpus.

    A trained one is kept in ``prepared_dir/tokenizers/TYPE-DIGEST``, where the digest is of the training text and the settings.
    Text that is held out by its content (see ``splitting``) is not trained on.

    Args:
        data: the corpus.
        settings: the tokenizer's; with a ``path``, nothing is trained.
        on_update: called with the progress of the training.

    Raises:
        DataError: if there is no tokenizer at ``path``, or no text to train on.
        DiskError: if it cannot be saved.
        Stopped: if a signal requested it.
    """
    if settings.path is not None:
        return Tokenizer.load(settings.path)
    root = make_folder(Path(data.prepared_dir))
    sources = find_sources(data, root / HASHES, on_update)

    def trained() -> Tokenizer:
        tokenizer = train(_training_texts(data, settings, sources, on_update), settings, warn)
        sources.check_unchanged()
        return tokenizer

    return _kept_or_made(root, settings, _digest(data, settings, sources), trained, on_update)


def tokenizer_on(texts: Sequence[str], prepared_dir: str, settings: TokenizerSettings, on_update: OnUpdate) -> Tokenizer:
    """Return the tokenizer trained on texts in memory, such as the examples of a task; kept like that of a corpus.

    Args:
        texts: at least one.
        prepared_dir: where it is kept.
        settings: how it is trained.
        on_update: called with the progress of the training.
    """
    content = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        content.update(len(encoded).to_bytes(8, "little") + encoded)
    made_of = {"version": _VERSION, "texts": content.hexdigest(), "settings": settings.model_dump(exclude={"path"})}

    def running() -> Iterator[str]:
        for count, text in enumerate(texts, start=1):
            safe_point()
            yield running_text(text, settings.family)
            if count % _REPORT_EVERY == 0:
                on_update(PreparationUpdate(stage="tokenizer", documents=count))

    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return _kept_or_made(make_folder(Path(prepared_dir)), settings, digest, lambda: train(running(), settings, warn), on_update)


def _kept_or_made(
    root: Path, settings: TokenizerSettings, digest: str, trained: Callable[[], Tokenizer], on_update: OnUpdate
) -> Tokenizer:
    """Return the tokenizer of a digest: trained before, or trained and saved now, by one process alone."""
    folder = root / "tokenizers" / f"{settings.type}-{digest[:16]}"
    if (tokenizer := _kept(folder)) is not None:
        return tokenizer
    make_folder(folder.parent)
    with FolderLock(folder.parent / ".lock", on_wait=lambda: on_update(PreparationUpdate(stage="wait"))):
        if (tokenizer := _kept(folder)) is not None:
            return tokenizer
        clear_leftovers(folder.parent)
        tokenizer = trained()
        with atomic_folder(folder, replace=True) as temporary:
            tokenizer.save(temporary)
            record = {"tokenizer": Tokenizer.load(temporary).digest, "settings": settings.model_dump()}
            write_json_atomically(temporary / _RECORD, record)
            fault_point("prep.tokenizer")
        return Tokenizer.load(folder)


def _digest(data: DataSettings, settings: TokenizerSettings, sources: Sources) -> str:
    made_of = {
        "version": _VERSION,
        "sources": sources.digest("train"),
        "reading": reading_of(data, sources) | ({"shared": data.vocabulary_exponent} if data.type == "parallel" else {}),
        "held_out": None if data.validation_files else data.validation_fraction,
        "settings": settings.model_dump(exclude={"path"}),
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def _kept(folder: Path) -> Tokenizer | None:
    """Return a tokenizer that was trained before, if it is unchanged."""
    try:
        record = read_object(folder / _RECORD)
        tokenizer = Tokenizer.load(folder)
        return tokenizer if tokenizer.digest == record["tokenizer"] else None
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _training_texts(data: DataSettings, settings: TokenizerSettings, sources: Sources, on_update: OnUpdate) -> Iterator[str]:
    """Return the documents to train on: without those that validation will hold out, unless there are no others."""

    def read(*, held_out: bool) -> Iterator[tuple[int, str]]:
        count = 0
        for count, (position, passage) in enumerate(Reading(data, sources, "train").passages(), start=1):
            safe_point()
            if held_out == (passage.key < threshold):
                yield passage.language, running_text(passage.text, settings.family)
            if count % _REPORT_EVERY == 0:
                on_update(PreparationUpdate(stage="tokenizer", bytes=position, total_bytes=sources.total_bytes, documents=count))
        # All text is read: how long the choice of the tokens takes is unknown.
        on_update(PreparationUpdate(stage="tokenizer", documents=count))

    def texts(*, held_out: bool) -> Iterator[str]:
        if data.type != "parallel":
            yield from (text for _, text in read(held_out=held_out))
            return
        sizes = Counter[int]()
        for language, text in read(held_out=held_out):
            sizes[language] += len(text)
        repeats = Repeats(sizes, data.vocabulary_exponent)
        for language, text in read(held_out=held_out):
            yield from itertools.repeat(text, repeats.next(language))

    threshold = 0 if data.validation_files else data.validation_fraction * 2.0**64
    trained = texts(held_out=False)
    for first in trained:
        return itertools.chain([first], trained)
    return texts(held_out=True)
