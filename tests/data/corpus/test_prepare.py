"""What a preparation makes: against a plain walk over the documents, whatever the number of processes."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plmtrain.data.corpus import documents, staging
from plmtrain.data.corpus.corpus_manifest import CorpusManifest, changed_sources, load, read
from plmtrain.data.corpus.encoding import content_hash, running_text
from plmtrain.data.corpus.prepare import prepare
from plmtrain.data.corpus.store import Store
from plmtrain.data.corpus.updates import PreparationUpdate
from plmtrain.errors import DataError
from plmtrain.settings.data import DataSettings
from plmtrain.text.tokenizer import Tokenizer

Make = Callable[..., DataSettings]
Write = Callable[[Path, list[str]], Path]


def build(data: DataSettings, tokenizer: Tokenizer, minimum: int = 16) -> tuple[Path, CorpusManifest, Store, Store]:
    folder = prepare(data, tokenizer, minimum_validation_tokens=minimum, on_update=lambda _: None)
    return folder, load(folder, tokenizer.digest), Store.open(folder, "train"), Store.open(folder, "validation")


def documents_in(store: Store) -> list[list[int]]:
    return [store.tokens[start:end].tolist() for start, end in zip(store.documents, store.documents[1:], strict=False)]


def expected(text: str, tokenizer: Tokenizer) -> list[int]:
    return [*tokenizer.encode([running_text(text, tokenizer.family)])[0][0].tolist(), tokenizer.vocabulary["sep"]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_CHUNK", 1500)
    monkeypatch.setattr(staging, "_PIECE", 700)


def test_every_document_is_on_one_side_in_order(settings: Make, tokenizer: Tokenizer, texts: list[str]) -> None:
    folder, manifest, train, validation = build(settings(), tokenizer)
    held = [content_hash(text) < 0.1 * 2**64 for text in texts]
    assert 0 < sum(held) < len(texts)
    for store, side in ((train, False), (validation, True)):
        assert documents_in(store) == [expected(t, tokenizer) for t, out in zip(texts, held, strict=True) if out == side]
        counts = manifest.splits[store.split]
        assert (counts.tokens, counts.documents) == (len(store), len(store.documents) - 1)
        assert counts.sentences == len(store.sentences) - 1
        assert set(store.documents) <= set(store.sentences)
        words = [w for t, out in zip(texts, held, strict=True) if out == side for w in running_text(t, "bert").split()]
        # Each full stop is a word of its own, and so is each end mark.
        marks = sum(word[-1] in ".!?" for word in words)
        assert store.word_starts.sum() == len(words) + marks + len(documents_in(store))
    assert folder.parent == Path(settings().prepared_dir)
    assert manifest.overlap == manifest.skipped == 0


def test_unigram_entropy_is_that_of_the_training_tokens(settings: Make, tokenizer: Tokenizer) -> None:
    _, manifest, train, _ = build(settings(), tokenizer)
    counts = Counter(token for token in train.tokens.tolist() if token != tokenizer.vocabulary["sep"])
    total = sum(counts.values())
    assert manifest.unigram_entropy == pytest.approx(-sum(n / total * math.log(n / total) for n in counts.values()))


def test_manifest_hashes_are_those_of_the_files(settings: Make, tokenizer: Tokenizer, corpus: Path) -> None:
    folder, manifest, *_ = build(settings(), tokenizer)
    for split, counts in manifest.splits.items():
        assert set(counts.sha256) == {file.name for file in (folder / split).iterdir()}
        for name, digest in counts.sha256.items():
            assert hashlib.sha256((folder / split / name).read_bytes()).hexdigest() == digest
    (source,) = manifest.sources
    assert (source.path, source.bytes) == (str(corpus), corpus.stat().st_size)
    assert source.sha256 == hashlib.sha256(corpus.read_bytes()).hexdigest()


def test_processes_change_nothing(settings: Make, tokenizer: Tokenizer, tmp_path: Path) -> None:
    one, *_ = build(settings(), tokenizer)
    three, *_ = build(settings(processes=3, prepared_dir=str(tmp_path / "other")), tokenizer)
    assert one.name == three.name
    assert contents(one) == contents(three)


def test_progress_ends_with_everything_done(settings: Make, tokenizer: Tokenizer, corpus: Path, tmp_path: Path) -> None:
    packed = tmp_path / "corpus.jsonl.gz"
    packed.write_bytes(gzip.compress(corpus.read_bytes()))
    for file in (corpus, packed):
        moments: list[PreparationUpdate] = []
        prepare(settings(files=(str(file),)), tokenizer, minimum_validation_tokens=16, on_update=moments.append)
        assert {moment.stage for moment in moments} == {"hash", "encode", "write"}
        encoding = [moment for moment in moments if moment.stage == "encode"]
        assert len(encoding) > 5
        shares = [moment.bytes / file.stat().st_size for moment in encoding]
        assert shares == sorted(shares)
        assert shares[-1] == 1
        middle = encoding[len(encoding) // 2]
        assert middle.bytes / middle.total_bytes == pytest.approx(middle.documents / 40, abs=0.25)
        assert (moments[-1].documents, moments[-1].tokens) == (40, encoding[-1].tokens)


class TestAgain:
    def test_nothing_is_made_twice(self, settings: Make, tokenizer: Tokenizer) -> None:
        first, *_ = build(settings(), tokenizer)
        moments: list[PreparationUpdate] = []
        # Neither the processes, nor rows that isolate documents, change what is prepared.
        again = settings(processes=2, isolate_documents=True)
        assert prepare(again, tokenizer, minimum_validation_tokens=16, on_update=moments.append) == first
        assert {moment.stage for moment in moments} <= {"hash"}

    @pytest.mark.parametrize("change", [{"on_bad": "skip"}, {"validation_fraction": 0.2}])
    def test_settings_that_matter_make_another(self, settings: Make, tokenizer: Tokenizer, change: dict[str, object]) -> None:
        assert build(settings(), tokenizer)[0] != build(settings(**change), tokenizer)[0]

    def test_an_edit_that_hides_is_found(self, settings: Make, tokenizer: Tokenizer, corpus: Path) -> None:
        """The same size and the same modification time, as rsync or a careless editor leave them."""
        os.utime(corpus, ns=(10**18, 10**18))
        first, before, *_ = build(settings(), tokenizer)
        text = corpus.read_bytes()
        corpus.write_bytes(text.replace(b"Karu", b"Kami").replace(b"kata", b"kami"))
        os.utime(corpus, ns=(10**18, 10**18))
        assert corpus.read_bytes() != text
        assert (corpus.stat().st_size, corpus.stat().st_mtime_ns) == (len(text), 10**18)
        second, after, *_ = build(settings(), tokenizer)
        assert first != second
        assert changed_sources(before, after) == [str(corpus)]
        corpus.write_bytes(text)
        assert build(settings(), tokenizer)[0] == first

    def test_damage_is_made_good(self, settings: Make, tokenizer: Tokenizer) -> None:
        folder, *_ = build(settings(), tokenizer)
        whole = contents(folder)
        for name in ("train/tokens.npy", "manifest.json", "validation/sentences.npy"):
            (folder / name).write_bytes(whole[name][:-7])
            assert build(settings(), tokenizer)[0] == folder
            assert contents(folder) == whole
        assert {place.name for place in folder.parent.iterdir()} == {folder.name, ".lock"}

    def test_longer_rows_need_more_held_out(self, settings: Make, tokenizer: Tokenizer) -> None:
        plain, _, _, validation = build(settings(), tokenizer)
        enough = len(validation)
        assert build(settings(), tokenizer, minimum=enough)[0] == plain
        more, _, _, held = build(settings(), tokenizer, minimum=enough + 1)
        assert more != plain
        assert len(held) > enough
        assert set(map(tuple, documents_in(validation))) < set(map(tuple, documents_in(held)))
        assert build(settings(), tokenizer, minimum=1)[0] == plain

    def test_a_run_is_not_changed_by_what_others_prepared(self, settings: Make, tokenizer: Tokenizer, tmp_path: Path) -> None:
        """Long rows first and short rows later, or only short rows: the short rows' data are the same."""
        _, _, _, validation = build(settings(prepared_dir=str(tmp_path / "short")), tokenizer)
        build(settings(), tokenizer, minimum=len(validation) + 1)
        assert documents_in(build(settings(), tokenizer)[3]) == documents_in(validation)


class TestSplit:
    def test_repeated_documents_are_counted_and_stay_together(
        self, settings: Make, tokenizer: Tokenizer, tmp_path: Path, texts: list[str], write_corpus: Write
    ) -> None:
        # Whitespace does not make another document.
        repeated = [*texts, *texts[:10], texts[3].replace(" ", "  ")]
        file = write_corpus(tmp_path / "repeated.jsonl", repeated)
        _, manifest, train, validation = build(settings(files=(str(file),)), tokenizer)
        assert sum(counts.duplicates for counts in manifest.splits.values()) == 11
        assert manifest.overlap == 0
        assert not set(map(tuple, documents_in(train))) & set(map(tuple, documents_in(validation)))

    def test_files_of_its_own(
        self, settings: Make, tokenizer: Tokenizer, tmp_path: Path, texts: list[str], write_corpus: Write
    ) -> None:
        own = write_corpus(tmp_path / "valid.jsonl", [texts[5], "Entirely new to us.", texts[7], texts[7]])
        data = settings(validation_files=(str(own),))
        _, manifest, train, validation = build(data, tokenizer)
        assert documents_in(train) == [expected(text, tokenizer) for text in texts]
        assert len(documents_in(validation)) == 4
        assert manifest.overlap == 2
        assert [source.split for source in manifest.sources] == ["train", "validation"]
        for _ in range(2):  # the same before and after it is prepared
            with pytest.raises(DataError, match=r"the validation text has \d+ tokens, but a row takes 5000"):
                build(data, tokenizer, minimum=5000)

    def test_each_text_once_and_none_that_is_held_out(
        self, settings: Make, tokenizer: Tokenizer, tmp_path: Path, texts: list[str], write_corpus: Write
    ) -> None:
        repeated = [*texts[:30], texts[7], *texts[5:], texts[3].replace(" ", "  ")]
        file = write_corpus(tmp_path / "repeated.jsonl", repeated)
        own = write_corpus(tmp_path / "valid.jsonl", [texts[5], "Entirely new to us.", texts[7], texts[7]])
        plain = settings(files=(str(file),), deduplicate=True)
        _, manifest, train, validation = build(plain, tokenizer)
        _, _, *of_distinct = build(settings(), tokenizer)
        # What is left is the corpus of distinct documents, in the order in which they stand first, and split like it.
        assert [documents_in(store) for store in (train, validation)] == [documents_in(store) for store in of_distinct]
        assert (manifest.dropped, manifest.overlap) == (27, 0)
        assert [counts.duplicates for counts in manifest.splits.values()] == [0, 0]
        _, manifest, train, validation = build(plain.model_copy(update={"validation_files": (str(own),)}), tokenizer)
        assert documents_in(train) == [expected(text, tokenizer) for number, text in enumerate(texts) if number not in (5, 7)]
        assert len(documents_in(validation)) == 4
        assert (manifest.dropped, manifest.overlap) == (27 + 2, 0)
        with pytest.raises(DataError, match="each training document is a held-out document, too"):
            build(plain.model_copy(update={"validation_files": (str(file),)}), tokenizer)

    def test_a_repeated_document_is_cut_once(
        self, settings: Make, tokenizer: Tokenizer, tmp_path: Path, texts: list[str]
    ) -> None:
        """With too few documents to hold one out: the text that is left is cut, wherever its copies stand."""
        long, short = " ".join(texts[:6]), texts[7]
        contents = {"one": [long], "several": [long, long, long], "other": [short, short, long, short]}
        split = {}
        for name, parts in contents.items():
            files = []
            for number, part in enumerate(parts):
                file = tmp_path / f"{name}{number}.txt"
                file.write_text(part)
                files.append(str(file))
            data = settings(type="text", files=tuple(files), validation_fraction=0.05, deduplicate=True)
            _, manifest, train, validation = build(data, tokenizer, minimum=30)
            split[name] = [documents_in(store) for store in (train, validation)]
            assert manifest.dropped == len(parts) - len(set(parts))
        assert split["several"] == split["one"]
        assert [len(documents) for documents in split["other"]] == [2, 1]
        head, tail = split["other"][0][1], split["other"][1][0]
        assert [*head[:-1], *tail] == expected(long, tokenizer)

    @pytest.mark.parametrize("kind", ["sentences", "one sentence"])
    def test_one_document_is_cut(self, settings: Make, tokenizer: Tokenizer, tmp_path: Path, kind: str, texts: list[str]) -> None:
        text = "\n".join(texts[:6])
        if kind == "one sentence":
            text = " ".join(text.lower().translate(str.maketrans("", "", ".!?")).split())
        file = tmp_path / "book.txt"
        file.write_text(text)
        data = settings(type="text", files=(str(file),), validation_fraction=0.05)
        _, manifest, train, validation = build(data, tokenizer, minimum=30)
        (head,), (tail,) = documents_in(train), documents_in(validation)
        assert head[-1] == tokenizer.vocabulary["sep"]
        assert [*head[:-1], *tail] == expected(text, tokenizer)
        assert 30 <= len(tail) < len(head) / 4
        assert manifest.overlap == 0
        assert validation.word_starts[0]
        assert train.sentences[-1] == len(train)
        if kind == "sentences":
            assert tokenizer.decode(head[-2:-1]) in (".", "!", "?")
            assert manifest.splits["train"].sentences + manifest.splits["validation"].sentences == 6 * 12

    def test_too_little_text(self, settings: Make, tokenizer: Tokenizer, tmp_path: Path) -> None:
        file = tmp_path / "tiny.txt"
        file.write_text("Kalo min.")
        with pytest.raises(DataError, match="too little text to hold out 16 tokens"):
            build(settings(type="text", files=(str(file),)), tokenizer)
        assert not list(Path(settings().prepared_dir).glob("*.tmp"))


def test_skipped_lines_are_counted(settings: Make, tokenizer: Tokenizer, corpus: Path) -> None:
    with corpus.open("a") as file:
        file.write('{"text": "half a li\n{"other": "column"}\n')
    with pytest.raises(DataError) as caught:
        build(settings(), tokenizer)
    assert caught.value.where == f"{corpus}:41"
    _, manifest, *_ = build(settings(on_bad="skip"), tokenizer)
    assert manifest.skipped == 2
    assert [line.startswith(f"{corpus}:4") for line in manifest.first_skipped] == [True, True]


def test_no_text_at_all(settings: Make, tokenizer: Tokenizer, tmp_path: Path) -> None:
    file = tmp_path / "blank.jsonl"
    file.write_text('{"text": " "}\n')
    with pytest.raises(DataError, match="no text"):
        build(settings(files=(str(file),)), tokenizer)


def test_a_source_that_changes_meanwhile(settings: Make, tokenizer: Tokenizer, corpus: Path) -> None:
    def append(moment: PreparationUpdate) -> None:
        if moment.stage == "encode" and moment.documents < 20:
            corpus.open("a").write('{"text": "More."}\n')

    with pytest.raises(DataError, match="changed while it was read") as caught:
        prepare(settings(), tokenizer, minimum_validation_tokens=16, on_update=append)
    assert caught.value.where == str(corpus)
    assert [place.name for place in Path(settings().prepared_dir).iterdir() if place.is_dir()] == []


def test_a_manifest_refuses_another_tokenizer(settings: Make, tokenizer: Tokenizer) -> None:
    folder, manifest, *_ = build(settings(), tokenizer)
    assert read(folder) == manifest
    with pytest.raises(DataError, match="another tokenizer") as caught:
        load(folder, "0" * 64)
    assert tokenizer.digest[:16] in caught.value.where
    with pytest.raises(DataError, match="no prepared data"):
        load(folder / "train", tokenizer.digest)
    text = (folder / "manifest.json").read_text()
    for damage in ("{}", "[]", text[:-50], text.replace('"version": 1', '"version": 99')):
        (folder / "manifest.json").write_text(damage)
        with pytest.raises(DataError):
            read(folder)


def test_the_smallest_type_is_used(settings: Make, tokenizer: Tokenizer) -> None:
    assert tokenizer.vocabulary.size <= 256
    assert build(settings(), tokenizer)[2].tokens.dtype == np.uint8
