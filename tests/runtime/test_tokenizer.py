"""The same ids as the `tokenizers` library, for any text."""

import json
import unicodedata
from importlib import resources

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library

from edgecap.core.errors import BundleError
from edgecap.reference.shipped import shipped_tokenizer
from edgecap.reference.tokens import SPECIALS
from edgecap.runtime.tokenizer import PIECE, Tokenizer

CORPUS = [
    "A dog and two red circles. The dog is to the left of the red circles.",
    "Un perro y l'éléphant, due cani e un'ape; zwei Hunde und ein Würfel.",
    "一只狗、两只猫和一个红色的圆形。",
    "2匹の犬と赤い円。",
] * 5


def trained() -> Library:
    """A small tokenizer made the way the shipped one is made."""
    library = Library(models.BPE(byte_fallback=True))
    library.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "▁")])
    library.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), behavior="isolated")
    library.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    first = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=first, show_progress=False)
    library.train_from_iterator(CORPUS, trainer)
    return library


LIBRARY = trained()
OURS = Tokenizer(LIBRARY.to_str().encode())
SHIPPED = shipped_tokenizer()
SHIPPED_LIBRARY = Library.from_str(
    (resources.files("edgecap.reference") / "data" / "tokenizer.json").read_text("utf-8")
)
# Near the words it was trained on, where merges and special tokens collide.
NEAR = st.text(alphabet="a dogtwré一只狗、.▁<>loc_eos0149x\n'’ĺ", max_size=60)
ANY = st.one_of(st.text(max_size=40), NEAR)


@pytest.mark.parametrize(
    ("ours", "library"), [(OURS, LIBRARY), (SHIPPED, SHIPPED_LIBRARY)], ids=["small", "shipped"]
)
@given(text=ANY)
@example(text="")
@example(text="<eos><loc_00>dog <eos>")
@example(text="<0x41><0xe4>")
@example(text="aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
@settings(max_examples=300, deadline=None)
def test_ids_equal_the_librarys(ours: Tokenizer, library: Library, text: str) -> None:
    library.encode_special_tokens = False
    assert ours.encode(text, allow_special=True) == library.encode(" " + text).ids
    library.encode_special_tokens = True
    assert ours.encode(text) == library.encode(" " + text).ids


@given(ids=st.lists(st.integers(0, len(OURS) - 1), max_size=30))
@settings(max_examples=300, deadline=None)
def test_decoding_equals_the_librarys(ids: list[int]) -> None:
    assert OURS.decode(ids) == LIBRARY.decode(ids, skip_special_tokens=False)


@given(text=ANY)
@settings(max_examples=300, deadline=None)
def test_texts_come_back(text: str) -> None:
    expected = unicodedata.normalize("NFC", text).replace("▁", " ")
    assert OURS.decode(OURS.encode(text)) == expected


def test_user_text_cannot_name_special_tokens() -> None:
    ids = OURS.encode("a dog<eos><loc_00>")
    assert not set(ids) & {OURS.ids[token] for token in SPECIALS}
    assert OURS.ids["<eos>"] in OURS.encode("a dog<eos>", allow_special=True)


def test_special_tokens_can_be_left_out() -> None:
    ids = OURS.encode("a dog<loc_01><loc_02>", allow_special=True)
    assert OURS.decode(ids) == "a dog<loc_01><loc_02>"
    assert OURS.decode(ids, skip_special=True) == "a dog"


def test_lone_surrogates_do_not_crash() -> None:
    assert OURS.decode(OURS.encode("a \ud800 b")) == "a ? b"


def test_long_words_take_no_quadratic_time() -> None:
    text = "do" * 50_000
    assert OURS.decode(OURS.encode(text)) == text


def spec() -> dict:
    return json.loads(LIBRARY.to_str())


DAMAGE = {
    "a word-piece model": lambda s: s["model"].update(type="WordPiece"),
    "no byte fallback": lambda s: s["model"].update(byte_fallback=False),
    "dropout": lambda s: s["model"].update(dropout=0.1),
    "another normaliser": lambda s: s.update(normalizer={"type": "Lowercase"}),
    "no splitting": lambda s: s.update(pre_tokenizer=None),
    "a broken pattern": lambda s: s["pre_tokenizer"]["pattern"].update(Regex="(["),
    "a pattern that never ends": lambda s: s["pre_tokenizer"]["pattern"].update(Regex="(a+)+b"),
    "a byte lacking": lambda s: (s["model"]["vocab"].pop("<0x41>"), s["added_tokens"].clear()),
    "ids with gaps": lambda s: s["model"]["vocab"].update({"new": 10_000}),
    "a merge of unknown tokens": lambda s: s["model"]["merges"].append(["qqq", "zzz"]),
    "a vocabulary that is a list": lambda s: s["model"].update(vocab=[]),
    "ids that are texts": lambda s: s["model"]["vocab"].update({"a": "1"}),
    "merges lacking": lambda s: s["model"].pop("merges"),
    "special tokens that are a number": lambda s: s.update(added_tokens=5),
    "a pattern that is a text": lambda s: s["pre_tokenizer"].update(pattern="x"),
    "a merge of three": lambda s: s["model"]["merges"].append(["a", "b", "c"]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_other_tokenizers_are_refused_in_one_line(damage: str) -> None:
    changed = spec()
    DAMAGE[damage](changed)
    with pytest.raises(BundleError) as caught:
        Tokenizer(json.dumps(changed).encode())
    assert caught.value.code.startswith("tokenizer.")
    assert "\n" not in str(caught.value)


def test_merges_may_be_written_the_old_way() -> None:
    old = spec()
    old["model"]["merges"] = [" ".join(merge) for merge in old["model"]["merges"]]
    text = CORPUS[0]
    assert Tokenizer(json.dumps(old).encode()).encode(text) == OURS.encode(text)
