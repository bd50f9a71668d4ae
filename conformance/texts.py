"""Text to token ids and back: NFC, pieces, byte-fallback BPE, and a tokenizer that is refused.

The tokenizer is kept beside the cases, so that retraining the shipped one changes no vector.
"""

from __future__ import annotations

import random
import unicodedata
from importlib import resources
from pathlib import Path

from files import Topic

from edgecap.core.errors import BundleError
from edgecap.runtime.tokenizer import Tokenizer

TOKENIZER = "tokenizer.json"

TEXTS = [
    "",
    " ",
    "   ",
    "A dog and two red circles.",
    "  a dog",
    "a dog  and   a cat ",
    "a\tdog\nand a\r\ncat",
    "Un perro y l'éléphant, due cani e un'ape; zwei Hunde und ein Würfel.",
    "l’arbre «à côté» — naïve façade œuvre",
    "Straße ẞ ſ ﬁ ﬂ",
    "São João, ação, coração: três maçãs!",
    "een hond links van de rode cirkel",
    "一只狗、两只猫和一个红色的圆形。",
    "2匹の犬と赤い円。ここに「猫」がいます",
    "ガギグ ｶﾞ ﾊﾟ か゛",
    "그림에 강아지 한 마리와 빨간 원이 있습니다.",
    "\u1100\u1161\u11a8 \uac00\u11a8 \u1100\u1161 \ud7a3 \uac01\u11a8",
    "שָׁלוֹם עולם",
    "مرحبا بالعالم ١٢٣",
    "नमस्ते दुनिया क़",
    "สวัสดีชาวโลก",
    "Привет, мир! Ёжик",
    "Ελληνικά ά ώ Ὠ ᾳ",
    "e\u0301 \xe9 a\u0323\u0300 a\u0300\u0323 \u1ea1\u0300",
    "u\u0308\u0304 s\u0323\u0307 s\u0307\u0323 \u1e61\u0323 q\u0323\u0307",
    "A\u030a \u212b \u2126 \u03a9 \u212a K",
    "\U0010ffff \U0001f436\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001d15e \U0001d158\U0001d165\U0001d16e",
    "<eos> <en> <loc_00> <0x41> <pad>",
    "▁ ▁▁ a▁b",
    "....,,;;::!!??",
    "、。，；：！？「」()'’\"",
    "(a)(b)\"c\"'d'",
    "\x00\x01\x7f\x80\x9f",
    "\u200b\u200d\ufeff\ufffd\ufffe",
    "x" * 300,
    "ab" * 200,
    "a" + "\u0300" * 40 + "b",
    "\u0928" + "\u093c" * 5 + "\u094d",
    "\u1100\u1161" * 60,
    "A" + "\u0327\u0323\u0307\u0300" * 6,
    "\u0fb2\u0f71\u0f80 \u0f77 \u0f71\u0f74 \u0f71 \u0f72",
    "\u102c\u102d \u1025\u102e \u09c7\u09be",
    "\U00011131\U00011127 \U00011347\U0001133e \U000114b9\U000114ba",
    "ffi ① ㎏ ½",
    "\u0301 a dog",
    "a\u0300 la carte",
    "a cat。dog",
]
IDS = [
    [],
    [1],
    [0, 1, 2],
    [3, 4, 5, 100000, -1],
]


def tokenizer_bytes() -> bytes:
    """The tokenizer of the vectors: the one that is kept, or the shipped one where none is."""
    kept = Path(__file__).parent / "vectors" / TOKENIZER
    return kept.read_bytes() if kept.exists() else shipped()


def shipped() -> bytes:
    return (resources.files("edgecap") / "data" / TOKENIZER).read_bytes()


def normal() -> Topic:
    """NFC as code points, each way that composition can go."""
    topic = Topic("nfc", cases=(cases := []))
    generator = random.Random(1)
    marks = [0x300, 0x301, 0x307, 0x308, 0x323, 0x327, 0x328, 0x30A, 0x345, 0x31B, 0x93C, 0x94D]
    bases = [*map(ord, "aAeoscuqK "), 0x1100, 0x1161, 0x11A8, 0xAC00, 0xAC01, 0xD7A3, 0x915, 0x3B1]
    bases += [0x1EA0, 0x1E63, 0x1D5, 0x212B, 0x2126, 0x0FB2, 0x0F71, 0x0F72, 0x1025, 0x102E]
    bases += [0x1D157, 0x1D165, 0x1D16E, 0x9C7, 0x9BE, 0x30AB, 0x3099, 0xFB1D, 0xF900]
    texts = {text for text in TEXTS if text}
    texts |= {
        "".join(map(chr, generator.choices(bases + marks * 2, k=generator.randint(1, 9))))
        for _ in range(400)
    }
    for text in sorted(texts):
        out = unicodedata.normalize("NFC", text)
        cases.append([[ord(c) for c in text], [ord(c) for c in out]])
    return topic


def words() -> Topic:
    tokenizer = Tokenizer(tokenizer_bytes())
    generator = random.Random(2)
    alphabet = "a dogtwr\xe9一只狗、.▁<>loc_eos0149x\n'’" + "l\u0301\u0300\u1100\u1161"
    texts = TEXTS + [
        "".join(generator.choices(alphabet, k=generator.randint(1, 30))) for _ in range(120)
    ]
    encoded = [[text, tokenizer.encode(text)] for text in texts]
    special = [
        [text, tokenizer.encode(text, allow_special=True)]
        for text in ("<en> <grounded> a dog<loc_01><loc_02> <eos>", "<en", "<eos><eos>", "a<pad>b")
    ]
    every = list(range(len(tokenizer)))
    chosen = [generator.choices(every, k=generator.randint(1, 12)) for _ in range(60)]
    # Bytes that make a character, half of one, and none.
    byte_of = [tokenizer.id_of(f"<0x{b:02X}>") for b in range(256)]
    spelled = ["é".encode(), "一".encode()[:2], b"\xff\xfe", "\U0001f436".encode(), b"\xed\xa0\x80"]
    spelled += [b"\xc0\x80", b"\xf4\x90\x80\x80", b"a\xe4\xb8\x80", b" ", b"\xe2\x96\x81"]
    chosen += [[byte_of[b] for b in data] for data in spelled]
    chosen += [[*(byte_of[b] for b in "é".encode()), 300, *(byte_of[b] for b in "è".encode())]]
    decoded = [
        [ids, skip, tokenizer.decode(ids, skip_special=skip)]
        for ids in IDS + chosen
        for skip in (False, True)
    ]
    return Topic(
        "words", tokenizer=TOKENIZER, encode=encoded, encode_special=special, decode=decoded
    )


def refused() -> Topic:
    """Tokenizers made of the kept one by one replacement of text each, and the refusals' codes."""
    text = tokenizer_bytes().decode()
    changes = [
        ("another model", '"type":"BPE"', '"type":"WordPiece"'),
        ("no byte fallback", '"byte_fallback":true', '"byte_fallback":false'),
        ("a dropout", '"dropout":null', '"dropout":0.5'),
        ("another normaliser", '"type":"NFC"', '"type":"NFKC"'),
        ("another pattern", '"behavior":"Isolated"', '"behavior":"Removed"'),
        ("an inverted pattern", '"invert":false', '"invert":true'),
        ("a byte that is missing", '"<0x41>"', '"<0x4I>"'),
        ("not JSON", '"model"', '"model'),
        ("a key twice", '"byte_fallback"', '"type": "BPE", "byte_fallback"'),
    ]
    cases = []
    for name, old, new in changes:
        assert text.count(old) >= 1, name
        try:
            Tokenizer(text.replace(old, new, 1).encode())
        except BundleError as error:
            cases.append({"name": name, "replace": [old, new], "code": error.code})
        else:
            raise AssertionError(f"{name} is not refused")
    return Topic("tokenizer_refusals", tokenizer=TOKENIZER, cases=cases)
