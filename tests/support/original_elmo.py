"""ELMo's arithmetic, restated with NumPy from its authors' TensorFlow code (allenai/bilm-tf, bilm/model.py), and files of random
weights in its layout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

OPTIONS: Mapping[str, Any] = {
    "lstm": {"cell_clip": 0.6, "use_skip_connections": True, "n_layers": 2, "proj_clip": 0.4, "projection_dim": 6, "dim": 10},
    "char_cnn": {
        "embedding": {"dim": 3},
        "filters": [[1, 4], [3, 5]],
        "n_highway": 2,
        "n_characters": 262,
        "max_characters_per_token": 50,
        "activation": "relu",
    },
}
"""With limits that most cells and outputs reach."""


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights for ``OPTIONS``, by the names of the original files."""
    draw = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"char_embed": (261, 3), "CNN_proj/W_proj": (9, 6), "CNN_proj/b_proj": (6,)}
    for number, (width, count) in enumerate(OPTIONS["char_cnn"]["filters"]):
        shapes |= {f"CNN/W_cnn_{number}": (1, width, 3, count), f"CNN/b_cnn_{number}": (count,)}
    for number in range(2):
        shapes |= {f"CNN_high_{number}/{kind}_{part}": (9, 9)[: 2 if kind == "W" else 1] for kind in "Wb" for part in _GATES}
        for direction in range(2):
            cell = f"RNN_{direction}/RNN/MultiRNNCell/Cell{number}/LSTMCell"
            shapes |= {f"{cell}/W_0": (12, 40), f"{cell}/B": (40,), f"{cell}/W_P_0": (10, 6)}
    return {name: draw.normal(0, 0.6, shape).astype(np.float32) for name, shape in shapes.items()}


_GATES = ("carry", "transform")


def write(folder: Path, weights: Mapping[str, np.ndarray], options: Mapping[str, Any] = OPTIONS) -> Path:
    """Write the two files."""
    import h5py

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "options.json").write_text(json.dumps(options))
    with h5py.File(folder / "lm_weights.hdf5", "w") as file:
        for name, values in weights.items():
            file.create_dataset(name, data=values)
    return folder


def characters(word: str | None, mark: int = 0) -> list[int]:
    """The numbers of a word's characters (bilm/data.py: UnicodeCharsVocabulary); without a word, of a mark of a sentence."""
    codes = [mark] if word is None else list(word.encode("utf-8", "ignore")[:48])
    return ([258, *codes, 259] + [260] * 50)[:50]


def vectors(weights: Mapping[str, np.ndarray], spelt: Sequence[Sequence[int]]) -> np.ndarray:
    """The vectors of words that are spelt.  # [words, projection]"""
    letters = weights["char_embed"][np.array(spelt)]  # [words, places, width]
    features = []
    for number, (width, _) in enumerate(OPTIONS["char_cnn"]["filters"]):
        kernel, bias = weights[f"CNN/W_cnn_{number}"][0], weights[f"CNN/b_cnn_{number}"]
        windows = [np.einsum("nwd,wdf->nf", letters[:, first : first + width], kernel) for first in range(51 - width)]
        features.append(np.maximum(np.max(windows, axis=0) + bias, 0))
    x = np.concatenate(features, axis=1)
    for number in range(2):
        gates = {part: x @ weights[f"CNN_high_{number}/W_{part}"] + weights[f"CNN_high_{number}/b_{part}"] for part in _GATES}
        carry = _sigmoid(gates["carry"])
        x = carry * np.maximum(gates["transform"], 0) + (1 - carry) * x
    return x @ weights["CNN_proj/W_proj"] + weights["CNN_proj/b_proj"]


def lstm(weights: Mapping[str, np.ndarray], direction: int, x: np.ndarray, states: list[Any]) -> list[np.ndarray]:
    """The outputs of each layer for one sentence in reading order; ``states`` are those before it, and then those after it."""
    outputs = []
    for number in range(2):
        cell = f"RNN_{direction}/RNN/MultiRNNCell/Cell{number}/LSTMCell"
        c, h = states[number]
        made = []
        for step in x:
            # tf.nn.rnn_cell.LSTMCell: the gates are i, j, f, o, with a forget bias of 1.
            i, j, f, o = np.split(np.concatenate([step, h]) @ weights[f"{cell}/W_0"] + weights[f"{cell}/B"], 4)
            c = np.clip(_sigmoid(f + 1) * c + _sigmoid(i) * np.tanh(j), -0.6, 0.6)
            h = np.clip(_sigmoid(o) * np.tanh(c) @ weights[f"{cell}/W_P_0"], -0.4, 0.4)
            made.append(h + step if number else h)  # ResidualWrapper on all layers but the first
        states[number] = (c, h)
        x = np.array(made)
        outputs.append(x)
    return outputs


class Reader:
    """Reads sentences one after another, and carries the states of both directions on.

    Args:
        weights: by their names.
    """

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self.weights = weights
        self.states = [[(np.zeros(10), np.zeros(6)) for _ in range(2)] for _ in range(2)]

    def read(self, words: Sequence[str]) -> list[np.ndarray]:
        """The states of each layer, without those of the sentence's marks.  # [words, 2 * projection] each"""
        x = vectors(self.weights, [characters(None, 256), *map(characters, words), characters(None, 257)])
        left = lstm(self.weights, 0, x, self.states[0])
        right = lstm(self.weights, 1, x[::-1], self.states[1])
        layers = [np.concatenate([x, x], axis=1)]
        layers += [np.concatenate([one, other[::-1]], axis=1) for one, other in zip(left, right, strict=True)]
        return [layer[1:-1] for layer in layers]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
