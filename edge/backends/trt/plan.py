"""A plan: an engine as bytes, and what it takes and answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edge.backends.base import INPUT, OUTPUT, STRANGENESS, Graph, check_contract
from edge.backends.trt.cudart import Device
from edge.backends.trt.library import Library, is_about_memory
from edge.backends.trt.precision import dtype_named
from edge.errors import BackendError, EngineError

PROVIDERS = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
"""What NVIDIA calls its libraries."""
PROFILE = 0
"""The only optimization profile that our engines have."""


@dataclass(frozen=True)
class Layout:
    """What goes into an engine and comes out of it."""

    shape: tuple[int, int, int]
    """Of one picture, uint8: height, width, 3."""
    max_batch: int
    """Pictures at once."""
    outputs: dict[str, tuple[int, ...]]
    """Name to the shape of what it says of one picture, float32."""

    @property
    def picture(self) -> int:
        """Bytes of one picture."""
        return math.prod(self.shape)

    def answer(self, name: str) -> int:
        """Return the bytes of what the output `name` says of one picture."""
        return 4 * math.prod(self.outputs[name])


def load_engine(plan: bytes, graph: Graph, library: Library, device: Device) -> Any:
    """Return the engine. Raises EngineError where it is damaged, or of another GPU or TensorRT, BackendError where
    the GPU has no room for it.
    """
    library.logger.errors.clear()
    try:
        engine = library.api.Runtime(library.logger).deserialize_cuda_engine(plan)
    except Exception as error:  # the binding's own errors share no public root
        raise EngineError(_refusal(graph, library, device, str(error))) from error
    if engine is not None:
        return engine
    why = library.last_error()
    if is_about_memory(why):
        raise BackendError(
            f"the GPU has no room for the engine of {graph.file}: {why}; take a smaller --max-batch, or end what "
            "else uses the GPU"
        )
    raise EngineError(_refusal(graph, library, device, why or "it gave no reason"))


def _refusal(graph: Graph, library: Library, device: Device, why: str) -> str:
    return (
        f"the engine of {graph.file} does not load in {PROVIDERS[library.name]} {library.version} on "
        f"{device.name} ({why}): it is damaged, or was built on another GPU or by another version; build it again "
        "here"
    )


def read_layout(engine: Any, graph: Graph, library: Library, max_batch: int) -> Layout:
    """Read what the engine takes and answers. Raises EngineError where that is not the graph's."""
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    taken = [name for name in names if engine.get_tensor_mode(name) == library.api.TensorIOMode.INPUT]
    answered = sorted((name for name in names if name not in taken), key=lambda name: name != OUTPUT)
    inputs, outputs = (
        [(name, dtype_named(engine.get_tensor_dtype(name))) for name in group] for group in (taken, answered)
    )
    try:
        check_contract(graph.file, inputs, outputs)
    except BackendError as error:
        raise EngineError(str(error)) from error
    least, _, most = (tuple(shape) for shape in engine.get_tensor_profile_shape(INPUT, PROFILE))
    expected = (1, *graph.shape), (max_batch, *graph.shape)
    if (least, most) != expected:
        raise EngineError(
            f"the engine of {graph.file} takes {list(least)} to {list(most)}; expected {list(expected[0])} to "
            f"{list(expected[1])}: build it again"
        )
    shapes = {name: tuple(engine.get_tensor_shape(name))[1:] for name in answered}
    if len(shapes[OUTPUT]) != 1 or shapes[OUTPUT][0] < 1 or shapes.get(STRANGENESS, ()):
        raise EngineError(
            f"the engine of {graph.file} answers {shapes} for one picture; expected [classes] and one "
            "strangeness: export the run again"
        )
    return Layout(graph.shape, max_batch, shapes)


def make_context(engine: Any, file: str) -> Any:
    """Return what runs the engine. Raises BackendError where the GPU has no room for it."""
    context = engine.create_execution_context()
    if context is None:
        raise BackendError(
            f"the GPU has no memory left for the engine of {file}: take a smaller --max-batch, or end what else "
            "uses the GPU"
        )
    return context
