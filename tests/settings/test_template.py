"""The rows of tasks whose answers are written, against those of Raffel et al. 2020, appendix D."""

from __future__ import annotations

import pytest

from plmtrain.runs.command_settings import settings_for
from plmtrain.settings.run import FinetuneSettings
from plmtrain.settings.template import Template

PUBLISHED = {
    "cola": "cola sentence: A",
    "sst2": "sst2 sentence: A",
    "mrpc": "mrpc sentence1: A sentence2: B",
    "stsb": "stsb sentence1: A sentence2: B",
    "rte": "rte sentence1: A sentence2: B",
    "qqp": "qqp question1: A question2: B",
    "qnli": "qnli question: A sentence: B",
    "mnli": "mnli hypothesis: B premise: A",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_rows_of_glue_are_the_published_ones(name: str) -> None:
    settings = settings_for("finetune", ["model=t5_small", f"task=glue/{name}", "data.files=[a.tsv]"])
    assert isinstance(settings, FinetuneSettings)
    task = settings.task
    assert not task.has_head
    assert task.rows.filled(dict(zip(task.text, "AB", strict=False))) == PUBLISHED[name]


def test_a_template_of_ones_own_has_every_column_and_no_other() -> None:
    template = Template.of("{{{b}}} of {a c}", ["a c", "b"])
    assert template.filled({"a c": "{b}", "b": "y"}) == "{y} of {b}"  # what is filled in is no template
    for text, told in (
        ("{a}", r"lacks \{b\}"),
        ("{a} {b} {c}", r"names \{c\}"),
        ("{a} {b} {a!r}", r"names \{a!r\}"),
        ("{a} {b:>3}", r"names \{b:>3\}"),
        ("{a} {b} {", "single brace"),
    ):
        with pytest.raises(ValueError, match=told):
            Template.of(text, ["a", "b"])
