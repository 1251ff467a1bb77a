"""Training Unigram vocabularies (Kudo 2018, "Subword regularization", section 3.2) with SentencePiece, from word counts.

ALBERT, T5 and XLNet were trained with it (Kudo and Richardson 2018, "SentencePiece"). In one thread it gives the same bytes each
time. It looks for its first pieces only among the substrings that different characters follow: a word that stands alone on each
of its lines is never a piece of its own, however frequent it is, since every line ends alike. So each word stands twice on a
line. On Korean held-out text a vocabulary of 4,000 then needs 1.38 pieces for a word instead of 1.58.

SentencePiece writes out each word as often as it was counted, and needs some twelve bytes of memory for each byte of that: the
counts of large texts are scaled down together. Training is one call of C++, which no signal can interrupt. It happens in a
process of its own, which a stop ends at once.
"""

from __future__ import annotations

import heapq
import io
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection

from plmtrain import child_processes
from plmtrain.errors import DataError, MemoryExhausted
from plmtrain.stopping import safe_point

_MOST_WORDS = 500_000  # the most frequent; the others are so rare that their pieces would be dropped
_MOST_BYTES = 2**25  # of all occurrences together
_WAIT = 0.1  # seconds between two looks at whether to stop
_START = "▁"


def train_unigram(words: Mapping[str, int], size: int, specials: Sequence[str], unknown: str) -> bytes:
    """Train a Unigram vocabulary.

    Args:
        words: the number of occurrences of each word, which begins with ``▁``; every character of them becomes a piece.
        size: how many pieces at most, special ones included.
        specials: the pieces with the first ids.
        unknown: which of these stands for unknown characters.

    Returns:
        The model as SentencePiece's files hold it: the special pieces, then the others, most likely first.

    Raises:
        DataError: if SentencePiece refuses.
        MemoryExhausted: if the training was killed.
        Stopped: if a signal asked for it.
    """
    options = {
        "model_type": "unigram",
        "input_format": "tsv",
        "vocab_size": size,
        "hard_vocab_limit": False,
        "character_coverage": 1.0,
        "num_threads": 1,
        "minloglevel": 2,
        "unk_id": specials.index(unknown),
        "unk_piece": unknown,
        "bos_id": -1,
        "eos_id": -1,
        "pad_id": -1,
        "control_symbols": [token for token in specials if token != unknown],
    }
    # Spawned, since forking a process with threads (the tokenizer's, torch's) can hang the child.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_train, args=(os.getpid(), theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        ours.send((list(_lines(words)), options))
        while not ours.poll(_WAIT):
            safe_point()
        model, complaint = ours.recv()
    except (EOFError, OSError):
        # A signal to the whole group of processes ends the training too.
        safe_point()
        child.join()
        raise MemoryExhausted(
            f"the training of the tokenizer was ended by {_reason(child.exitcode)}",
            "",
            "the machine may be out of memory: give it more, or less text",
        ) from None
    finally:
        ours.close()
        child.kill()
        child.join()
    if complaint:
        remedy = "use another tokenizer.type or vocab_size"
        raise DataError("SentencePiece cannot train a vocabulary on this text", complaint, remedy)
    return bytes(model)


def _reason(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _train(parent: int, connection: Connection) -> None:
    """Train in a process of its own: receive the lines and the options, and send the model or a complaint."""
    child_processes.serve(parent)
    lines, options = connection.recv()
    from sentencepiece import SentencePieceTrainer

    # Neither the lines nor the model are files with names: the model would keep them.
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **options)
    except Exception as error:  # the library raises many types
        connection.send((b"", str(error).strip().rpartition("\n")[2] or type(error).__name__))
    else:
        connection.send((model.getvalue(), ""))


def _lines(words: Mapping[str, int]) -> Iterator[str]:
    """Return the words as SentencePiece reads them, in the order of their text: a word twice, and how often this line counts."""
    frequent = dict(heapq.nsmallest(_MOST_WORDS, words.items(), key=lambda item: (-item[1], item[0])))
    total = sum(len(word.encode()) * count for word, count in frequent.items())
    for word in sorted(frequent):
        text = word.removeprefix(_START)
        count = frequent[word] if total <= _MOST_BYTES else max(1, frequent[word] * _MOST_BYTES // total)
        pairs, odd = divmod(count, 2)
        if text and pairs:
            yield f"{text} {text}\t{pairs}"
        if text and odd:
            yield f"{text}\t1"


def pieces_of(model: bytes) -> list[tuple[str, float]]:
    """Return the pieces of a model and their log probabilities, in the order of their ids.

    Args:
        model: as ``train_unigram`` returns it.
    """
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_proto=model)
    return [(processor.id_to_piece(number), processor.get_score(number)) for number in range(processor.get_piece_size())]
