"""The table of families: its rows agree with each other, with the modules that it is about, and with transformers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from plmtrain.families import MODEL_FAMILIES, ROLES, TOKENIZER_FAMILIES, tokenizer_family_of
from plmtrain.settings.lookup import model_classes
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.models.two_stream import TwoStreamSettings
from plmtrain.settings.tokenizer import TokenizerSettings


@pytest.mark.parametrize("name", TOKENIZER_FAMILIES)
def test_a_row_of_tokens_is_whole(name: str) -> None:
    row = TOKENIZER_FAMILIES[name]
    assert set(row.roles) - {"sentinel"} == set(row.named_roles) <= set(ROLES)
    assert set(row.roles.values()) <= set(row.specials)
    assert len(set(row.specials)) == len(row.specials)
    for texts in (1, 2):
        parts = [part for part, _ in row.pieces(texts)]
        assert [part for part in parts if isinstance(part, int)] == list(range(texts))
        assert {part for part in parts if isinstance(part, str)} <= set(row.roles)
    assert tokenizer_family_of(row.specials) == name


def test_templates_are_those_of_the_tokenizers_library() -> None:
    """As transformers' own tokenizers have them; XLM's is that of the authors' code."""
    templates = {name: (row.template(1), row.template(2)) for name, row in TOKENIZER_FAMILIES.items()}
    assert templates == {
        "bert": ("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"),
        "deberta": ("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"),
        "albert": ("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"),
        "roberta": ("<s>:0 $A:0 </s>:0", "<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0"),
        "mbart": ("$A:0 </s>:0", "$A:0 </s>:0 $B:0 </s>:0"),
        "xlnet": ("$A:0 <sep>:0 <cls>:2", "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2"),
        "xlm": ("</s>:0 $A:0 </s>:0", "</s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0"),
        "gpt1": ("_start_:0 $A:0 _classify_:0", "_start_:0 $A:0 _delimiter_:0 $B:0 _classify_:0"),
        "gpt2": ("$A:0", "$A:0 $B:0"),
        "t5": ("$A:0 </s>:0", "$A:0 </s>:0 $B:0 </s>:0"),
        "elmo": ("<S>:0 $A:0 </S>:0", "<S>:0 $A:0 </S>:0 <S>:0 $B:0 </S>:0"),
    }


@pytest.mark.parametrize(
    ("tokens", "family"),
    [
        (["<s>", "</s>", "<mask>", "<cls>", "<sep>"], "xlnet"),
        (["<s>", "</s>", "<mask>", "<special1>"], "xlm"),
        (["<s>", "</s>", "<mask>", "de_DE", "en_XX"], "mbart"),
        (["[CLS]", "[SEP]", "<pad>"], "albert"),
        (["[CLS]", "[SEP]", "<s>", "</s>", "<mask>"], "bert"),
        (["[PAD]", "[CLS]", "[SEP]", "[UNK]", "low", "[MASK]"], "deberta"),
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low"], "bert"),
        (["</s>", "<extra_id_0>"], "t5"),
        (["<|endoftext|>"], "gpt2"),
        (["<unk>", "low</w>"], "gpt1"),
        (["<unk>", "</s>", "low</w>"], "bert"),
        (["a", "b"], "bert"),
    ],
)
def test_a_vocabulary_tells_its_family(tokens: list[str], family: str) -> None:
    assert tokenizer_family_of(tokens) == family


def test_models_name_what_there_is() -> None:
    from plmtrain.interop.hugging_face import FAMILIES

    assert {row.tokenizer for row in MODEL_FAMILIES.values()} <= TOKENIZER_FAMILIES.keys()
    assert {row.kind for row in MODEL_FAMILIES.values()} <= {settings.kind for settings in model_classes().values()}
    assert set(FAMILIES) == {name for name, row in MODEL_FAMILIES.items() if row.in_transformers}


def test_a_kind_of_backbone_has_its_own_families() -> None:
    with pytest.raises(ValueError, match="'xlnet' is not known: use one of: albert, bert, distilbert"):
        EncoderSettings(name="x", family="xlnet")
    with pytest.raises(ValueError, match="did you mean 'xlnet'"):
        TwoStreamSettings(name="x", family="xl_net")
    with pytest.raises(ValueError, match="did you mean 'roberta'"):
        TokenizerSettings(type="byte_bpe", family="robert", vocab_size=1000, lowercase=False)


def test_an_unknown_family_is_refused_without_torch() -> None:
    program = (
        "import sys\n"
        "from plmtrain.settings.composing.compose import compose\n"
        "from plmtrain.settings.decode import pretrain_settings\n"
        "from plmtrain.errors import SettingsErrors\n"
        "try:\n"
        "    pretrain_settings(compose(['model.family=rob', 'tokenizer.family=xlnt', 'data.files=[a.txt]']))\n"
        "except SettingsErrors as error:\n"
        "    print(error)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "model.family: 'rob' is not known" in done.stdout
    assert "tokenizer.family: 'xlnt' is not known\n" in done.stdout
    assert "did you mean 'xlnet'?" in done.stdout
