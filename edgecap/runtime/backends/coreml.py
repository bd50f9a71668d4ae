"""Runs CoreML bundles on macOS, through coremltools' MLModel.

Not yet run on a Mac: it is written against the source and guide of coremltools 9 and Apple's
reference, and tested with a recorded native layer below coremltools' own checks. Assumptions:

- a function of a package is loaded as a separate model, by `function_name`; coremltools only warns
  about a package that the framework cannot load, and this module raises an error;
- an image input takes a Pillow image, RGB for a colour image; other inputs take an array;
- arrays hold float32 or int32 whatever the model stores: coremltools converts float16 both ways;
- a state comes from `make_state`, filled with zeros, and is passed to each prediction;
- one model serves one prediction at a time (Apple, MLModel).

Captions are decoded with the portable `decode`, whose cache the host owns and can reorder for
beams. `decode_stateful` is available for decoding a single caption: see `function`.

coremltools imports torch if it is installed; this module does not need it.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
from PIL import Image

from edgecap.bundle.io import Bundle
from edgecap.core.errors import BundleError, one_line
from edgecap.core.lazy import require
from edgecap.runtime.backends.single import Arrays, FunctionSession, failed, needed_at_once

NOT_LOADED = "You will not be able to run predict"  # the start of coremltools' warning


def open_session(bundle: Bundle, threads: int) -> CoremlSession:
    """Open a bundle's functions; raises MissingPackageError or BundleError.

    `threads` is ignored: CoreML schedules the work on CPU, GPU and Neural Engine itself.
    """
    return CoremlSession(bundle)


class CoremlSession(FunctionSession):
    """Functions of one or several .mlpackage directories. Thread-safe.

    Functions that captions do not need (the text encoder, the stateful step) are compiled at their
    first use.

    Args:
        bundle: a checked bundle.
        compute_units: a name of coremltools.ComputeUnit: ALL, CPU_ONLY, CPU_AND_GPU, CPU_AND_NE.
    """

    def __init__(self, bundle: Bundle, compute_units: str = "ALL") -> None:
        self._tools = require("coremltools", "coreml")
        self._units = self._tools.ComputeUnit[compute_units]
        self._bundle = bundle
        self._loading = threading.Lock()
        self._functions: dict[str, CoremlFunction] = {}
        for name in needed_at_once(bundle.manifest.functions):
            self.function(name)

    def run(self, name: str, inputs: Arrays) -> Arrays:
        return self.function(name).run(inputs)

    def function(self, name: str) -> CoremlFunction:
        """A function of the manifest, loaded once; raises BundleError."""
        with self._loading:
            if name not in self._functions:
                loaded = CoremlFunction(self._tools, self._bundle, name, self._units)
                self._functions[name] = loaded
            return self._functions[name]


class CoremlFunction:
    """One function, by the contract's names; calls are serialised by a lock."""

    def __init__(self, tools: Any, bundle: Bundle, name: str, units: Any) -> None:
        function = bundle.manifest.functions[name]
        self._file, self._inputs, self._outputs = function.file, function.inputs, function.outputs
        self._lock = threading.Lock()
        path = str(bundle.file(function.file))
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", NOT_LOADED, RuntimeWarning)
                self._model = tools.models.MLModel(
                    path, compute_units=units, function_name=function.entry
                )
            described = _description(self._model.get_spec(), function.entry)
        except Exception as error:  # coremltools raises bare Exception among others
            raise BundleError(
                "bundle.model", f"CoreML rejects {self._file}: {one_line(error)}"
            ) from None
        self._features = {feature.name: feature.type for feature in described.input}
        results = {feature.name for feature in described.output}
        wrong = [n for n in function.inputs.values() if n not in self._features]
        wrong += [n for n in function.outputs.values() if n not in results]
        if wrong or len(self._features) != len(function.inputs):
            raise BundleError(
                "bundle.model",
                f"{self._file} lacks {wrong}; it has {sorted(self._features)} {sorted(results)}.",
            )

    def make_state(self) -> Any:
        """The state of a new caption, to pass to `run`."""
        try:
            return self._model.make_state()
        except Exception as error:  # as above: states need macOS 15
            raise BundleError(
                "bundle.model", f"{self._file} cannot make a state: {one_line(error)}"
            ) from None

    def run(self, inputs: Arrays, state: Any = None) -> Arrays:
        """One prediction; `state` is updated in place if the function has one."""
        feed = {
            self._inputs[name]: _feature(self._features[self._inputs[name]], value)
            for name, value in inputs.items()
        }
        try:
            with self._lock:
                values = self._model.predict(feed, state=state)
        except Exception as error:  # as above
            raise failed(self._file, error) from None
        return {name: np.asarray(values[target]) for name, target in self._outputs.items()}


def _description(spec: Any, function: str) -> Any:
    """Inputs, outputs and states of a function; those of the model if it has only one."""
    for described in spec.description.functions:
        if described.name == function:
            return described
    return spec.description


def _feature(kind: Any, value: np.ndarray) -> Any:
    """Convert a value to what MLModel.predict takes for a feature of this type."""
    if kind.WhichOneof("Type") == "imageType":
        return Image.fromarray(np.ascontiguousarray(value[0]))  # uint8 [1,S,S,3] to RGB
    array = kind.multiArrayType
    integer = array.dataType == array.ArrayDataType.Value("INT32")
    return np.ascontiguousarray(value, np.int32 if integer else np.float32)
