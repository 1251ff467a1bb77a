"""Speed of preparing text on all cores, against the tokenizers library alone on the same text: in turn, medians.

    python scripts/benchmark_preparing.py [MEGABYTES]

The library gets all documents in memory and returns ids. plmtrain reads the file, hashes it, cuts it into sentences, encodes it,
marks where words start, holds documents out and writes arrays and a manifest. The start of its processes counts, so that little
text is prepared more slowly. The text is that of ``data=sample``, ten megabytes of it unless another number is given: as
documents of some thousand letters, as one document, and as very short ones.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer as Engine

from plmtrain.data.corpus.prepare import prepare
from plmtrain.data.corpus.sources import sample_texts
from plmtrain.settings.data import DataSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

MEGABYTES = 10
ROUNDS = 3
DOCUMENT = 4000  # letters


def words_of(megabytes: float) -> list[str]:
    """Return the words of the sample, as often as needed."""
    words = " ".join(sample_texts()).split()
    times = megabytes * 1e6 / sum(len(word) + 1 for word in words)
    return (words * math.ceil(times))[: int(times * len(words))]


def documents_of(words: list[str], letters: int) -> list[str]:
    """Cut words into documents of about so many letters."""
    per_document = max(1, letters // 6)
    return [" ".join(words[first : first + per_document]) for first in range(0, len(words), per_document)]


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that an action takes, and the seconds of all cores together, its processes included."""
    before, began = os.times(), time.perf_counter()
    action()
    seconds, after = time.perf_counter() - began, os.times()
    return seconds, sum(after[:4]) - sum(before[:4])


def ours(file: Path, tokenizer: Tokenizer, folder: Path, processes: int | None = None) -> Callable[[], object]:
    """Return the preparation of a file of JSON lines, each time in a new folder, in so many processes or one for each core."""
    turns = itertools.count()

    def prepared() -> object:
        place = str(folder / f"{processes}-{next(turns)}")
        data = DataSettings(name="text", type="jsonl", files=(str(file),), prepared_dir=place, processes=processes)
        return prepare(data, tokenizer, minimum_validation_tokens=128, on_update=lambda update: None)

    return prepared


def theirs(documents: list[str], folder: Path) -> Callable[[], object]:
    """Return the encoding of the same documents by the library, on all cores."""
    engine = Engine.from_file(str(folder / "tokenizer.json"))
    return lambda: [encoding.ids for encoding in engine.encode_batch_fast(documents, add_special_tokens=False)]


def main() -> None:
    words = words_of(float(sys.argv[1]) if sys.argv[1:] else MEGABYTES)
    shapes = {f"documents of {DOCUMENT:,} letters": DOCUMENT, "one document": 2**60, "documents of 10 letters": 10}
    settings = TokenizerSettings(type="wordpiece", family="bert", vocab_size=8192, lowercase=True)
    tokenizer = train(documents_of(words[: 2**19], DOCUMENT), settings)
    for name, letters in shapes.items():
        documents = documents_of(words, letters)
        size = sum(map(len, documents)) / 1e6
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "text.jsonl"
            file.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents), "utf-8")
            tokenizer.save(Path(folder))
            sides = ours(file, tokenizer, Path(folder)), ours(file, tokenizer, Path(folder), 1), theirs(documents, Path(folder))
            rounds = [[timed(side) for side in sides] for _ in range(ROUNDS)]
        wall, _, its_wall = (statistics.median(each[side][0] for each in rounds) for side in range(3))
        _, cores, its_cores = (statistics.median(each[side][1] for each in rounds) for side in range(3))
        print(
            f"{name}, {len(documents):,} of them: prepared at {size / wall:.2f} MB/s, the library alone {size / its_wall:.2f}: "
            f"{its_wall / wall:.0%}; without the start of processes, in seconds of cores, {its_cores / cores:.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
