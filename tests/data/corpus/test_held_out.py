"""The original text of held-out documents: for every way in which text is held out, its encoding is what was prepared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plmtrain.data.corpus.encoding import Passage, encode
from plmtrain.data.corpus.held_out import held_out_texts
from plmtrain.data.corpus.prepare import prepare
from plmtrain.data.corpus.store import Store
from plmtrain.settings.data import DataSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer_training import train

DOCUMENTS = [
    f"The {colour} mill number {n} stands by the river.  It was closed {n} years ago!\nNobody knows the {colour} road."
    for n, colour in enumerate(["Red", "old", "GREEN", "blue", "white"] * 8)
]
WHOLE = " ".join(f"Sentence {n} of the Only document says little." for n in range(60))


@pytest.mark.parametrize("kind", ["files", "fraction", "cut"])
@pytest.mark.parametrize(("family", "tokenizer"), [("gpt2", "byte_bpe"), ("bert", "wordpiece")])
def test_the_text_is_what_was_held_out(tmp_path: Path, kind: str, family: str, tokenizer: str) -> None:
    own = train(DOCUMENTS, TokenizerSettings(type=tokenizer, family=family, vocab_size=350, lowercase=family == "bert"))
    texts = [WHOLE] if kind == "cut" else [*DOCUMENTS, DOCUMENTS[3]]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": DOCUMENTS[0]}) + "\n")
    data = DataSettings(
        name="own",
        type="jsonl",
        files=[str(tmp_path / "a.jsonl")],
        validation_files=[str(tmp_path / "b.jsonl")] if kind == "files" else [],
        validation_fraction=0.2,
        prepared_dir=str(tmp_path / "prepared"),
    )
    folder = prepare(data, own, minimum_validation_tokens=8, on_update=lambda update: None)
    held = list(held_out_texts(data, folder, own, lambda update: None))
    store = Store.open(folder, "validation")
    assert len(held) == len(store.documents) - 1 >= 1
    assert all(any(text.strip() in original for original in [*texts, *DOCUMENTS]) for text in held)
    again = [encode(own, [Passage(text)]).tokens[:-1] for text in held]
    prepared = [np.asarray(store.tokens[a : b - 1]) for a, b in zip(store.documents[:-1], store.documents[1:], strict=True)]
    assert sorted(map(len, again)) == sorted(map(len, prepared))
    if kind != "cut":  # the first token of a cut document may have stood behind a space
        assert sorted(map(bytes, again)) == sorted(map(bytes, prepared))
