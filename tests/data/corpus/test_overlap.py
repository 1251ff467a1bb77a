"""Text that is held out of one source of a mix, and trained on in another, is counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from plmtrain.data.corpus import corpus_manifest as manifests
from plmtrain.data.corpus.overlap import HASHES, overlaps
from plmtrain.data.corpus.prepare import prepare
from plmtrain.settings.data import DataSettings
from plmtrain.text.tokenizer import Tokenizer

Make = Callable[..., DataSettings]
Write = Callable[[Path, list[str]], Path]


def test_documents_of_one_source_are_looked_for_in_all(
    settings: Make, tmp_path: Path, texts: list[str], tokenizer: Tokenizer, write_corpus: Write
) -> None:
    """Two held-out documents of one source are trained on in the other, and a third in its own text."""
    parts = {
        "web": (texts[:10], [*texts[20:24], texts[3]]),
        "books": ([*texts[10:20], *texts[22:24]], texts[25:28]),
    }
    folders, own = {}, {}
    for name, (train, held_out) in parts.items():
        files, validation = (
            str(write_corpus(tmp_path / f"{name}-{split}.jsonl", some)) for split, some in (("train", train), ("held", held_out))
        )
        data = settings(files=(files,), validation_files=(validation,))
        folders[name] = prepare(data, tokenizer, minimum_validation_tokens=16, on_update=lambda _: None)
        own[name] = manifests.load(folders[name], tokenizer.digest)
    assert overlaps(folders) == {"web": 3, "books": 0}
    assert {name: manifest.overlap for name, manifest in own.items()} == {"web": 1, "books": 0}
    assert manifests.joined("mix", own, overlaps(folders), 0.0).overlap == 3
    for folder in folders.values():  # as an earlier version prepared them
        (folder / "train" / HASHES).unlink()
    assert manifests.joined("mix", own, overlaps(folders), 0.0).overlap == 1
