"""ELMo's original files: read, written, refused; their states against the original arithmetic, restated."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.original_elmo import OPTIONS, Reader, random_weights, write

import plmtrain
from plmtrain.errors import CheckpointError, DataError, SettingsError
from plmtrain.interop import elmo_original
from plmtrain.interop.importing import import_folder

SENTENCES = [
    [["The", "café", "wasn't", "open", "."], ["No"]],
    [["Yes"], ["a" * 70, "물", ",", "then"]],
    [["It", "goes", "on"], ["on", "and", "on", "!"]],
]
"""Calls of two rows of other lengths, with a word that is cut and one of three bytes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("original") / "elmo", random_weights())


def test_states_are_those_of_the_original_arithmetic(folder: Path) -> None:
    """Every layer, with the states of both directions carried on from call to call, each row's by itself."""
    model = plmtrain.load(folder)
    readers = [Reader(random_weights()) for _ in range(2)]
    clipped = 0
    for sentences in SENTENCES:
        layers = model.hidden_states(sentences)
        assert len(layers) == 3
        for row, (words, reader) in enumerate(zip(sentences, readers, strict=True)):
            for layer, expected in zip(layers, reader.read(words), strict=True):
                np.testing.assert_allclose(layer[row, : len(words)], expected, rtol=0, atol=2e-6)
                assert not layer[row, len(words) :].any()
            states = [state for direction in reader.states for state in direction]
            clipped += sum(int((np.abs(c) == 0.6).sum() + (np.abs(h) == 0.4).sum()) for c, h in states)
    assert clipped > 50, "the limits were not reached"
    first, again = model.hidden_states(SENTENCES[0]), None
    model.reset()
    again = model.hidden_states(SENTENCES[0])
    assert not np.allclose(first[2], again[2], atol=1e-3)
    np.testing.assert_allclose(again[2][1, :1], Reader(random_weights()).read(["No"])[2], rtol=0, atol=2e-6)


def test_written_files_are_the_same(folder: Path, tmp_path: Path) -> None:
    """Imported, which reads back what it wrote: every array to the bit, and the options."""
    told: list[str] = []
    import_folder(folder, tmp_path / "imported", told.append)
    assert told == ["there is no tokenizer here that plmtrain can read: the model only takes lists of words"]
    with h5py.File(tmp_path / "imported" / "lm_weights.hdf5") as file:
        for name, values in random_weights().items():
            np.testing.assert_array_equal(file[name][...], values)
    written = json.loads((tmp_path / "imported" / "options.json").read_text())
    assert {group: written[group] for group in OPTIONS} == OPTIONS


def test_sentences_that_are_none(folder: Path) -> None:
    model = plmtrain.load(folder)
    for sentences in ("text", ["text"], [[]], [], [["a"], [1]]):
        with pytest.raises(DataError, match="lists of words"):
            model.hidden_states(sentences)
    model.hidden_states([["a"], ["b"]])
    with pytest.raises(DataError, match="1 sentences cannot continue the 2"):
        model.hidden_states([["a"]])
    with pytest.raises(SettingsError, match="does not read attention_mask"):
        model.hidden_states([["a"], ["b"]], attention_mask=np.ones((2, 1)))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("lstm", {}, "the options lack 'n_layers'"),
        ("char_cnn", None, "the options have another form"),
        ("bidirectional", False, "bidirectional is false"),
        ("char_cnn", {**OPTIONS["char_cnn"], "n_characters": 300}, "n_characters is 300"),
        ("char_cnn", {**OPTIONS["char_cnn"], "filters": [[1, 10**9]]}, "filters.0.1"),
        ("lstm", {**OPTIONS["lstm"], "n_layers": 3}, "missing tensors"),
        ("lstm", {**OPTIONS["lstm"], "dim": 11}, r"is \[12, 40\], expected \[12, 44\]"),
        ("lstm", {**OPTIONS["lstm"], "n_layers": 1}, "tensors that ELMo does not have"),
    ],
)
def test_options_that_do_not_fit_are_refused(key: str, value: object, told: str, tmp_path: Path) -> None:
    write(tmp_path, random_weights(), {**OPTIONS, key: value})
    with pytest.raises((SettingsError, CheckpointError), match=told):
        elmo_original.read(tmp_path)


def test_a_strangers_file_leads_nowhere(tmp_path: Path) -> None:
    """Links to other files, arrays that lie in them, numbers that are none, and a file that breaks off."""
    weights = random_weights()
    write(tmp_path / "other", weights)
    path = write(tmp_path / "linked", weights) / "lm_weights.hdf5"
    with h5py.File(path, "a") as file:
        del file["char_embed"]
        file["char_embed"] = h5py.ExternalLink("../other/lm_weights.hdf5", "char_embed")
    with pytest.raises(CheckpointError, match="char_embed is no plain part of the file"):
        elmo_original.read(path.parent)
    with h5py.File(path, "a") as file:
        del file["char_embed"]
        layout = h5py.VirtualLayout((261, 3), np.float32)
        layout[:] = h5py.VirtualSource(tmp_path / "other" / "lm_weights.hdf5", "char_embed", (261, 3))
        file.create_virtual_dataset("char_embed", layout)
    with pytest.raises(CheckpointError, match="char_embed is no array of real numbers"):
        elmo_original.read(path.parent)
    weights["CNN_proj/b_proj"][2] = np.nan
    with pytest.raises(CheckpointError, match="not finite"):
        elmo_original.read(write(tmp_path / "nan", weights))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="is damaged"):
        elmo_original.read(path.parent)
