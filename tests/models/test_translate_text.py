"""Files of a tokenizer become a TextSpec that decodes as transformers does, or are refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_tokenizers import save
from tokenizers import pre_tokenizers
from transformers import (
    AddedToken,
    AutoTokenizer,
    BartTokenizer,
    BertTokenizer,
    CLIPTokenizer,
    GemmaTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
)

from edgecap.bundle.text_spec import TextSpec
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.models.translate import Checkpoint, prompt_ids, text_spec
from edgecap.runtime.text import TextCodec
from edgecap.runtime.text.prompts import PromptEncoder


def edit(directory: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads((directory / name).read_text())
    change(value)
    (directory / name).write_text(json.dumps(value))


def agree(directory: Path, theirs: Any) -> TextSpec:
    """A spec whose codec decodes 300 lists of ids as theirs does."""
    spec = text_spec(Checkpoint(directory))
    codec = TextCodec(spec)
    generator = np.random.default_rng(3)
    for n in range(300):
        ids = generator.integers(0, len(codec), generator.integers(0, 12)).tolist()
        skip = bool(n % 2)
        assert codec.decode(ids, skip_special=skip) == theirs.decode(ids, skip_special_tokens=skip)
    return spec


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        (BertTokenizer, "wordpiece"),
        (GPT2Tokenizer, "byte_level"),
        (BartTokenizer, "byte_level"),
        (Qwen2Tokenizer, "byte_level"),
        (LlamaTokenizer, "byte_fallback"),
        (GemmaTokenizer, "byte_fallback"),
        (T5Tokenizer, "metaspace"),
        (XLMRobertaTokenizer, "metaspace"),
    ],
)
def test_every_class_of_a_captioner(kind: Any, family: str, tmp_path: Path) -> None:
    theirs = kind()
    theirs.add_tokens(["▁dog", " cat", "犬", "<loc_3>"])
    theirs.save_pretrained(tmp_path)
    spec = agree(tmp_path, theirs)
    assert spec.family == family
    assert len(spec.tokens) == len(theirs)
    assert set(spec.special) == set(theirs.all_special_ids)


def test_special_tokens_named_in_the_config_alone(tmp_path: Path) -> None:
    """As from_pretrained does: a named token is special; a listed one unless it is a plain one."""
    save("metaspace", tmp_path)

    def change(config: dict[str, Any]) -> None:
        config["sep_token"] = "dog"  # of the model's vocabulary
        config["mask_token"] = {"__type": "AddedToken", "content": "over", "special": True}
        config["cls_token"] = "<loc_1>"  # added, and plain until now
        config["additional_special_tokens"] = ["犬", "<loc_2>"]

    edit(tmp_path, "tokenizer_config.json", change)
    spec = agree(tmp_path, PreTrainedTokenizerFast.from_pretrained(tmp_path))
    special = {spec.tokens[i] for i in spec.special}
    assert {"dog", "over", "犬", "</s>", "<loc_1>"} <= special
    assert "<loc_2>" not in special


def test_tokens_added_by_the_config(tmp_path: Path) -> None:
    theirs = save("byte_level", tmp_path)
    new = len(theirs)
    entry = {"content": "<new>", "special": True, "lstrip": False, "rstrip": False}
    entry |= {"normalized": False, "single_word": False}
    edit(
        tmp_path,
        "tokenizer_config.json",
        lambda config: config.update(added_tokens_decoder={str(new): entry}),
    )
    spec = agree(tmp_path, PreTrainedTokenizerFast.from_pretrained(tmp_path))
    assert spec.tokens[new] == "<new>"
    assert new in spec.special


def test_added_tokens_that_are_normalised_are_spelled_so(tmp_path: Path) -> None:
    theirs = BertTokenizer()
    tokens = [AddedToken(text, normalized=True) for text in ("犬", "Über", "<LOC_1>")]
    theirs.add_tokens([*tokens, AddedToken("DOG", normalized=False)])
    theirs.save_pretrained(tmp_path)
    spec = agree(tmp_path, theirs)
    assert spec.tokens[-4:] == (" 犬 ", "uber", "<loc_1>", "DOG")


def test_clean_up_is_ignored_after_bpe_as_in_transformers(tmp_path: Path) -> None:
    save("byte_level", tmp_path)  # whose config sets the flag
    assert not text_spec(Checkpoint(tmp_path)).clean_up


def test_an_older_metaspace_decoder_says_it_by_a_flag(tmp_path: Path) -> None:
    theirs = save("metaspace", tmp_path)
    older = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    edit(tmp_path, "tokenizer.json", lambda file: file.update(decoder=older))
    assert agree(tmp_path, theirs).drop_first


@pytest.mark.parametrize("name", ["byte_level", "wordpiece", "metaspace"])
def test_an_older_file_does_not_say_the_type_of_its_model(name: str, tmp_path: Path) -> None:
    save(name, tmp_path)
    spec = text_spec(Checkpoint(tmp_path))
    edit(tmp_path, "tokenizer.json", lambda file: file["model"].pop("type"))
    assert text_spec(Checkpoint(tmp_path)) == spec


@pytest.mark.parametrize(
    ("decoder", "named"),
    [
        (None, "without a decoder"),
        ({"type": "BPEDecoder", "suffix": "</w>"}, "the decoder BPEDecoder"),
        ({"type": "CTC"}, "the decoder CTC"),
        (
            {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "ByteLevel"}]},
            "the decoder ByteFallback + ByteLevel",
        ),
        (
            {
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                ],
            },
            "replaces by a pattern",
        ),
    ],
)
def test_decoders_of_no_family_are_refused_by_name(
    decoder: Any, named: str, tmp_path: Path
) -> None:
    save("metaspace", tmp_path)
    edit(tmp_path, "tokenizer.json", lambda file: file.update(decoder=decoder))
    with pytest.raises(UnsupportedError, match=re.escape(named)):
        text_spec(Checkpoint(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"decoder": {"type": "WordPiece"}},
        {"decoder": "ByteLevel"},
        {"model": None},
        {"model": {"type": "BPE", "vocab": [1, 2]}},
        {"model": {"type": "BPE", "vocab": {"a": "0"}}},
        {"model": {"type": "BPE", "vocab": {"a": 1 << 40}}},
        {"model": {"type": "BPE", "vocab": {"a": -4}}},
        {"added_tokens": [{"id": 0}]},
        {"added_tokens": [{"id": 0, "content": "other"}]},
        {"added_tokens": {"id": 0}},
    ],
    ids=str,
)
def test_damaged_files_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    save("metaspace", tmp_path)
    edit(tmp_path, "tokenizer.json", lambda file: file.update(change))
    with pytest.raises(InputError):
        text_spec(Checkpoint(tmp_path))


def test_a_token_that_no_file_lists_is_refused_by_name(tmp_path: Path) -> None:
    save("metaspace", tmp_path)
    edit(tmp_path, "tokenizer_config.json", lambda config: config.update(cls_token="[CLS]"))
    with pytest.raises(UnsupportedError, match=r"'\[CLS\]', which tokenizer.json lacks"):
        text_spec(Checkpoint(tmp_path))


def test_clip_whose_text_is_never_decoded_is_refused(tmp_path: Path) -> None:
    CLIPTokenizer().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedError, match="end_of_word_suffix"):
        text_spec(Checkpoint(tmp_path))


def test_without_tokenizer_json_the_line_that_writes_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="AutoTokenizer.from_pretrained"):
        text_spec(Checkpoint(tmp_path))


def test_the_files_of_before_tokenizer_json_do(tmp_path: Path) -> None:
    """TrOCR on the hub has vocab.json and merges.txt alone."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters, "th", "<mask>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\n")
    settings = {"tokenizer_class": "RobertaTokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert agree(tmp_path, theirs).family == "byte_level"
    assert prompt_ids(Checkpoint(tmp_path), "the <mask>") == theirs("the <mask>")["input_ids"]
    assert not (tmp_path / "tokenizer.json").exists()


def test_older_files_that_transformers_cannot_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{")
    settings = {"tokenizer_class": "RobertaTokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="has no tokenizer.json, and transformers cannot make one"):
        text_spec(Checkpoint(tmp_path))


def test_a_tokenizer_that_has_no_fast_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SigLIP's, which transformers reads by sentencepiece."""
    (tmp_path / "spiece.model").write_bytes(b"")
    slow = type("SiglipTokenizer", (), {})()
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: slow)
    with pytest.raises(UnsupportedError, match="transformers makes none for a SiglipTokenizer"):
        text_spec(Checkpoint(tmp_path))


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "photo", "of", "##s", "photos"]
    BertTokenizer({token: i for i, token in enumerate(vocabulary)}).save_pretrained(tmp_path)
    return tmp_path


def test_fixed_prompts_become_ids(bert: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(bert)
    text = "a photo of [SEP]"
    assert prompt_ids(Checkpoint(bert), text) == theirs(text)["input_ids"]
    plain = theirs(text, add_special_tokens=False)["input_ids"]
    assert prompt_ids(Checkpoint(bert), text, framing=False) == plain


def test_free_prompts_cannot_spell_special_tokens(bert: Path) -> None:
    encoder = PromptEncoder((bert / "tokenizer.json").read_bytes())
    assert encoder.encode("a photo", framing=True) == [2, 5, 6, 3]
    assert 3 not in encoder.encode("a photo [SEP]")
    assert encoder.encode("a photo [SEP]", special=True) == [5, 6, 3]
    assert encoder.encode("a\ud800") == encoder.encode("a?")


def test_free_prompts_that_cannot_be_are_refused(bert: Path) -> None:
    with pytest.raises(UnsupportedError, match="prompts.none"):
        PromptEncoder(None)
    encoder = PromptEncoder((bert / "tokenizer.json").read_bytes())
    with pytest.raises(InputError, match="text.type"):
        encoder.encode(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="text.too_long"):
        encoder.encode("a" * (1 << 20))


def test_without_tokenizers_the_extra_is_named(bert: Path) -> None:
    """In a process where the package cannot be imported, as on a board that lacks it."""
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from edgecap.core.errors import MissingPackageError\n"
        "from edgecap.runtime.text.prompts import PromptEncoder\n"
        "try: PromptEncoder(b'{}')\n"
        "except MissingPackageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'edgecap[prompts]'" in done.stdout
