"""Moves of data that a .tflite file can do without: transposes and reshapes around products, and
float rows that are moved before they become int8.

Each pass leaves the numbers as they are. Letters: A, C rows of the factors of a product, K what is
summed over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecap.exporters.tflite.graph import Graph, schema

_SWAP = 2  # the axes that a transposed factor swaps are the last two


def fold(model: Any) -> None:
    """All passes on every subgraph."""
    for subgraph in model.subgraphs:
        graph = _Moves(Graph(model, subgraph))
        graph.transposes_into_products()
        graph.products_of_four_axes()
        graph.quantise_before_moving()
        graph.drop_unread()


class _Moves:
    """One subgraph, and who makes and reads each of its tensors."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._subgraph = graph, graph.subgraph
        self._codes = schema().BuiltinOperator

    def transposes_into_products(self) -> None:
        """x [..,A,K] times the transpose of y [..,C,K]: BATCH_MATMUL transposes while it reads."""
        makers = self._makers()
        for product in self._operators(self._codes.BATCH_MATMUL):
            if product.builtinOptions.adjY:
                continue
            reshape = makers.get(product.inputs[1])
            shaped = reshape is not None and self._is(reshape, self._codes.RESHAPE)
            transpose = makers.get(reshape.inputs[0]) if shaped else reshape
            if transpose is None or not self._is(transpose, self._codes.TRANSPOSE):
                continue
            shape = self._shape(product.inputs[1])
            if not self._swaps_last(transpose) or shape[-_SWAP:] != self._shape(
                transpose.outputs[0]
            )[-_SWAP:]:
                continue
            source = transpose.inputs[0]  # [..,C,K]
            if shaped:
                source = self._reshaped(source, [*shape[:-2], shape[-1], shape[-2]], product)
            product.inputs = [product.inputs[0], source]
            product.builtinOptions.adjY = True

    def products_of_four_axes(self) -> None:
        """A product between reshapes that only take a leading axis of 1 away, without these."""
        makers, readers = self._makers(), self._readers()
        for product in self._operators(self._codes.BATCH_MATMUL):
            before = [makers.get(index) for index in product.inputs]
            after = readers.get(product.outputs[0], [])
            if len(after) != 1 or not self._is(after[0], self._codes.RESHAPE):
                continue
            if any(op is None or not self._is(op, self._codes.RESHAPE) for op in before):
                continue
            wide = [op.inputs[0] for op in before if op is not None]
            pairs = [*zip(wide, product.inputs, strict=True)]
            pairs.append((after[0].outputs[0], product.outputs[0]))
            if all(self._shape(four) == [1, *self._shape(three)] for four, three in pairs):
                product.inputs, product.outputs = wide, [after[0].outputs[0]]
                after[0].outputs = [self._graph.add_tensor([1], schema().TensorType.FLOAT32)]

    def quantise_before_moving(self) -> None:
        """QUANTIZE behind TRANSPOSE and RESHAPE goes before them: a quarter of the bytes moves."""
        makers, readers = self._makers(), self._readers()
        for quantise in self._operators(self._codes.QUANTIZE):
            moves = []
            source = quantise.inputs[0]
            while source in makers and len(readers[source]) == 1:
                if not self._is(makers[source], self._codes.TRANSPOSE, self._codes.RESHAPE):
                    break
                moves.insert(0, makers[source])
                source = makers[source].inputs[0]
            if not any(self._is(move, self._codes.TRANSPOSE) for move in moves):
                continue
            result = quantise.outputs[0]  # int8
            quantise.inputs = [source]
            quantise.outputs = [last] = [self._int8_like(source, result)]
            for move in moves:
                there = result if move is moves[-1] else self._int8_like(move.outputs[0], result)
                move.inputs = [last, *move.inputs[1:]]
                move.outputs = [last] = [there]
            order = self._subgraph.operators
            order.remove(quantise)
            order.insert(order.index(moves[0]), quantise)

    def drop_unread(self) -> None:
        """Operators whose results nobody reads."""
        kept = self._subgraph.operators
        while True:
            read = {index for op in kept for index in op.inputs} | set(self._subgraph.outputs)
            left = [op for op in kept if any(index in read for index in op.outputs)]
            if len(left) == len(kept):
                self._subgraph.operators = left
                return
            kept = left

    # ------------------------------------------------------------------ reading and adding

    def _operators(self, code: int) -> list[Any]:
        return [op for op in self._subgraph.operators if self._is(op, code)]

    def _is(self, operator: Any, *codes: int) -> bool:
        return self._graph.code(operator) in codes

    def _shape(self, index: int) -> list[int]:
        return [int(size) for size in self._subgraph.tensors[index].shape]

    def _makers(self) -> dict[int, Any]:
        return {index: op for op in self._subgraph.operators for index in op.outputs}

    def _readers(self) -> dict[int, list[Any]]:
        """Who reads each tensor; what leaves the subgraph is read once more."""
        found: dict[int, list[Any]] = {index: [None] for index in self._subgraph.outputs}
        for op in self._subgraph.operators:
            for index in op.inputs:
                found.setdefault(index, []).append(op)
        return found

    def _swaps_last(self, transpose: Any) -> bool:
        tensor = self._subgraph.tensors[transpose.inputs[1]]
        data = self._graph.model.buffers[tensor.buffer].data
        order = np.frombuffer(bytes(data), np.int32).tolist()
        axes = list(range(len(order)))
        return order == [*axes[:-2], axes[-1], axes[-2]]

    def _reshaped(self, source: int, shape: list[int], before: Any) -> int:
        """`source` in another shape, made just before an operator."""
        module = schema()
        options = module.ReshapeOptionsT()
        options.newShape = np.array(shape, np.int32)
        sizes = self._graph.add_tensor(
            [len(shape)], module.TensorType.INT32, np.array(shape, np.int32)
        )
        made = self._graph.add_tensor(shape, module.TensorType.FLOAT32)
        order = self._subgraph.operators
        reshape = self._graph.operator("RESHAPE", [source, sizes], [made], options)
        order.insert(order.index(before), reshape)
        return made

    def _int8_like(self, shaped: int, result: int) -> int:
        """A new int8 tensor of one tensor's shape, with the scale of another."""
        made = self._graph.add_tensor(self._shape(shaped), schema().TensorType.INT8)
        self._subgraph.tensors[made].quantization = self._subgraph.tensors[result].quantization
        return made
