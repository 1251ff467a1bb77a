"""A family whose vocabulary has neither cls nor sep nor pad: what needs a token that is not there is refused before anything is
trained, and what does not need one is prepared, inspected, trained and asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import plmtrain
from support.tiny_text import FINETUNE, PRETRAIN, TABLES, TEXT, write_texts

from plmtrain import families
from plmtrain.data.corpus.prepare import prepare
from plmtrain.data.corpus.store import Store
from plmtrain.data.rows.blocks import Blocks
from plmtrain.data.rows.framing import framed
from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.data.rows.rows import side_by_side
from plmtrain.families import ModelFamily, TokenizerFamily
from plmtrain.settings.data import DataSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

LINES = ["One line.\nAnd the next, \tindented.", "Another document: two lines,\nas they stand.", "A third."] * 20


@pytest.fixture(autouse=True)
def teller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two families: ``teller`` has an end of text and nothing else, ``hider`` a mask, too."""
    tokens = {"teller": {"eos": "<|end|>"}, "hider": {"mask": "<|gap|>", "eos": "<|stop|>"}}
    for name, roles in tokens.items():
        row = TokenizerFamily(
            first=(),
            last=tuple(roles.values()),
            roles=roles,
            single="A:0",
            pair="A:0 B:0",
            signs=(roles["eos"],),
            keeps_line_ends=True,
        )
        monkeypatch.setitem(families.TOKENIZER_FAMILIES, name, row)  # type: ignore[arg-type]
        monkeypatch.setitem(families.MODEL_FAMILIES, name, ModelFamily(kind="encoder", tokenizer=name, reads="last"))  # type: ignore[arg-type]


def trained(family: str) -> Tokenizer:
    settings = TokenizerSettings(type="byte_bpe", family=family, vocab_size=300, lowercase=False)
    return train(iter(LINES), settings)


def of_family(name: str) -> list[str]:
    return [f"model.family={name}", f"tokenizer.family={name}", "tokenizer.type=byte_bpe", "tokenizer.vocab_size=300"]


def test_text_is_prepared_as_it_stands_with_end_marks(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in LINES))
    settings = DataSettings.model_validate(
        {
            "type": "jsonl",
            "name": "lines",
            "files": [str(tmp_path / "corpus.jsonl")],
            "prepared_dir": str(tmp_path / "prepared"),
            "validation_fraction": 0.2,
            "processes": 1,
        }
    )
    tokenizer = trained("teller")
    assert tokenizer.family == "teller"
    assert set(tokenizer.vocabulary.roles) == {"eos"}
    folder = prepare(settings, tokenizer, minimum_validation_tokens=16, on_update=lambda moment: None)
    store = Store.open(folder, "train")
    ends = np.asarray(store.documents[1:]) - 1
    assert np.all(np.asarray(store.tokens)[ends] == tokenizer.vocabulary["eos"])
    firsts = zip(store.documents[:-1], ends, strict=True)
    assert {tokenizer.decode(np.asarray(store.tokens[first:end])) for first, end in firsts} <= set(LINES)

    # Rows are the text itself: nothing stands around it, and nothing of it is lost.
    layout = RowFormat.of("teller", 1)
    assert layout.framing == 0
    rows = Blocks(store, 16).fetch(np.arange(2))
    made = framed(rows, layout, tokenizer.vocabulary)
    assert made.ids.tolist() == rows.tokens.tolist()
    assert made.real is None


def test_shorter_rows_are_filled_by_the_end_of_text() -> None:
    tokenizer = trained("teller")
    encoded = tokenizer.encode(["A third.", "Another document: two lines,\nas they stand."])
    rows = side_by_side(encoded, tokenizer.vocabulary.padding)
    made = framed(rows, RowFormat.of("teller", 1), tokenizer.vocabulary)
    short = len(encoded[0][0])
    assert made.real is not None
    assert made.ids[0, :short].tolist() == encoded[0][0].tolist()
    assert np.all(made.ids[0, short:] == tokenizer.vocabulary["eos"])
    assert not made.real[0, short:].any()
    two = RowFormat.of("teller", 2)
    assert (two.framing, two.roles) == (0, ())


def test_an_existing_tokenizer_without_roles_is_refused_before_it_is_used(tmp_path: Path) -> None:
    write_texts(tmp_path)
    trained("teller").save(tmp_path / "bare")
    run = [*PRETRAIN, *TEXT, "tokenizer.path=bare", "name=never"]
    needed = "objective=mlm needs tokens that the tokenizer lacks: cls, mask, sep"
    for verb in ("pretrain", "prepare", "inspect"):
        result = plmtrain(verb, *(run if verb != "prepare" else run[:-1]), cwd=tmp_path)
        assert result.code == 2, result.err
        what, where, remedy = result.err.strip().splitlines()[-3:]
        assert needed in what
        assert "tokenizer.path=bare has: eos" in where
        assert "albert, bert, deberta, mbart, roberta, xlm, xlnet" in remedy
    assert not list((tmp_path / "runs").glob("never/checkpoints/*"))
    assert not [path for path in (tmp_path / "prepared").glob("*-*") if path.is_dir()], "nothing was encoded"

    checked = plmtrain("check", *run, "--json", cwd=tmp_path)
    errors: list[dict[str, Any]] = json.loads(checked.out)["errors"]
    assert (checked.code, [error["what"] for error in errors]) == (2, [needed])

    task = plmtrain("finetune", *FINETUNE, *TABLES, "tokenizer.path=bare", cwd=tmp_path)
    assert task.code == 2
    assert "task=classification needs tokens that the tokenizer lacks: cls, sep" in task.err


def test_a_tokenizer_to_be_trained_is_refused_with_the_settings(tmp_path: Path) -> None:
    write_texts(tmp_path)
    result = plmtrain("pretrain", *PRETRAIN, *TEXT, *of_family("teller"), cwd=tmp_path)
    assert result.code == 2
    assert "objective=mlm needs tokens that family teller lacks: mask" in result.err
    assert not (tmp_path / "runs").exists()


def test_a_kind_of_tokenizer_that_needs_unknown_tokens(tmp_path: Path) -> None:
    write_texts(tmp_path)
    arguments = [*PRETRAIN, *TEXT, *of_family("hider"), "tokenizer.type=wordpiece"]
    result = plmtrain("tokenizer", *arguments, cwd=tmp_path)
    assert result.code == 2
    assert "wordpiece needs a token for what is unknown, and family hider has none" in result.err


def test_an_objective_that_needs_a_mask_alone_trains_to_its_end_and_is_asked(tmp_path: Path) -> None:
    write_texts(tmp_path)
    run = [*PRETRAIN, *TEXT, *of_family("hider")]
    inspected = plmtrain("inspect", *run, cwd=tmp_path)
    assert inspected.code == 0, inspected.err
    assert "specials touched" in inspected.out
    checked = plmtrain("check", *run, cwd=tmp_path)
    assert checked.code == 0, checked.out + checked.err
    result = plmtrain("pretrain", *run, "name=run", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "filled masks" in result.out, "the demonstration pads short sentences"
    assert json.loads((tmp_path / "runs" / "run" / "status.json").read_text())["state"] == "finished"
    asked = plmtrain("predict", "runs/run", "one <|gap|> two", "a longer text, and <|gap|>", "--json", cwd=tmp_path)
    assert asked.code == 0, asked.err
    answers = [json.loads(line) for line in asked.out.splitlines()]
    assert [len(answer["masks"]) for answer in answers] == [1, 1]
    assert answers[0]["filled"].startswith("one")
    assert answers[0]["filled"].endswith("two")
