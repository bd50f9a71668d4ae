"""Operations that move, cut, gather and order values: against PyTorch, NumPy and coremltools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mil import close, ct, evaluate, inferred, mb, normal

from edgecap.core.errors import BundleError
from edgecap.mil.ops import indexing, layout, sequence, slicing

X = normal(2, 3, 4)
PLACES = np.array([[2, 0], [1, -1]], np.int32)

# Folded by coremltools too, which is the reference.
FOLDED: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "reshape": (lambda a: mb.reshape(x=a, shape=[4, -1]), (X,)),
    "reshape keeping": (lambda a: mb.reshape(x=a, shape=[0, 4, -1]), (X,)),
    "transpose": (lambda a: mb.transpose(x=a, perm=[2, 0, -2]), (X,)),
    "expand_dims": (lambda a: mb.expand_dims(x=a, axes=[0, -1]), (X,)),
    "squeeze": (lambda a: mb.squeeze(x=a, axes=[-1, 0]), (normal(1, 3, 1),)),
    "squeeze all": (lambda a: mb.squeeze(x=a), (normal(1, 3, 1),)),
    "flatten2d": (lambda a: mb.flatten2d(x=a, axis=-1), (X,)),
    "concat": (lambda a, b: mb.concat(values=[a, b], axis=-2), (X, normal(2, 1, 4))),
    "stack": (lambda a, b: mb.stack(values=[a, b], axis=-1), (X, normal(2, 3, 4, seed=1))),
    "split": (lambda a: mb.split(x=a, num_splits=2, axis=-1), (X,)),
    "split sizes": (lambda a: mb.split(x=a, split_sizes=[1, 3], axis=2), (X,)),
    "tile": (lambda a: mb.tile(x=a, reps=[2, 1, 3]), (X,)),
    "reverse": (lambda a: mb.reverse(x=a, axes=[-1, 0]), (X,)),
    "band_part": (lambda a: mb.band_part(x=a, lower=1, upper=0), (X,)),
    "band_part open": (lambda a: mb.band_part(x=a, lower=-1, upper=1), (X,)),
    "slice_by_index": (
        lambda a: mb.slice_by_index(x=a, begin=[0, -1, 3], end=[2, -4, 0], stride=[1, -1, -2]),
        (X,),
    ),
    "slice_by_index masks": (
        lambda a: mb.slice_by_index(
            x=a,
            begin=[1, 1, 1],
            end=[0, 2, 3],
            begin_mask=[False, True, False],
            end_mask=[False, False, True],
            squeeze_mask=[True, False, False],
        ),
        (X,),
    ),
    "slice_by_size": (lambda a: mb.slice_by_size(x=a, begin=[1, -2, 0], size=[1, 2, -1]), (X,)),
    "slice_by_size nothing": (
        lambda a: mb.shape(x=mb.slice_by_size(x=a, begin=[0, 0, 0], size=[1, 2, 2])),
        (X,),
    ),
    "gather": (lambda a, b: mb.gather(x=a, indices=b, axis=-1), (X, np.abs(PLACES))),
    "gather scalar": (lambda a: mb.gather(x=a, indices=1, axis=1), (X,)),
    "gather_along_axis": (
        lambda a, b: mb.gather_along_axis(x=a, indices=b, axis=-1),
        (normal(2, 3), np.abs(PLACES)),
    ),
    "fill": (lambda a: mb.add(x=mb.fill(shape=[2, 1, 4], value=2.5), y=a), (X,)),
    "fill_like": (lambda a: mb.fill_like(ref_tensor=a, value=3), (X,)),
    "range_1d": (
        lambda a: mb.add(x=a, y=mb.range_1d(start=1.0, end=2.9, step=0.5)),
        (normal(2, 4),),
    ),
    "shape": (lambda a: mb.shape(x=a), (X,)),
    "cumsum": (lambda a: mb.cumsum(x=a, axis=-1), (X,)),
    "argsort": (lambda a: mb.argsort(x=a, axis=1), (X,)),
    "argsort ascending": (lambda a: mb.argsort(x=a, axis=-1, ascending=True), (X,)),
    "topk": (lambda a: mb.topk(x=a, k=2, axis=-1), (X,)),
    "topk ascending": (lambda a: mb.topk(x=a, k=1, axis=1, ascending=True), (X,)),
    "non_zero": (lambda a: mb.non_zero(x=a), (np.array([[0, 2, 0], [3, 0, 4]], np.float32),)),
    "pad": (lambda a: mb.pad(x=a, pad=[1, 0, 2, 1], constant_val=-1.5), (X,)),
    "pad reflect": (lambda a: mb.pad(x=a, pad=[1, 2], mode="reflect"), (X,)),
    "pad replicate": (lambda a: mb.pad(x=a, pad=[1, 2, 0, 3], mode="replicate"), (X,)),
}
APART = {"one_hot", "pixel_shuffle", "gather_nd", "slice_update"}
APART |= {"scatter", "scatter_along_axis", "scatter_nd"}


def test_every_operation_here_is_tested() -> None:
    registered = layout.OPS.keys() | slicing.OPS.keys() | sequence.OPS.keys() | indexing.OPS.keys()
    assert registered - {name.split()[0] for name in FOLDED} == APART


@pytest.mark.parametrize("name", FOLDED)
def test_as_coremltools_folds_it(name: str) -> None:
    build, arrays = FOLDED[name]
    found, expected = evaluate(build, *arrays), inferred(build, *arrays)
    assert len(found) == len(expected)
    for each, reference in zip(found, expected, strict=True):
        close(each, reference.reshape(each.shape) if reference.ndim == 0 else reference)


def test_values_of_fp16_move_unchanged() -> None:
    x = normal(3, 4, half=True)

    def build(a: Any) -> list[Any]:
        return [
            mb.transpose(x=a, perm=[1, 0]),
            mb.concat(values=[a, a], axis=0),
            mb.gather(x=a, indices=np.array([2, 2], np.int32), axis=0),
        ]

    expected = [x.T, np.concatenate([x, x]), x[[2, 2]]]
    for found, reference in zip(evaluate(build, x), expected, strict=True):
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, reference)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(axis: int) -> None:
    places = np.array([[0, 2], [1, 1]], np.int32)
    (found,) = evaluate(lambda a: mb.one_hot(indices=a, one_hot_vector_size=3, axis=axis), places)
    expected = F.one_hot(torch.from_numpy(places).long(), 3)
    close(found, expected.movedim(-1, axis))


def test_one_hot_with_values() -> None:
    places = np.array([1, 0], np.int32)
    (found,) = evaluate(
        lambda a: mb.one_hot(indices=a, one_hot_vector_size=2, on_value=5.0, off_value=-1.0), places
    )
    close(found, np.array([[-1, 5], [5, -1]]))


def test_interleaved() -> None:
    """MIL's own example; coremltools folds it as if it were not interleaved."""
    first, second = np.array([[1, 2], [3, 4], [5, 6]]), np.array([[7, 8], [9, 10], [11, 12]])
    (found,) = evaluate(
        lambda a, b: mb.concat(values=[a, b], axis=0, interleave=True),
        first.astype(np.int32),
        second.astype(np.int32),
    )
    close(found, np.array([[1, 2], [7, 8], [3, 4], [9, 10], [5, 6], [11, 12]]))


def test_sums_along_an_axis() -> None:
    """Against NumPy: coremltools cannot fold the exclusive one."""

    def build(a: Any) -> list[Any]:
        return [
            mb.cumsum(x=a, axis=1, exclusive=True),
            mb.cumsum(x=a, axis=-1, reverse=True),
            mb.cumsum(x=a, axis=1, exclusive=True, reverse=True),
        ]

    exclusive, backwards, both = evaluate(build, X)
    close(exclusive, np.cumsum(np.concatenate([0 * X[:, :1], X[:, :-1]], 1), 1))
    close(backwards, np.flip(np.cumsum(np.flip(X, -1), -1), -1))
    close(both, np.flip(np.cumsum(np.flip(X, 1), 1), 1) - X)


def test_pixel_shuffle() -> None:
    x = normal(2, 8, 3, 2)
    (found,) = evaluate(lambda a: mb.pixel_shuffle(x=a, upscale_factor=2), x)
    close(found, F.pixel_shuffle(torch.from_numpy(x), 2))


def test_an_exclusive_sum_leaves_out_what_is_large() -> None:
    x = np.array([[1, 1e8, -np.inf, 2]], np.float32)
    (found,) = evaluate(lambda a: mb.cumsum(x=a, axis=1, exclusive=True), x)
    close(found, np.array([[0, 1, 1e8, -np.inf]], np.float32))
    assert sequence.cumsum(x[:, :0], axis=1, exclusive=True).shape == (1, 0)


def test_negative_indices_count_from_the_end_until_ios_16() -> None:
    def build(a: Any, b: Any) -> Any:
        return mb.gather(x=a, indices=b, axis=1)

    (found,) = evaluate(build, X, PLACES, target=ct.target.iOS16)
    close(found, X[:, PLACES])
    with pytest.raises(BundleError, match="negative indices are undefined"):
        evaluate(build, X, PLACES, target=ct.target.iOS17)


def test_gather_in_batches() -> None:
    x, places = normal(2, 3, 4, 5), np.array([[0, 2], [1, 1]], np.int32)
    (found,) = evaluate(lambda a, b: mb.gather(x=a, indices=b, axis=2, batch_dims=1), x, places)
    close(found, np.stack([x[b][:, places[b]] for b in range(2)]))


def test_gather_nd() -> None:
    places = np.array([[[0, 1], [1, 2]], [[1, 0], [0, 0]]], np.int32)
    (found,) = evaluate(lambda a, b: mb.gather_nd(x=a, indices=b), X, places)
    close(found, X[places[..., 0], places[..., 1]])
    (found,) = evaluate(lambda a, b: mb.gather_nd(x=a, indices=b, batch_dims=1), X, places)
    close(found, np.stack([X[b][places[b, :, 0], places[b, :, 1]] for b in range(2)]))


MODES = {
    "update": None,
    "add": "sum",
    "mul": "prod",
    "max": "amax",
    "min": "amin",
}


@pytest.mark.parametrize("mode", MODES)
def test_scatter_along_axis(mode: str) -> None:
    places, updates = np.array([[2, 0], [1, 0]], np.int32), normal(2, 2, seed=1)
    data = normal(2, 3)
    (found,) = evaluate(
        lambda a, b, c: mb.scatter_along_axis(data=a, indices=b, updates=c, axis=1, mode=mode),
        data,
        places,
        updates,
    )
    tensors = (torch.from_numpy(data), torch.from_numpy(places).long(), torch.from_numpy(updates))
    reduce = MODES[mode]
    if reduce is None:
        expected = tensors[0].scatter(1, *tensors[1:])
    else:
        expected = tensors[0].scatter_reduce(1, *tensors[1:], reduce=reduce)
    close(found, expected)


def test_scatter_and_scatter_nd() -> None:
    data, updates = normal(3, 4), normal(2, 4, seed=1)
    rows = np.array([2, 2], np.int32)
    (found,) = evaluate(
        lambda a, b, c: mb.scatter(data=a, indices=b, updates=c, axis=0, mode="add"),
        data,
        rows,
        updates,
    )
    tensors = (torch.from_numpy(data), torch.from_numpy(rows), torch.from_numpy(updates))
    close(found, tensors[0].index_add(0, *tensors[1:]))
    (found,) = evaluate(
        lambda a, b, c: mb.scatter_nd(data=a, indices=b, updates=c, mode="sub"),
        data,
        rows[:, None],
        updates,
    )
    close(found, tensors[0].index_add(0, *tensors[1:], alpha=-1))


def test_slice_update() -> None:
    update = normal(1, 2, 2, seed=1)
    (found,) = evaluate(
        lambda a, b: mb.slice_update(
            x=a, update=b, begin=[1, 0, 0], end=[2, 3, 3], stride=[1, 2, 2]
        ),
        X,
        update,
    )
    expected = X.copy()
    expected[1:2, 0:3:2, 0:3:2] = update
    close(found, expected)


@pytest.mark.parametrize(
    "build",
    [
        lambda a, b: mb.gather(x=a, indices=b, axis=0),
        lambda a, b: mb.gather_along_axis(x=a, indices=b, axis=0),
        lambda a, b: mb.gather_nd(x=a, indices=b),
    ],
)
def test_an_index_outside_is_refused(build: Callable[..., Any]) -> None:
    with pytest.raises(BundleError, match=r"gather.* at .* of function 'main'") as caught:
        evaluate(build, normal(2, 2), np.array([[0, 5], [0, 0]], np.int32))
    assert "\n" not in str(caught.value)
