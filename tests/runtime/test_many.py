"""Any number of images: order, memory that runs out, bad images, batches like single calls."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_session import FakeSession
from hypothesis import given
from hypothesis import strategies as st
from method_session import ImageCode, Step
from tiny_onnx import CONFIG, image

from edgecap.bundle.schema1 import FUNCTIONS, identity_names
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.models.loading import load
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.manifest import build_manifest
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.session import TorchSession
from edgecap.reference.shipped import shipped_tokenizer
from edgecap.runtime import Caption, Captioner
from edgecap.runtime import decode as decode_module
from edgecap.runtime.batches import BATCH, in_batches
from edgecap.runtime.decode import Generated, generate
from edgecap.runtime.loading import captioner_of
from edgecap.runtime.memory import SHARE, image_bytes
from edgecap.runtime.rules import Rules
from edgecap.runtime.state import State

TOKENIZER = shipped_tokenizer()
FUNCTION_NAMES = {name: identity_names("x.onnx", name) for name in FUNCTIONS}
MANIFEST = build_manifest(
    CONFIG,
    name="f",
    model="f",
    format="onnx",
    precision="fp32",
    functions=FUNCTION_NAMES,
)


class Small(FakeSession):
    """Runs out of memory for more than `most` images, in `where`; notes what was captioned."""

    def __init__(self, texts: Sequence[str], most: int = 99, where: str = "encode_image") -> None:
        scripts = [TOKENIZER.encode(text + "<eos>", allow_special=True) for text in texts]
        super().__init__(scripts, CONFIG.vocabulary, patches=196, embedding=4, width=8)
        self.most, self.where = most, where
        self.sizes: list[int] = []

    def encode_image(self, image: np.ndarray) -> ImageCode:
        self.sizes.append(len(image))
        if self.where == "encode_image" and len(image) > self.most:
            raise MemoryError
        return super().encode_image(image)

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        # Later than the first step: a batch that fails with half of its captions done.
        if self.where == "decode" and len(token) > self.most and position[0] == 3:
            raise MemoryError
        return super().decode(token, position, k, v)


def small_captioner(session: Small, free: int = 1 << 40) -> Captioner:
    return captioner_of(session, MANIFEST, TOKENIZER, "fake", lambda: free)


def shown(red: int) -> np.ndarray:
    return np.full((224, 224, 3), (red, 0, 0), np.uint8)


def texts(count: int) -> list[str]:
    return [f"A dog {'and a cat ' * (i % 4)}{i}." for i in range(count)]


def said_by(captioner: Captioner, count: int, **options) -> list[str]:
    many = captioner.caption_many(map(shown, range(count)), grounded=False, **options)
    return [one.text if isinstance(one, Caption) else one.code for one in many]


@pytest.mark.parametrize("where", ["encode_image", "decode"])
@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_where_memory_runs_out_no_image_is_lost_or_repeated(where: str, most: int) -> None:
    session = Small(texts(21), most, where)
    assert said_by(small_captioner(session), 21) == texts(21)
    tried = [size for size in session.sizes if size > most]
    assert tried == sorted(tried, reverse=True)  # what failed is not tried again
    assert len(tried) <= 3


def test_not_even_one_image() -> None:
    captioner = small_captioner(Small(texts(3), most=0))
    with pytest.raises(UnsupportedError, match=r"memory\.exhausted"):
        said_by(captioner, 3)


@given(
    count=st.integers(0, 40),
    size=st.integers(1, 12),
    failing=st.lists(st.integers(1, 12), max_size=6),
)
def test_batches_keep_order_whatever_fails(count: int, size: int, failing: list[int]) -> None:
    limits = iter(failing)
    done: list[int] = []

    def work(batch: Sequence[int]) -> list[int]:
        assert 0 < len(batch) <= size
        if len(batch) > 1 and len(batch) > next(limits, 99):
            raise MemoryError
        done.extend(batch)
        return [-item for item in batch]

    assert list(in_batches(range(count), size, work)) == [-i for i in range(count)]
    assert done == list(range(count))


@pytest.mark.parametrize("images", [0, 1, 3, 5])
def test_a_batch_is_what_the_free_memory_holds(images: int) -> None:
    one = image_bytes(captioner_of(Small([]), MANIFEST, TOKENIZER, "fake").manifest.interface)
    session = Small(texts(12))
    captioner = small_captioner(session, free=round((images + 0.5) * one / SHARE))
    assert said_by(captioner, 12) == texts(12)
    assert max(session.sizes) == max(1, images)


@pytest.mark.parametrize(("beams", "together"), [(1, 6), (9, 5), (32, 2)])
def test_the_caches_of_beams_take_room_from_the_batch(
    monkeypatch: pytest.MonkeyPatch, beams: int, together: int
) -> None:
    def greedy(state: State, rules: Rules) -> Generated:  # scripts have no second best
        return generate(state, replace(rules, spec=replace(rules.spec, beams=1)))[0]

    monkeypatch.setattr(decode_module, "_searched", greedy)
    one = image_bytes(captioner_of(Small([]), MANIFEST, TOKENIZER, "fake").manifest.interface)
    session = Small(texts(12))
    captioner = small_captioner(session, free=round(6.5 * one / SHARE))
    assert said_by(captioner, 12, beams=beams) == texts(12)
    assert max(session.sizes) == together


def test_a_batch_has_an_upper_end_and_can_be_given() -> None:
    session = Small(texts(30))
    said_by(small_captioner(session), 30)
    assert max(session.sizes) == BATCH
    session = Small(texts(30))
    said_by(small_captioner(session), 30, batch=5)
    assert session.sizes == [5] * 6


def test_captions_come_while_images_are_still_to_be_read() -> None:
    read: list[int] = []

    def endless() -> Iterator[np.ndarray]:
        for i in range(1000):
            read.append(i)
            yield shown(i % 4)

    many = small_captioner(Small(texts(4))).caption_many(endless(), grounded=False, batch=3)
    assert not read  # nothing happens before the first is asked for
    for i in range(7):
        assert next(many).text == texts(4)[i % 4]  # type: ignore[union-attr]
    assert len(read) <= 9


BAD = b"not an image"


def mixed() -> list[np.ndarray | bytes]:
    return [BAD, shown(0), BAD, BAD, shown(1), shown(2), BAD]


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_bad_images_are_told_in_their_place(batch: int) -> None:
    many = small_captioner(Small(texts(3))).caption_many(
        mixed(), grounded=False, on_error="skip", batch=batch
    )
    told = [one.text if isinstance(one, Caption) else one.code for one in many]
    a, b, c = texts(3)
    bad = "image.unreadable"
    assert told == [bad, a, bad, bad, b, c, bad]


@pytest.mark.parametrize("batch", [1, 8])
def test_failing_comes_after_the_captions_before_it(batch: int) -> None:
    many = small_captioner(Small(texts(3))).caption_many(mixed()[1:], grounded=False, batch=batch)
    assert next(many).text == texts(3)[0]  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"image\.unreadable"):
        next(many)
    with pytest.raises(StopIteration):
        next(many)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"on_error": "ignore"}, "on_error.unknown"),
        ({"batch": 0}, "batch.number"),
        ({"lang": "xx"}, "language.unknown"),
        ({"max_length": 0}, "caption.length"),
    ],
)
def test_options_are_refused_at_the_call(options: dict, code: str) -> None:
    with pytest.raises(InputError) as caught:
        small_captioner(Small([])).caption_many(["no such image"], **options)
    assert caught.value.code == code


IMAGES = [image(seed, *size) for seed, size in enumerate([(40, 60), (7, 3), (300, 9), (1, 1)])]


def same_alone_and_together(captioner: Captioner) -> list[tuple[int, ...]]:
    alone = [captioner.caption(one, max_length=20)[0] for one in IMAGES]
    together = list(captioner.caption_many(IMAGES, max_length=20, batch=3))
    told = [c for c in together if isinstance(c, Caption)]
    assert [c.tokens for c in alone] == [c.tokens for c in told]
    # A float engine sums in another order for another batch: scores agree to the last digits.
    for one, other in zip(alone, told, strict=True):
        for a, b in zip(one.mentions, other.mentions, strict=True):
            assert (a.phrase, a.span, a.boxes) == (b.phrase, b.span, b.boxes)
            assert a.scores == pytest.approx(b.scores, rel=1e-4)
    return [caption.tokens for caption in alone]


def test_onnx_says_the_same_alone_and_together(tiny_bundle_made: Path) -> None:
    assert len(set(same_alone_and_together(load(tiny_bundle_made)))) > 1


def test_torch_says_the_same_alone_and_together() -> None:
    torch.manual_seed(0)
    config = CaptionerConfig(width=32, layers=2, heads=2, embedding=16)
    network = CaptionModel(config)
    with torch.no_grad():
        for weight in (p for p in network.parameters() if p.ndim == 2):
            weight.mul_(12)  # clear choices that depend on the image, and survive rounding
    manifest = build_manifest(
        config, name="t", model="t", format="torch", precision="fp32", functions=FUNCTION_NAMES
    )
    captioner = captioner_of(TorchSession(network), manifest, TOKENIZER, "torch")
    assert len(set(same_alone_and_together(captioner))) > 1


def test_torch_tells_of_memory_in_the_common_way(monkeypatch: pytest.MonkeyPatch) -> None:
    network = CaptionModel(CaptionerConfig(width=32, layers=1, heads=2, embedding=16))

    def refuse(*arguments: torch.Tensor) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    session = TorchSession(network)
    monkeypatch.setattr(network, "encode_image", refuse)
    with pytest.raises(MemoryError):
        session.run("encode", {"image": np.zeros((1, 224, 224, 3), np.uint8)})
    assert session.free_bytes() > 0
