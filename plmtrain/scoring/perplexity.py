"""Perplexity over windows of text, for each token, word and byte.

The total negative log-likelihood is divided by the tokens, or by the words or the UTF-8 bytes of the original text: the last two
compare models with different tokenizers. A document is read by itself. Its windows overlap, and each token is scored once, in the
first window that it is in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from plmtrain.data.corpus import text_files
from plmtrain.data.corpus.encoding import Passage, encode
from plmtrain.errors import DataError, SettingsError
from plmtrain.scoring.examples import advised
from plmtrain.scoring.likelihood import Continuation, Likelihood
from plmtrain.scoring.report import Report, Score, Subject
from plmtrain.settings.data import DataSettings
from plmtrain.settings.scoring.perplexity import PerplexitySettings
from plmtrain.text import readers

_TEXT_AT_A_TIME = 2**20
"""Characters whose windows are scored together."""


def windows(length: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Yield the windows of a text: where each starts, where its scored tokens start, and where it ends.

    Args:
        length: the tokens of the text.
        window: the tokens of a window.
        stride: the tokens from the start of a window to the start of the next one, at most ``window``.
    """
    start = scored = 0
    while scored < length:
        end = min(start + window, length)
        yield start, scored, end
        start, scored = start + stride, end


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The losses of a document.

    Args:
        nats: the sum of the losses of its tokens.
        tokens: the number of its tokens.
        words: the number of its words, as white space separates them.
        bytes: the number of its bytes in UTF-8.
    """

    nats: float
    tokens: int
    words: int
    bytes: int


def score(settings: PerplexitySettings, subject: Subject) -> Report:
    """Compute perplexities.

    Args:
        settings: the windows, and the files.
        subject: the model.

    Raises:
        SettingsError: if the model does not take such windows.
        DataError: if there is no text.
    """
    likelihood = subject.likelihood(settings)
    window, stride = window_of(settings, likelihood, subject.trained_length)
    texts = _files(settings) if settings.files else subject.own_text()
    measured = [one for texts in _chunks(texts) for one in _measured(texts, subject, likelihood, window, stride)]
    total = Measured(**{name: sum(getattr(one, name) for one in measured) for name in Measured.__dataclass_fields__})
    if not total.tokens:
        raise DataError("there is no text to score", "scoring.files", "name files with text in them")
    scores = [score for unit in ("token", "word", "byte") for score in _scores(measured, unit, likelihood.is_probability)]
    notes = [f"windows of {window} tokens, of which the next begins {stride} tokens later; words are what white space separates"]
    notes += likelihood.notes
    if not likelihood.is_probability:
        notes.append(
            "an encoder sees both sides of a token: these are pseudo-likelihoods and no perplexities, to be compared only with "
            "those of other encoders"
        )
    counts = {"nats": total.nats, "tokens": total.tokens, "words": total.words, "bytes": total.bytes}
    return Report(
        measured=likelihood.name,
        examples=len(measured),
        scores=scores,
        counts={**counts, "window": window, "stride": stride},
        notes=notes,
    )


def window_of(settings: PerplexitySettings, likelihood: Likelihood, trained_length: int | None) -> tuple[int, int]:
    """Return the tokens of a window, and those from its start to the start of the next one.

    Args:
        settings: either may be given.
        likelihood: the longest text.
        trained_length: the tokens of the rows that the model was trained on.

    Raises:
        SettingsError: if the model does not take them.
    """
    window = settings.window or min(likelihood.longest, trained_length or likelihood.longest)
    if window > likelihood.longest:
        what = f"scoring.window ({window}) is more than the model takes ({likelihood.longest})"
        raise SettingsError(what, f"scoring.window={window}", "lower it, or omit it")
    stride = settings.stride or max(1, window // 2)
    if stride > window:
        what = f"scoring.stride ({stride}) is more than a window ({window}): no token may be omitted"
        raise SettingsError(what, f"scoring.stride={stride}", "lower it, or omit it")
    return window, stride


def _files(settings: PerplexitySettings) -> Iterator[str]:
    for path in readers.expand(settings.files, "scoring.files"):
        values = {"name": "scoring", "type": readers.kind_of(path), "files": [str(path)]}
        columns = settings.model_dump(include={"text_column", "document_per"})
        try:
            yield from (document.text for document in text_files.read(path, DataSettings(**values, **columns), readers.Skips()))
        except DataError as error:
            raise DataError(error.what, error.where, advised(error.remedy)) from None


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield some documents at a time."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size >= _TEXT_AT_A_TIME:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _measured(texts: list[str], subject: Subject, likelihood: Likelihood, window: int, stride: int) -> list[Measured]:
    """Return the losses of some documents."""
    asked: list[Continuation] = []
    owners: list[int] = []
    for number, text in enumerate(texts):
        encoded = encode(subject.tokenizer, [Passage(text)])
        tokens, starts = encoded.tokens[:-1].astype(np.int64), encoded.word_starts[:-1]  # without the mark of the document's end
        for start, first, end in windows(len(tokens), window, stride):
            asked.append(Continuation(tokens[start:end], starts[start:end], first - start))
            owners.append(number)
    nats, tokens_of = np.zeros(len(texts)), np.zeros(len(texts), np.int64)
    for owner, losses in zip(owners, likelihood.losses(asked), strict=True):
        nats[owner] += losses.sum()
        tokens_of[owner] += len(losses)
    return [
        Measured(nats=float(total), tokens=int(tokens), words=len(text.split()), bytes=len(text.encode()))
        for text, total, tokens in zip(texts, nats, tokens_of, strict=True)
    ]


def _scores(measured: list[Measured], unit: str, is_probability: bool) -> Iterator[Score]:
    """Yield the scores of a unit, with the standard error of a ratio over documents (Cochran 1977, section 6.4)."""
    nats, counts = np.array([one.nats for one in measured]), np.array([getattr(one, f"{unit}s") for one in measured])
    mean = float(nats.sum() / counts.sum())
    error = None
    if len(measured) > 1:
        error = math.sqrt(len(nats) / (len(nats) - 1) * float(((nats - mean * counts) ** 2).sum())) / float(counts.sum())
    if not is_probability:
        yield Score(name=f"pseudo_loss_per_{unit}", value=mean, error=error, unit=f"nats a {unit}")
        return
    try:
        perplexity = math.exp(mean)
    except OverflowError:
        perplexity = math.inf
    spread = None if error is None else perplexity * error
    yield Score(name=f"perplexity_per_{unit}", value=perplexity, error=spread, unit=f"per {unit}")
    if unit == "byte":
        bits = math.log(2)
        yield Score(name="bits_per_byte", value=mean / bits, error=None if error is None else error / bits, unit="bits a byte")
    elif unit == "token":
        yield Score(name="loss_per_token", value=mean, error=error, unit="nats a token")
