"""``plmtrain predict``: use a run. A masked language model fills masks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plmtrain.errors import DataError
from plmtrain.stopping import safe_point

if TYPE_CHECKING:
    from plmtrain.training.restore import TrainedRun


def run(arguments: list[str]) -> int:
    """Answer each text, in order, as it comes."""
    parser = argparse.ArgumentParser(prog="plmtrain predict", add_help=False)
    parser.add_argument("run", type=Path)
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--batch-size", type=int, default=32)
    asked = parser.parse_args(arguments)

    from plmtrain.training.restore import load_run

    trained = load_run(asked.run, report=lambda line: print(line, file=sys.stderr))
    for batch in _batches(_texts(asked.texts, asked.file), asked.batch_size):
        safe_point()
        for answer in _answers(trained, batch):
            print(json.dumps(answer, ensure_ascii=False) if asked.json else _readable(answer), flush=True)
    return 0


def _texts(texts: list[str], file: Path | None) -> Iterator[str]:
    if texts:
        yield from texts
    elif file is not None:
        try:
            with file.open(encoding="utf-8") as lines:
                yield from (line.rstrip("\n") for line in lines)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {file}", str(error), "name a UTF-8 text file, one text a line") from error
    else:
        yield from (line.rstrip("\n") for line in sys.stdin)


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _answers(trained: TrainedRun, texts: list[str]) -> Iterator[dict[str, Any]]:
    from plmtrain.data.rows import Rows

    tokenizer, vocabulary = trained.tokenizer, trained.tokenizer.vocabulary
    mask_token = tokenizer.pieces([vocabulary["mask"]])[0]
    encoded = []
    longest = trained.program.row_length(trained.settings.model.positions)
    for text in texts:
        ids, starts = tokenizer.encode_with_specials(text)
        if vocabulary["mask"] not in ids:
            raise DataError("there is no mask to fill", f"'{text[:60]}'", f"write {mask_token} where a word is missing")
        if len(ids) > longest:
            raise DataError(
                f"a text has {len(ids)} tokens, but the model takes {longest}", f"'{text[:60]}'", "give it in shorter parts"
            )
        encoded.append((ids, starts))
    length = max(len(ids) for ids, _ in encoded)
    rows = Rows(
        tokens=np.stack([np.pad(ids, (0, length - len(ids)), constant_values=vocabulary["pad"]) for ids, _ in encoded]),
        lengths=np.array([len(ids) for ids, _ in encoded]),
        word_starts=np.stack([np.pad(starts, (0, length - len(starts))) for _, starts in encoded]),
    )
    for row, answer in enumerate(trained.program.predict(trained.learner, trained.program.collate_for_prediction(rows))):
        ids = encoded[row][0].copy()
        places = np.flatnonzero(ids == vocabulary["mask"])
        ids[places] = [mask["best"] for mask in answer["masks"]]
        yield {
            "text": texts[row],
            "filled": tokenizer.decode(ids).strip(),
            "masks": [
                [
                    {"token": tokenizer.pieces([token])[0].strip(), "probability": probability}
                    for token, probability in mask["candidates"]
                ]
                for mask in answer["masks"]
            ],
        }


def _readable(answer: dict[str, Any]) -> str:
    guesses = (
        "  " + ", ".join(f"{guess['token']} {guess['probability']:.1%}" for guess in candidates) for candidates in answer["masks"]
    )
    return "\n".join([answer["filled"], *guesses])
