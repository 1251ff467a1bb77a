"""The tokenizer of a corpus: trained once on the training text, found again, never trusted when it is not what it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Engine

from plmtrain.data.corpus import trained_tokenizers as module
from plmtrain.data.corpus.encoding import content_hash, running_text
from plmtrain.data.corpus.trained_tokenizers import tokenizer_for
from plmtrain.errors import DataError
from plmtrain.settings.data import DataSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

Make = Callable[..., DataSettings]
Write = Callable[[Path, list[str]], Path]
SETTINGS = TokenizerSettings(type="wordpiece", family="bert", vocab_size=120, lowercase=False)


def quiet(_: object) -> None:
    pass


def kept(data: DataSettings) -> list[Path]:
    return sorted(place for place in (Path(data.prepared_dir) / "tokenizers").iterdir() if place.is_dir())


def test_is_the_training_texts(settings: Make, texts: list[str]) -> None:
    tokenizer = tokenizer_for(settings(), SETTINGS, quiet)
    trained_on = [running_text(text, "bert") for text in texts if content_hash(text) >= 0.1 * 2**64]
    assert 0 < len(trained_on) < len(texts)
    assert tokenizer.digest == train(iter(trained_on), SETTINGS).digest
    everything = tokenizer_for(settings(validation_files=settings().files), SETTINGS, quiet)
    assert everything.digest == train((running_text(text, "bert") for text in texts), SETTINGS).digest


def test_is_trained_once(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tokenizer_for(settings(), SETTINGS, quiet)
    (folder,) = kept(settings())
    assert folder.name.startswith("wordpiece-")
    assert Engine.from_file(str(folder / "tokenizer.json")).get_vocab_size() == first.vocabulary.size
    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("trained again"))
    assert tokenizer_for(settings(isolate_documents=True, processes=2), SETTINGS, quiet).digest == first.digest
    assert len(kept(settings())) == 1


@pytest.mark.parametrize("change", [{"vocab_size": 110}, {"lowercase": True}, {"type": "byte_bpe", "vocab_size": 300}])
def test_other_settings_make_another(settings: Make, change: dict[str, object]) -> None:
    first = tokenizer_for(settings(), SETTINGS, quiet)
    other = tokenizer_for(settings(), TokenizerSettings.model_validate(SETTINGS.model_dump() | change), quiet)
    assert first.digest != other.digest
    assert len(kept(settings())) == 2


def test_damage_is_made_good(settings: Make) -> None:
    first = tokenizer_for(settings(), SETTINGS, quiet)
    (folder,) = kept(settings())
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    broken = whole["tokenizer.json"].replace(b'"##ta"', b'"##zz"', 1)
    for damage in (b"", whole["tokenizer.json"][:100], broken):
        assert damage != whole["tokenizer.json"]
        (folder / "tokenizer.json").write_bytes(damage)
        assert tokenizer_for(settings(), SETTINGS, quiet).digest == first.digest
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole


def test_an_existing_one(settings: Make, tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save(tmp_path / "mine")
    given = SETTINGS.model_copy(update={"path": str(tmp_path / "mine")})
    assert tokenizer_for(settings(), given, quiet).digest == tokenizer.digest
    assert not Path(settings().prepared_dir).exists()
    with pytest.raises(DataError):
        tokenizer_for(settings(), SETTINGS.model_copy(update={"path": str(tmp_path / "nowhere")}), quiet)


def test_a_corpus_that_is_held_out_whole_is_trained_on(settings: Make, tmp_path: Path, write_corpus: Callable[..., Path]) -> None:
    text = next(text for text in (f"kata mi {number}." * 20 for number in range(1000)) if content_hash(text) < 0.1 * 2**64)
    file = write_corpus(tmp_path / "one.jsonl", [text])
    assert tokenizer_for(settings(files=(str(file),)), SETTINGS, quiet).vocabulary.size > 10


def test_a_large_text_is_sampled_by_content(settings: Make, texts: list[str]) -> None:
    """Those with the lowest keys behind the held-out ones; where the whole text is trained on, all stays as it was."""
    total = sum(Path(file).stat().st_size for file in settings().files)
    held, limit = 0.1 * 2**64, total // 4
    sampled = SETTINGS.model_copy(update={"sample_bytes": limit})
    end = held + limit / total * (2**64 - held)
    chosen = [running_text(text, "bert") for text in texts if held <= content_hash(text) < end]
    assert 0 < len(chosen) < len(texts) / 2
    made = tokenizer_for(settings(), sampled, quiet)
    assert made.digest == train(iter(chosen), SETTINGS).digest
    whole = tokenizer_for(settings(), SETTINGS, quiet)
    assert whole.digest != made.digest
    assert tokenizer_for(settings(), SETTINGS.model_copy(update={"sample_bytes": total}), quiet).digest == whole.digest
    assert len(kept(settings())) == 2


def test_too_few_documents_for_a_sample_are_begun_from_the_first(settings: Make, tmp_path: Path, texts: list[str]) -> None:
    files = []
    for number in range(4):
        file = tmp_path / f"book{number}.txt"
        file.write_text("\n".join(texts[number * 10 : number * 10 + 10]))
        files.append(str(file))
    data = settings(type="text", files=tuple(files), validation_fraction=1e-6)
    hashes = [content_hash(Path(file).read_text()) for file in files]
    few = SETTINGS.model_copy(update={"sample_bytes": 10})
    assert min(hashes) > 2**64 * 10 / sum(Path(file).stat().st_size for file in files)  # none is in so small a sample
    first = running_text(Path(files[0]).read_text(), "bert")
    assert tokenizer_for(data, few, quiet).digest == train(iter([first]), SETTINGS).digest


def test_a_sample_that_is_too_small_is_read_on(
    settings: Make, tmp_path: Path, texts: list[str], write_corpus: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long document makes the text large, and is not in the sample, which has too little: more is read, nothing twice."""
    long = max((f"{word} " * 3000 for word in texts[0].split()), key=lambda text: content_hash(text.strip()))
    file = write_corpus(tmp_path / "long.jsonl", [*texts, long])
    data, total = settings(files=(str(file),), validation_fraction=1e-6), file.stat().st_size
    asked, held, read = total // 8, 1e-6 * 2**64, list[str]()

    def trained(some: Iterator[str], *others: Any) -> Tokenizer:
        read.extend(some)
        return train(iter(read), *others)

    monkeypatch.setattr(module, "train", trained)
    tokenizer_for(data, SETTINGS.model_copy(update={"sample_bytes": asked}), quiet)
    end = held + asked / total * (2**64 - held)
    sample = [running_text(text, "bert") for text in texts if held <= content_hash(text) < end]
    assert 0 < sum(map(len, sample)) < asked / 2 <= sum(map(len, read)) < asked + max(map(len, texts))
    assert read[: len(sample)] == sample
    assert len(set(read)) == len(read) < len(texts)


def test_repeated_documents_count_once_if_they_are_left_out(settings: Make, tmp_path: Path, texts: list[str]) -> None:
    file = tmp_path / "repeated.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*texts, *texts[:20], *texts[:20]]))
    data = settings(files=(str(file),), deduplicate=True)
    assert tokenizer_for(data, SETTINGS, quiet).digest == tokenizer_for(settings(), SETTINGS, quiet).digest


def test_the_texts_of_a_mix_are_read_together(settings: Make, tmp_path: Path, texts: list[str]) -> None:
    source = {"type": "jsonl"}
    files = []
    for number, part in enumerate((texts[:15], texts[15:])):
        file = tmp_path / f"part{number}.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in part))
        files.append(str(file))
    sources = {f"part{number}": {**source, "files": file} for number, file in enumerate(files)}
    mix = settings(type="mix", files=(), sources=sources)
    assert tokenizer_for(mix, SETTINGS, quiet).digest == tokenizer_for(settings(), SETTINGS, quiet).digest
    broken = settings(type="mix", files=(), sources={**sources, "part1": {**source, "files": str(tmp_path / "none.jsonl")}})
    with pytest.raises(DataError) as caught:
        tokenizer_for(broken, SETTINGS, quiet)
    assert caught.value.where.startswith("data.sources.part1.files: ")
