"""Speed of masking rows on one core, against the collators of transformers: the same rows, in turn, medians.

    python scripts/benchmark_masking.py [ROWSxLENGTH ...]

Both sides start with token ids and end with tensors. transformers gets the input that its documentation recommends: Python lists
with a precomputed special-tokens mask (and offsets, for whole words), as ``datasets`` yields them. Its rule differs: independent
draws instead of an exact budget, and whole words always become the mask.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from plmtrain import objectives
from plmtrain.data.rows.rows import Rows
from plmtrain.keyed_random import Keys
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings
from plmtrain.text.vocabulary import Vocabulary

SIZE = 30_522
ROLES = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
SHAPES = ("32x128", "64x128", "256x128", "32x512", "64x512", "256x512")
ROUNDS = 9
OBJECTIVES: dict[str, dict[str, Any]] = {
    "mlm": {"copies": 10, "random_tokens": "all"},
    "dynamic_mlm": {"budget": "stochastic"},
    "whole_word_mlm": {"whole_words": True},
}


def text(rows: int, length: int) -> Rows:
    """Draw random rows in which three tokens of four begin a word, and one of two hundred ends a document."""
    draw = np.random.default_rng(0)
    tokens = draw.integers(len(ROLES), SIZE, (rows, length - 2))
    tokens[draw.random(tokens.shape) < 1 / 200] = ROLES["sep"]
    starts = (draw.random(tokens.shape) < 0.75) | (tokens == ROLES["sep"])
    return Rows(tokens=tokens, lengths=np.full(rows, length - 2), word_starts=starts)


def ours(name: str, rows: Rows) -> Callable[[], object]:
    """Collate the rows as an objective does."""
    vocabulary = Vocabulary(SIZE, ROLES, tuple(ROLES.values()))
    program = objectives.build(MaskedLMSettings(name=name, **OBJECTIVES[name]), EncoderSettings(name="bert"), vocabulary)
    keys = Keys(1, np.zeros(len(rows), np.int64), np.arange(len(rows)))
    return lambda: program.collate(rows, keys)


def theirs(name: str, rows: Rows) -> Callable[[], object]:
    """Collate the same rows with transformers."""
    names = {f"[{role.upper()}]": token for role, token in ROLES.items()}
    words = {f"w{token}": token for token in range(len(ROLES), SIZE)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({**names, **words}, unk_token="[UNK]")),
        **{f"{role}_token": f"[{role.upper()}]" for role in ROLES},
    )
    whole_words = name == "whole_word_mlm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collator = DataCollatorForLanguageModeling(tokenizer, whole_word_mask=whole_words)
    examples = []
    for tokens, starts in zip(rows.tokens.tolist(), rows.word_starts.tolist(), strict=True):
        ids = [ROLES["cls"], *tokens, ROLES["sep"]]
        example: dict[str, Any] = {"input_ids": ids, "special_tokens_mask": [int(token < len(ROLES)) for token in ids]}
        if whole_words:
            offsets, end = [], 0
            for begins in (True, *starts, True):
                offsets.append((end + begins, end + begins + 1))
                end = offsets[-1][1]
            example["offset_mapping"] = offsets
        examples.append(example)
    return lambda: collator([dict(example) for example in examples])


def seconds(work: Callable[[], object], times: int) -> float:
    """Return the duration of the work, averaged over some repetitions."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


def main(shapes: list[str]) -> None:
    torch.set_num_threads(1)
    print(f"{'rows':>9} {'objective':>15} {'plmtrain':>12} {'transformers':>13} {'ratio':>6}   (million tokens a second)")
    for shape in shapes:
        height, length = map(int, shape.split("x"))
        rows = text(height, length)
        for name in OBJECTIVES:
            sides = {"ours": ours(name, rows), "theirs": theirs(name, rows)}
            once = {side: seconds(work, 1) for side, work in sides.items()}  # also warms up
            times = {side: max(1, int(0.05 / spent)) for side, spent in once.items()}
            spent: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(ROUNDS):
                for side, work in sides.items():
                    spent[side].append(seconds(work, times[side]))
            rate = {side: height * length / statistics.median(taken) / 1e6 for side, taken in spent.items()}
            ratio = rate["ours"] / rate["theirs"]
            print(f"{shape:>9} {name:>15} {rate['ours']:12.1f} {rate['theirs']:13.2f} {ratio:6.0f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(SHAPES))
