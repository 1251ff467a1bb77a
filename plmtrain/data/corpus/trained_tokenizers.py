"""The tokenizer of a corpus: an existing one, or one trained on the training text, once."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from plmtrain.console import warn
from plmtrain.data.corpus.documents import Reading, bytes_of_text, reading_of
from plmtrain.data.corpus.encoding import running_text
from plmtrain.data.corpus.named_source import of_source
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
_NOT_TRAINED = {"path", "sample_bytes"}
"""The settings that change no tokenizer which is trained on a whole text."""


def tokenizer_for(data: DataSettings, settings: TokenizerSettings, on_update: OnUpdate) -> Tokenizer:
    """Return the tokenizer of a run on a corpus.

    A trained one is kept in ``prepared_dir/tokenizers/TYPE-DIGEST``, where the digest is of the training text and the settings.
    Text that is held out by its content (see ``splitting``) is not trained on.

    Args:
        data: the corpus; of a mix, the training text of each source is read once.
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
    texts: list[_Text] = []
    for name, text in data.texts.items():
        with of_source(name):
            texts.append(_Text(name, text, find_sources(text, root / HASHES, on_update)))
    share = settings.sample_bytes / max(1, sum(bytes_of_text(text.sources, "train") for text in texts))

    def trained() -> Tokenizer:
        tokenizer = train(_training_texts(texts, settings, share, on_update), settings, warn)
        for name, _, sources in texts:
            with of_source(name):
                sources.check_unchanged()
        return tokenizer

    return _kept_or_made(root, settings, _digest(texts, settings, share), trained, on_update)


class _Text(NamedTuple):
    """A text to train on: the name of a source of a mix, how it is read, and its files."""

    name: str | None
    data: DataSettings
    sources: Sources


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
    made_of = {"version": _VERSION, "texts": content.hexdigest(), "settings": settings.model_dump(exclude=_NOT_TRAINED)}

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


def _digest(texts: Sequence[_Text], settings: TokenizerSettings, share: float) -> str:
    own = [
        {
            "sources": sources.digest("train"),
            "reading": reading_of(data, sources) | ({"shared": data.vocabulary_exponent} if data.type == "parallel" else {}),
            "held_out": None if data.validation_files else data.validation_fraction,
            **({"deduplicated": True} if data.deduplicate else {}),
        }
        for _, data, sources in texts
    ]
    made_of = {"version": _VERSION, "settings": settings.model_dump(exclude=_NOT_TRAINED)}
    made_of |= own[0] if len(own) == 1 else {"texts": own}
    if share < 1:
        made_of["sample_bytes"] = settings.sample_bytes
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def _kept(folder: Path) -> Tokenizer | None:
    """Return a tokenizer that was trained before, if it is unchanged."""
    try:
        record = read_object(folder / _RECORD)
        tokenizer = Tokenizer.load(folder)
        return tokenizer if tokenizer.digest == record["tokenizer"] else None
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _training_texts(texts: Sequence[_Text], settings: TokenizerSettings, share: float, on_update: OnUpdate) -> Iterator[str]:
    """Return the documents to train on: a sample of those that validation will not hold out; where there are no others, those
    that it will hold out.

    Args:
        texts: all of them.
        settings: the tokenizer's.
        share: the share of the text that is enough; all of it from 1 on.
        on_update: called with the progress.
    """

    def all_of(low: float, high: float, *, held_out: bool = False) -> Iterator[str]:
        for text in texts:
            with of_source(text.name):
                yield from _documents(text, settings, low, high, held_out, on_update)

    most = settings.sample_bytes if share < 1 else math.inf
    for trained in (_sampled(all_of, share, most), _up_to(most, all_of(0.0, 1.0, held_out=True))):
        for first in trained:
            return itertools.chain([first], trained)
    return iter(())


def _sampled(between: Callable[[float, float], Iterator[str]], share: float, most: float) -> Iterator[str]:
    """Yield a sample of documents, and more of them while it is less than half of what was asked for: a few documents may be as
    long as all others together.

    Args:
        between: returns the documents between two shares of all keys, in the order of the text.
        share: of the keys of the sample.
        most: the bytes that were asked for.
    """
    read, low, high = 0, 0.0, min(1.0, share)
    while low < 1 and read < most / 2:
        for document in _up_to(most - read if read or low else math.inf, between(low, high)):
            read += len(document.encode())
            yield document
        # Without a document nothing is known of their lengths: the first ones of all are taken.
        low, high = high, min(1.0, high * max(2.0, most / read)) if read else 1.0


def _up_to(most: float, texts: Iterable[str]) -> Iterator[str]:
    """Yield texts until they have some bytes together."""
    for text in texts:
        yield text
        most -= len(text.encode())
        if most <= 0:
            return


def _documents(
    text: _Text, settings: TokenizerSettings, low: float, high: float, held_out: bool, on_update: OnUpdate
) -> Iterator[str]:
    """Yield the documents of one text, those that validation will hold out or the others; those of languages in their shares.

    A document's key decides whether it is in the sample, as it decides what is held out: from the lowest keys on, first the
    held-out ones, then the sample, which is between the shares ``low`` and ``high`` of all others.
    """
    _, data, sources = text
    threshold = 0.0 if data.validation_files else data.validation_fraction * 2.0**64
    begin, end = (threshold + share * (2.0**64 - threshold) for share in (low, high))
    seen = set[int]()

    def read() -> Iterator[tuple[int, str]]:
        count = 0
        for count, (position, passage) in enumerate(Reading(data, sources, "train").passages(), start=1):
            safe_point()
            key = passage.key
            chosen = key < threshold if held_out else begin <= key < end
            if chosen and key not in seen:
                if data.deduplicate:
                    seen.add(key)
                yield passage.language, running_text(passage.text, settings.family)
            if count % _REPORT_EVERY == 0:
                on_update(PreparationUpdate(stage="tokenizer", bytes=position, total_bytes=sources.total_bytes, documents=count))
        # All text is read: how long the choice of the tokens takes is unknown.
        on_update(PreparationUpdate(stage="tokenizer", documents=count))

    if data.type != "parallel":
        yield from (document for _, document in read())
        return
    sizes = Counter[int]()
    for language, document in read():
        sizes[language] += len(document)
    repeats = Repeats(sizes, data.vocabulary_exponent)
    for language, document in read():
        yield from itertools.repeat(document, repeats.next(language))
