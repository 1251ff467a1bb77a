"""Speed of corrupting rows and collating them on one core, for each of BART's noises.

    python scripts/benchmark_noising.py [ROWSxLENGTH ...]

Times are process times, so that other work on the machine has little effect; medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import numpy as np
import torch

from plmtrain import objectives
from plmtrain.data.rows.rows import Rows
from plmtrain.keyed_random import Keys
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.objectives.bart import BartSettings
from plmtrain.text.vocabulary import Vocabulary

SIZE = 50_265
VOCABULARY = Vocabulary(SIZE, {"cls": 0, "pad": 1, "sep": 2, "unk": 3, "mask": SIZE - 1}, (0, 1, 2, 3, SIZE - 1))
SHAPES = ("32x128", "256x128", "32x512", "256x512")
ROUNDS = 15
NOISES: dict[str, dict[str, Any]] = {
    "paper": {},
    "infill": {"permute": 0},
    "permute": {"infill": 0},
    "mask": {"permute": 0, "infill": 0, "mask": 0.15},
    "delete": {"permute": 0, "infill": 0, "delete": 0.15},
    "rotate": {"permute": 0, "infill": 0, "rotate": 1},
    "all": {"mask": 0.1, "delete": 0.1, "insert": 0.1, "rotate": 0.5},
}


def text(rows: int, length: int) -> Rows:
    """Draw random rows in which three tokens of four begin a word, one of 22 a sentence, and one of 400 ends a document."""
    draw = np.random.default_rng(0)
    tokens = draw.integers(4, SIZE - 1, (rows, length - 2))
    tokens[draw.random(tokens.shape) < 1 / 400] = VOCABULARY["sep"]
    starts = (draw.random(tokens.shape) < 0.75) | (tokens == VOCABULARY["sep"])
    lengths = np.full(rows, length - 2)
    return Rows(tokens=tokens, lengths=lengths, word_starts=starts, sentence_starts=draw.random(tokens.shape) < 1 / 22)


def main(shapes: list[str]) -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print(f"{'rows':>9}" + "".join(f"{name:>9}" for name in NOISES) + "   (million tokens a second)")
    for shape in shapes:
        height, length = map(int, shape.split("x"))
        rows, keys = text(height, length), Keys(1, np.zeros(height, np.int64), np.arange(height))
        rates = []
        for noise in NOISES.values():
            program = objectives.build(BartSettings(name="bart", **noise), EncoderDecoderSettings(name="bart"), VOCABULARY)
            taken = []
            for _ in range(ROUNDS + 1):
                began = time.process_time()
                for _ in range(4):
                    program.collate(rows, keys)
                taken.append((time.process_time() - began) / 4)
            rates.append(height * length / statistics.median(taken[1:]) / 1e6)
        print(f"{shape:>9}" + "".join(f"{rate:9.1f}" for rate in rates), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(SHAPES))
