"""What an engine computes in: read from its strongly typed network, and from the engine itself."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge.backends.base import OUTPUT
from edge.backends.trt.library import Library
from edge.errors import BackendError, EngineError
from edge.manifest import Precision

log = logging.getLogger("edge.backends.trt")

FLOAT32, FLOAT16, INT8 = "float32", "float16", "int8"
WANTED = {Precision.FP32: FLOAT32, Precision.FP16: FLOAT16, Precision.INT8: INT8}

CONVOLUTIONS, PRODUCTS = ("CONVOLUTION", "DECONVOLUTION"), ("MATRIX_MULTIPLY",)
"""LayerType by name: what has weights, the second kind only where an operand is constant."""
PASSING = ("SHUFFLE", "IDENTITY", "UNSQUEEZE", "SQUEEZE")
"""Layers that hand on what they read."""
NAMES = {"FLOAT": FLOAT32, "HALF": FLOAT16, "BF16": "bfloat16"}
"""DataType by name to numpy's; the others are numpy's in capitals."""
REDUCED = frozenset((FLOAT16, "bfloat16", INT8, "fp8", "int4", "fp4"))
"""Which have no place in a network of fp32."""

COMPUTING = ("conv", "correlation", "gemm", "matmul", "matrixmultiply", "fullyconnected")
"""Parts of the inspector's LayerType, in small letters: of its own layers, and of its compiler's (Myelin)."""
WORDS = {
    **dict.fromkeys(("float", "fp32"), FLOAT32),
    **dict.fromkeys(("half", "fp16"), FLOAT16),
    **dict.fromkeys(("bfloat16", "bf16"), "bfloat16"),
    **dict.fromkeys(("int8", "fp8", "int4", "fp4")),
}
"""Words of the inspector's formats to dtypes; None: the word itself."""
TACTIC = re.compile(r"_(?:t?f32|b?f16|i8|f8|e4m3)[a-z0-9]*_(t?f32|b?f16|i8|f8|e4m3)[a-z0-9]*_")
"""In a kernel's name, such as sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n, what it multiplies: here TF32."""
TACTICS = {"i8": INT8, "f16": FLOAT16, "bf16": "bfloat16", "f32": FLOAT32, "tf32": "tf32"}


@dataclass(frozen=True)
class Layer:
    """A layer with weights."""

    name: str
    dtype: str
    """What it computes in: float32, float16, int8 or another."""


@dataclass(frozen=True)
class Layers:
    """What a network, or an engine, computes in."""

    computing: tuple[Layer, ...]
    """The layers with weights; of a network those on the way to the probabilities, since what only strangeness
    needs stays in float32 on purpose."""
    dtypes: frozenset[str]
    """Of all tensors."""

    def count(self, dtype: str) -> int:
        """Return how many of the layers compute in `dtype`."""
        return sum(layer.dtype == dtype for layer in self.computing)

    def first_other_than(self, dtype: str) -> str:
        """Return the name of the first layer that computes in another dtype; empty where there is none."""
        return next((layer.name for layer in self.computing if layer.dtype != dtype), "")

    def __str__(self) -> str:
        """The counts, such as "52 float16, 1 float32"."""
        counts = Counter(layer.dtype for layer in self.computing)
        return ", ".join(f"{count} {dtype}" for dtype, count in counts.most_common()) or "no layer with weights"


def read_layers(network: Any, library: Library) -> Layers:
    """Count what the layers of a strongly typed network compute in.

    A layer is int8 where both what it reads and its weights come out of a Dequantize of int8: from that the
    builder makes an int8 kernel, though the types around it are float.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    reader = _Reader(layers, library.api.LayerType)
    computing = (layer for layer in reader.path_to(OUTPUT) if reader.has_weights(layer))
    return Layers(
        tuple(Layer(layer.name, reader.dtype_of(layer)) for layer in computing),
        frozenset(dtype_of(tensor) for layer in layers for tensor in _outputs(layer)),
    )


def check_layers(layers: Layers, precision: Precision, what: str = "the network") -> None:
    """Raise BackendError where layers of a network compute in another precision than was asked for.

    fp32: all of them, and no tensor is of a smaller type. fp16: all of them. int8: half of them at least, but for
    the last, which makes the logits (the export leaves up to half in float), and the others in float32.
    """
    reduced = sorted(layers.dtypes & REDUCED)
    wrong = {
        Precision.FP32: bool(reduced) or layers.count(FLOAT32) != len(layers.computing),
        Precision.FP16: layers.count(FLOAT16) != len(layers.computing) or not layers.computing,
        Precision.INT8: _is_hardly_int8(layers) or FLOAT16 in layers.dtypes,
    }[precision]
    if wrong:
        raise _refusal(layers, precision, what, f", and tensors of {', '.join(reduced)}" if reduced else "")


def check_engine(text: str, precision: Precision, what: str = "the engine") -> Layers:
    """Raise EngineError where an engine's layers compute in another precision than was asked for.

    `text`: all that the engine inspector says, as JSON. The engine was built with detailed profiling verbosity,
    and the inspector has an execution context whose input shapes are set: else it tells no dtype of dynamic
    shapes. Where it tells none all the same, the log says so, and that is all: the types of the network were
    checked before it was built. Returns what is told.
    """
    layers = _inspected(text, what)
    if not layers.computing:
        log.info(
            "%s does not tell what its layers compute in; those of its network were %s", what, precision.value
        )
        return layers
    wrong = {
        Precision.FP32: bool(layers.dtypes & REDUCED) or layers.count(FLOAT32) != len(layers.computing),
        # The compiler may take a layer apart, and strangeness stays in float32.
        Precision.FP16: 2 * layers.count(FLOAT16) < len(layers.computing),
        Precision.INT8: not layers.count(INT8),
    }[precision]
    if wrong:
        raise EngineError(str(_refusal(layers, precision, what, "")))
    return layers


def _is_hardly_int8(layers: Layers) -> bool:
    return 2 * layers.count(INT8) < max(1, len(layers.computing) - 1)


def _refusal(layers: Layers, precision: Precision, what: str, more: str) -> BackendError:
    first = layers.first_other_than(WANTED[precision])
    return BackendError(
        f"{what} was to be {precision.value} and has {layers}{more}"
        f"{f' (first: {first})' if first else ''}: export the run again"
    )


class _Reader:
    """Finds out what a layer reads, through the layers before it."""

    def __init__(self, layers: list[Any], types: Any) -> None:
        self._layers = layers
        self._types = types
        self._makers = {tensor.name: layer for layer in layers for tensor in _outputs(layer)}
        self._moving: set[str] = set()
        """Names of the tensors that depend on the picture; all others are constant."""
        for layer in layers:  # each comes after what it reads
            if any(one.name in self._moving or one.name not in self._makers for one in _inputs(layer)):
                self._moving.update(tensor.name for tensor in _outputs(layer))

    def path_to(self, output: str) -> list[Any]:
        """Return the layers that `output` needs, in the network's order."""
        wanted, reached = [output], set()
        while wanted:
            name = wanted.pop()
            if name in self._makers and name not in reached:
                reached.add(name)
                wanted += (tensor.name for tensor in _inputs(self._makers[name]))
        return [layer for layer in self._layers if any(tensor.name in reached for tensor in _outputs(layer))]

    def has_weights(self, layer: Any) -> bool:
        """Say whether a layer multiplies by constants."""
        if self._is(layer, *PRODUCTS):
            return not self._moving.issuperset(tensor.name for tensor in _inputs(layer))
        return self._is(layer, *CONVOLUTIONS)

    def dtype_of(self, layer: Any) -> str:
        """Return what a layer with weights computes in."""
        operands = list(_inputs(layer))[:2]  # a bias comes third; weights in the layer itself are no operand
        if len(operands) == 2 and all(self._is_dequantized(tensor) for tensor in operands):
            return INT8
        return dtype_of(operands[0])

    def _is_dequantized(self, tensor: Any) -> bool:
        layer = self._makers.get(tensor.name)
        while layer is not None and self._is(layer, *PASSING):
            layer = self._makers.get(layer.get_input(0).name)
        return layer is not None and self._is(layer, "DEQUANTIZE") and dtype_of(layer.get_input(0)) == INT8

    def _is(self, layer: Any, *names: str) -> bool:
        return any(layer.type == getattr(self._types, name, None) for name in names)


def dtype_of(tensor: Any) -> str:
    """Return a tensor's dtype by numpy's name."""
    return dtype_named(tensor.dtype)


def dtype_named(dtype: Any) -> str:
    """Return a DataType by numpy's name."""
    name = str(dtype.name)
    return NAMES.get(name, name.lower())


def _inputs(layer: Any) -> Iterator[Any]:
    tensors = (layer.get_input(index) for index in range(layer.num_inputs))
    return (tensor for tensor in tensors if tensor is not None)


def _outputs(layer: Any) -> Iterator[Any]:
    return (layer.get_output(index) for index in range(layer.num_outputs))


def _inspected(text: str, what: str) -> Layers:
    """Read the engine inspector's JSON. Raises BackendError where it is none."""
    try:
        rows = [row for row in json.loads(text, strict=False)["Layers"] if isinstance(row, dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"{what} can't be inspected: TensorRT gave no list of layers ({error}); build it again"
        ) from error
    told = (Layer(str(row.get("Name", "")), _told(row)) for row in rows if _computes(row))
    dtypes = frozenset(dtype for row in rows for side in ("Inputs", "Outputs") for dtype in _formats(row, side))
    return Layers(tuple(layer for layer in told if layer.dtype), dtypes)


def _computes(row: Mapping[str, Any]) -> bool:
    kind = str(row.get("LayerType", "")).lower()
    return any(part in kind for part in COMPUTING) or bool(TACTIC.search(str(row.get("TacticName", ""))))


def _told(row: Mapping[str, Any]) -> str:
    """Return what a layer computes in, empty where it is not told: its kernel knows best, then its weights."""
    found = TACTIC.search(str(row.get("TacticName", "")))
    if found:
        return TACTICS.get(found[1], found[1])
    weights = row.get("Weights")
    if isinstance(weights, dict) and _word(str(weights.get("Type", ""))):
        return _word(str(weights["Type"]))
    return next(_formats(row, "Inputs"), "")


def _formats(row: Mapping[str, Any], side: str) -> Iterator[str]:
    """Give the dtypes of what a layer reads or makes, as far as they are told.

    TensorRT tells them in one field with the layout, TensorRT-RTX in one of their own.
    """
    for tensor in row.get(side, ()):
        dtype = _word(str(tensor.get("Format/Datatype") or tensor.get("Datatype") or ""))
        if dtype:
            yield dtype


def _word(text: str) -> str:
    """Return the dtype that a text such as "Channel major FP16 format where channel % 8 == 0" names."""
    words = re.findall(r"[a-z]+\d*", text.lower())
    return next((WORDS[word] or word for word in words if word in WORDS), "")
