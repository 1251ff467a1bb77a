"""A mix of texts as a user meets it: pretrained, killed, resumed, prepared, inspected, evaluated, checked, and refused."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from support.command_line import plmtrain
from support.tiny_text import PRETRAIN, documents

SOURCES = (
    "data.sources={web: {type: jsonl, files: web.jsonl, text_column: body, weight: 3}, "
    "books: {type: text, files: [books.txt], document_per: blank_line, weight: 1}}"
)
RUN = [*PRETRAIN, "data=mix", SOURCES, "data.validation_fraction=0.2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two texts and a run on both that was killed once."""
    work = tmp_path_factory.mktemp("mix")
    texts = documents(60)
    (work / "web.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in texts[:20]))
    (work / "books.txt").write_text("\n\n".join(texts[20:]) + "\n")
    assert plmtrain("pretrain", *RUN, "name=run", cwd=work, fault="train.forward@5").code == -signal.SIGKILL
    result = plmtrain("pretrain", *RUN, "name=run", cwd=work)
    assert result.code == 0, result.err
    assert "resuming from step 4" in result.out
    assert "books, web (data=mix): " in result.out
    shares = [line for line in result.out.splitlines() if "of the rows" in line]
    assert [line.split(" of the rows")[0] for line in shares] == ["books: 25.00%", "web: 75.00%"]
    # Eight steps of eight rows of 16: three quarters of 64 rows.
    rows = int(shares[1].split(", ")[1].split(" ")[0].replace(",", "")) // 14
    assert f"read {48 / rows:.2f} times" in shares[1]
    return work


def test_each_text_is_validated_by_itself(folder: Path) -> None:
    records = [json.loads(line) for line in (folder / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]
    held_out = records[-1]
    assert held_out["val/loss"] == pytest.approx(0.75 * held_out["val/web/loss"] + 0.25 * held_out["val/books/loss"])
    assert held_out["val/web/loss"] != held_out["val/books/loss"]
    assert {"val/web/loss/mlm", "val/books/mlm/accuracy", "val/hidden_unigram_loss"} <= held_out.keys()
    manifest = json.loads((folder / "runs" / "run" / "data" / "manifest.json").read_text())
    assert [Path(source["path"]).name for source in manifest["sources"]] == ["books.txt", "web.jsonl"]


def test_other_verbs_know_the_texts(folder: Path) -> None:
    prepared = plmtrain("prepare", *RUN, cwd=folder)
    assert prepared.code == 0, prepared.err
    assert [line.split("-")[0] for line in prepared.out.splitlines()[:2]] == ["prepared/books", "prepared/web"]
    assert "web: 75.00% of the rows of training" in prepared.out
    inspected = plmtrain("inspect", *RUN, cwd=folder)
    assert inspected.code == 0, inspected.err
    assert "books: 25.00% of the rows" in inspected.out
    evaluated = plmtrain("evaluate", "runs/run", "--json", cwd=folder)
    assert evaluated.code == 0, evaluated.err
    assert {"loss", "web/loss", "books/loss"} <= json.loads(evaluated.out).keys()
    checked = plmtrain("check", "--json", *RUN, "data.size_exponent=0", cwd=folder)
    assert checked.code == 0, checked.err + checked.out
    assert json.loads(checked.out)["shares"] == {"books": 0.25, "web": 0.75}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.sources.web.files=webb.jsonl", ["data.sources.web.files: webb.jsonl", "did you mean 'web.jsonl'?"]),
        ("data.sources.web.type=text", ["which data.sources.web.type=text does not read", "data.sources.web.type=jsonl"]),
        ("data.sources.web.text_column=text", ["web.jsonl:1", "data.sources.web.text_column"]),
        ("data.sources.web.weight=0.00001", ["the share of source web, 0.00%, is less than one of 10,000 rows"]),
    ],
)
def test_failures_name_the_source(folder: Path, override: str, told: list[str]) -> None:
    result = plmtrain("prepare" if "weight=0.0" not in override else "inspect", *RUN, override, cwd=folder)
    assert result.code in (2, 3)
    shown = " ".join(result.err.split())
    for words in told:
        assert words in shown, result.err
