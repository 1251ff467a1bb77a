"""The settings of a mix of texts: what they stand for, and what is refused."""

from __future__ import annotations

import pytest

from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.data import DataSettings
from plmtrain.settings.decode import pretrain_settings

SOURCES = "{web: {type: jsonl, files: web.jsonl, weight: 3}, books: {type: text, files: [books], document_per: line, weight: 1}}"


def data(*overrides: str) -> DataSettings:
    chosen = ("model=bert", "objective=mixture", "objective.shares={mlm: 1, rtd: 1}", "data=mix", f"data.sources={SOURCES}")
    return pretrain_settings(compose([*chosen, *overrides])).data


def test_each_source_is_a_text_with_what_they_share() -> None:
    mix = data("data.validation_fraction=0.2", "data.isolate_documents=true", "data.processes=3", "data.prepared_dir=there")
    assert mix.weights == {"books": 1, "web": 3}
    assert list(mix.texts) == ["books", "web"]
    shared = {"validation_fraction": 0.2, "isolate_documents": True, "processes": 3, "prepared_dir": "there"}
    alone = DataSettings(name="books", type="text", files=("books",), document_per="line", **shared)
    assert mix.texts["books"] == alone
    assert alone.texts == {None: alone}
    assert data("data.sources.web.weight=null", "data.sources.books.weight=null").weights is None


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.sources.web.weight=null"], "sources has no weight for web"),
        (["data.sources.web.filez=a"], "did you mean 'data.sources.web.files'"),
        (["data.sources.web.files=[]"], "data.sources.web: files is missing"),
        (["data.sources.web.type=parallel"], "data.sources.web.type cannot be 'parallel'"),
        (["data.files=web.jsonl"], "files belongs to one of the sources"),
        (["data.deduplicate=true"], "write data.sources.NAME.deduplicate="),
        (["data.sources.loss={type: text, files: a}"], "sources has no weight for loss"),
        (["data.sources.loss={type: text, files: a, weight: 1}"], "data.sources.loss has the name of a measure"),
        (["data.sources.rtd={type: text, files: a, weight: 1}"], "data.sources.rtd has the name of a measure"),
    ],
)
def test_what_is_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(SettingsErrors, match=told.replace("(", "\\(")):
        data(*overrides)


def test_one_source_is_no_mix() -> None:
    with pytest.raises(SettingsErrors, match=r"(?s)sources names only one.*name two texts"):
        pretrain_settings(compose(["model=bert", "objective=mlm", "data=mix", "data.sources={one: {type: text, files: a}}"]))


def test_a_change_of_one_source_may_be_allowed() -> None:
    data("resume.allow=[data.sources.web.files]")
    with pytest.raises(SettingsErrors, match=r"resume.allow names an unknown setting: 'data.sources.web.filez'"):
        data("resume.allow=[data.sources.web.filez]")


def test_other_data_have_no_sources() -> None:
    with pytest.raises(ValueError, match="sources are for several texts: write data=mix"):
        DataSettings.model_validate({"name": "text", "type": "text", "files": ("a",), "sources": {"one": {"type": "sample"}}})


def test_translations_are_not_deduplicated() -> None:
    given = {"name": "parallel", "type": "parallel", "files": ("a.tsv",), "languages": ("en", "de")}
    with pytest.raises(ValueError, match="deduplicate is not for parallel text"):
        DataSettings.model_validate({**given, "deduplicate": True})
