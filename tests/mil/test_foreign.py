"""Packages that edgecap did not write: networks from torch through coremltools, against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mil import close, convert, ct, normal, save
from torch import Tensor, nn

from edgecap.core.errors import InputError
from edgecap.exporters.quiet import quiet
from edgecap.mil.ops import state
from edgecap.mil.program import Program

HALVES = pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
# Each spells some operations otherwise: batches in gather since iOS 16, attention since iOS 18.
TARGETS = pytest.mark.parametrize("target", ["iOS15", "iOS16", "iOS18"])


class ConvNet(nn.Module):
    """What a small image classifier is made of."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = nn.Conv2d(8, 12, 1)
        self.group = nn.GroupNorm(3, 12)
        self.head = nn.Linear(12 * 4, 5)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        x = nn.functional.hardswish(self.depthwise(x)) + x
        x = nn.functional.leaky_relu(self.group(self.wide(x)), 0.1)
        x = nn.functional.avg_pool2d(x, 2)
        return self.head(x.flatten(1)).softmax(-1)


class Block(nn.Module):
    """A transformer block, written as people write it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention_norm, self.scale = nn.LayerNorm(32), nn.Parameter(torch.rand(32))
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
        self.up, self.gate, self.down = (nn.Linear(*s) for s in ((32, 64), (32, 64), (64, 32)))

    def forward(self, x: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        B, T, D = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(B, T, 3, 4, 8).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / 8**0.5
        causal = torch.ones(T, T, dtype=torch.bool).tril()
        scores = scores.masked_fill(~causal, -1e4).masked_fill(keep[:, None, None] == 0, -1e4)
        weights = scores.softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(B, T, D))
        h = x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * self.scale
        x = x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))
        fused = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=causal)
        return x, nn.functional.gelu(fused.flatten(2))


class TextClassifier(nn.Module):
    """Mean of the embeddings of the words that are not padding, then a layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.Embedding(50, 16), nn.Linear(16, 4)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        present = (tokens != 0).float()[..., None]
        total = (self.words(tokens) * present).sum(1)
        scores = self.head(torch.tanh(total / present.sum(1).clamp(min=1)))
        return scores, scores.argmax(-1)


def compare(
    module: nn.Module, inputs: list[np.ndarray], path: Path, half: bool, target: str
) -> None:
    tensors = [torch.from_numpy(array) for array in inputs]
    kinds = [ct.TensorType(shape=a.shape, dtype=a.dtype.type) for a in inputs]
    model = convert(module, tensors, half, inputs=kinds, target=ct.target[target])
    function = Program.open(save(model, path / "foreign.mlpackage")).function()
    found = function.run(dict(zip(function.inputs, inputs, strict=True)))
    with torch.inference_mode():
        wanted = module(*tensors)
    outputs = wanted if isinstance(wanted, tuple) else (wanted,)
    for array, reference in zip(found.values(), outputs, strict=True):
        # Widened at the end, an fp16 program still has fp16's precision.
        close(array, reference, 4 * 2**13 if half else 16)


@TARGETS
@HALVES
def test_a_convolutional_network(tmp_path: Path, half: bool, target: str) -> None:
    compare(ConvNet().eval(), [normal(2, 3, 17, 18)], tmp_path, half, target)


@TARGETS
@HALVES
def test_a_transformer_block(tmp_path: Path, half: bool, target: str) -> None:
    keep = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]], np.int32)
    compare(Block(), [normal(2, 5, 32), keep], tmp_path, half, target)


@TARGETS
@HALVES
def test_a_text_classifier(tmp_path: Path, half: bool, target: str) -> None:
    tokens = np.array([[3, 49, 7, 0, 0], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]], np.int32)
    compare(TextClassifier(), [tokens], tmp_path, half, target)


def test_every_operation_here_is_tested() -> None:
    assert {"read_state", "write_state"} == state.OPS.keys()


class Counter(nn.Module):
    """A running sum, and how often it was called."""

    total: Tensor
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(2, 3))
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.total.add_(x)
        self.calls.add_(1)
        return self.total / self.calls


@pytest.fixture(scope="module")
def stateful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    states = [
        ct.StateType(wrapped_type=ct.TensorType(shape=shape, dtype=np.float16), name=name)
        for name, shape in (("total", (2, 3)), ("calls", (1,)))
    ]
    model = convert(Counter(), [torch.zeros(2, 3)], half=True, states=states)
    return save(model, tmp_path_factory.mktemp("state") / "counter.mlpackage")


def test_states_are_advanced_and_apart(stateful: Path) -> None:
    function = Program.open(stateful).function()
    assert set(function.states) == {"total", "calls"}
    one, other = function.make_state(), function.make_state()
    xs = [np.round(normal(2, 3, seed=i) * 8) / 8 for i in range(3)]  # exact in fp16
    means = [next(iter(function.run({"x": x}, one).values())) for x in xs]
    for i, mean in enumerate(means, 1):
        np.testing.assert_allclose(mean, np.mean(xs[:i], axis=0), atol=1e-3)
    (first,) = function.run({"x": xs[0]}, other).values()
    np.testing.assert_array_equal(first, means[0])
    assert one.read("calls").tolist() == [3] and other.read("calls").dtype == np.float16
    other.write("total", one.read("total"))
    np.testing.assert_array_equal(other.read("total"), np.sum(xs, axis=0).astype(np.float16))


def test_a_state_that_is_missing_or_foreign(stateful: Path) -> None:
    function = Program.open(stateful).function()
    with pytest.raises(InputError, match=r"input\.state.*total.*make_state"):
        function.run({"x": normal(2, 3)})
    state = function.make_state()
    with pytest.raises(InputError, match=r"state\.unknown.*total"):
        state.read("sum")
    with pytest.raises(InputError, match=r"input\.shape"):
        state.write("total", normal(3, 2))


@pytest.fixture(scope="module")
def multifunction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two functions that share the weights of one layer; one takes an image."""
    folder = tmp_path_factory.mktemp("multi")
    layer = nn.Linear(3, 4)

    class ImageLike(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, image: Tensor) -> Tensor:
            return self.layer(image.mean((2, 3)) / 255)

    class Vector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)

    kinds = [ct.ImageType("image", shape=(1, 3, 4, 6), color_layout=ct.colorlayout.BGR)]
    save(convert(ImageLike(), [torch.zeros(1, 3, 4, 6)], inputs=kinds), folder / "p.mlpackage")
    save(convert(Vector(), [torch.zeros(1, 3)]), folder / "v.mlpackage")
    with quiet():
        description = ct.utils.MultiFunctionDescriptor()
        description.add_function(str(folder / "p.mlpackage"), "main", "see")
        description.add_function(str(folder / "v.mlpackage"), "main", "feel")
        description.default_function_name = "feel"
        ct.utils.save_multifunction(description, str(folder / "both.mlpackage"))
    return folder / "both.mlpackage"


def run(function: Any, **inputs: np.ndarray) -> np.ndarray:
    (found,) = function.run(inputs).values()
    return found


def test_several_functions(multifunction: Path) -> None:
    program = Program.open(multifunction)
    assert set(program.functions) == {"see", "feel"}
    assert program.function() is program.function("feel")
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    seen = run(program.function("see"), image=image)
    mean = image[..., ::-1].mean((0, 1))[None].astype(np.float32) / 255  # the layout is BGR
    close(seen, run(program.function("feel"), x=mean), units=8)
    close(run(program.function("see"), image=image[None]), seen)
    planes = image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    close(run(program.function("see"), image=planes), seen)


def test_weights_are_unpacked_once_for_all_functions(multifunction: Path) -> None:
    program = Program.open(multifunction)
    both = [program.function(name)._schedule.slots for name in program.functions]
    kept = [{id(a) for a in slots if isinstance(a, np.ndarray) and a.ndim == 2} for slots in both]
    assert kept[0] & kept[1]


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({}, "input.names"),
        ({"x": normal(1, 3), "y": normal(1)}, "input.names"),
        ({"x": normal(2, 3)}, "input.shape"),
        ({"x": np.zeros((1, 3), np.int32)}, "input.dtype"),
    ],
)
def test_inputs_that_do_not_fit(
    multifunction: Path, inputs: dict[str, np.ndarray], code: str
) -> None:
    with pytest.raises(InputError) as caught:
        Program.open(multifunction).function("feel").run(inputs)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_a_wrong_function_name_lists_those_there_are(multifunction: Path) -> None:
    with pytest.raises(InputError) as caught:
        Program.open(multifunction).function("seen")
    assert caught.value.code == "function.unknown"
    assert "see" in caught.value.message and "feel" in caught.value.message
    assert caught.value.hint == "Did you mean 'see'?"


def test_results_belong_to_the_caller(multifunction: Path) -> None:
    function = Program.open(multifunction).function("feel")
    x = normal(1, 3)
    first = run(function, x=x)
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(run(function, x=x), kept)


def test_images_of_another_size_are_refused(multifunction: Path) -> None:
    with pytest.raises(InputError, match=r"input\.shape.*\[1,3,4,6\].*\[1, 3, 6, 4\]"):
        Program.open(multifunction).function("see").run({"image": np.zeros((6, 4, 3), np.uint8)})
