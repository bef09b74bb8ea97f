"""OpenVINO on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from edge.backends.base import (
    INPUT,
    OUTPUT,
    STRANGENESS,
    Answers,
    BackendInfo,
    Graph,
    Options,
    check_batch,
    check_contract,
    cpu_name,
    join,
)
from edge.backends.outside import refuse_outside
from edge.errors import BackendError
from edge.manifest import Precision
from edge.preprocess import Pixels

CPU, PROVIDER = "CPU", "OpenVINO CPU"
DTYPES = {"u8": "uint8", "f32": "float32"}
"""OpenVINO's own names of dtypes to numpy's."""
PRECISION, TELEMETRY = "INFERENCE_PRECISION_HINT", "openvino_telemetry"


class OpenVino:
    """A compiled graph of one image.

    It is quicker than one for any number of them by a twentieth, and several images one after the other take no
    longer than together (measured).
    """

    def __init__(self, openvino: Any, compiled: Any, shape: tuple[int, int, int], info: BackendInfo) -> None:
        self._image: Pixels = np.zeros(shape, dtype=np.uint8)
        self._request: Any = compiled.create_infer_request()
        self._request.set_input_tensor(openvino.Tensor(self._image[None], shared_memory=True))
        self._shape = shape
        self.info = info

    def infer(self, batch: Pixels) -> Answers:
        """Answer uint8 [n, height, width, 3] BGR with n rows. Raises BackendError."""
        check_batch(batch, self._shape)
        try:
            return join([self._answer(image) for image in batch])
        except Exception as error:  # the runtime's own errors share no public root
            raise BackendError(f"{PROVIDER} failed on {self.info.file}: {_reason(error)}") from error

    def allocate(self, images: int) -> Pixels:
        """Return uint8 [images, height, width, 3]: plain memory, copied image by image in microseconds."""
        return np.zeros((images, *self._shape), dtype=np.uint8)

    def close(self) -> None:
        """Drop the request: its memory, and the graph's, goes with the last reference."""
        self._request = None

    def __enter__(self) -> OpenVino:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, image: Pixels) -> Answers:
        np.copyto(self._image, image)
        return Answers(*self._request.infer().to_tuple())  # copies: the next answer overwrites the engine's own


def open_openvino(graph: Graph, options: Options) -> OpenVino:
    """Open a graph on the CPU. Raises BackendError, also where the CPU would compute in another precision."""
    openvino = load_openvino()
    refuse_outside(graph)
    try:
        return _open(openvino, graph, options)
    except BackendError:
        raise
    except Exception as error:  # the runtime's own errors share no public root
        raise BackendError(f"{graph.file} does not load on {PROVIDER}: {_reason(error)}") from error


def load_openvino() -> Any:
    """Import OpenVINO without its telemetry. Raises BackendError where it is missing or too old.

    With openvino-telemetry, which comes with it, the import alone keeps an id below ~/intel and tells Google
    Analytics of itself. A package that isn't there can't (docs/adr/0005-no-telemetry.md).
    """
    hidden = TELEMETRY not in sys.modules
    if hidden:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino  # noqa: PLC0415  optional and heavy
    except ImportError as error:
        raise BackendError(f"OpenVINO is missing ({error}): pip install 'binsight[openvino]'") from error
    finally:
        if hidden:
            del sys.modules[TELEMETRY]
    if not hasattr(openvino, "Core"):
        raise BackendError(
            f"OpenVINO {getattr(openvino, '__version__', 'of no version')} has no Core, expected 2025.0 or later: "
            "pip install --upgrade 'binsight[openvino]'"
        )
    return openvino


def _open(openvino: Any, graph: Graph, options: Options) -> OpenVino:
    core = openvino.Core()
    model = core.read_model(graph.model, b"")  # a str would be a path
    inputs, outputs = ([_describe(port) for port in ports] for ports in (model.inputs, model.outputs))
    strangeness = check_contract(graph.file, inputs, outputs)
    _fix_shape(openvino, graph, model)
    asked = _settings(graph.precision, options.threads, core.get_property(CPU, "OPTIMIZATION_CAPABILITIES"))
    compiled = core.compile_model(model, CPU, asked)
    _check_precision(graph.file, asked, compiled)
    info = BackendInfo(
        "openvino",
        graph.file,
        graph.precision,
        PROVIDER,
        # Never more than there are cores, however many were asked for.
        int(compiled.get_property("INFERENCE_NUM_THREADS")) if options.threads else 0,
        (("openvino", str(openvino.__version__).partition("-")[0]),),
        strangeness,
        device=str(core.get_property(CPU, "FULL_DEVICE_NAME")).strip() or cpu_name(),
        megabytes=len(graph.model) / 1e6,
    )
    return OpenVino(openvino, compiled, graph.shape, info)


def _settings(precision: Precision, threads: int, capabilities: Sequence[str]) -> dict[str, Any]:
    """Return what the compiler is asked for.

    Of itself it computes in bf16 where the CPU has that, with 8 bits of a number to fp16's 11 and fp32's 24: an
    fp32 graph lost 1.5 points of accuracy by it (measured). Fp16 graphs get fp16 where the CPU has it, else f32.
    """
    half = precision is Precision.FP16 and "FP16" in capabilities
    settings = {
        PRECISION: "f16" if half else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        # Pinned threads of two engines, or of an engine and another program, wait for one core beside an idle one.
        "ENABLE_CPU_PINNING": False,
    }
    return settings | ({"INFERENCE_NUM_THREADS": threads} if threads else {})


def _fix_shape(openvino: Any, graph: Graph, model: Any) -> None:
    """Make it a graph of one image. Raises BackendError where it takes images of another size."""
    expected, got = [1, *graph.shape], model.inputs[0].partial_shape
    if not got.compatible(openvino.PartialShape(expected)):  # it would be reshaped, and answer all the same
        raise BackendError(f"{graph.file} takes {got}; the manifest says {expected}: export the run again")
    model.reshape(expected)


def _check_precision(file: str, asked: dict[str, Any], compiled: Any) -> None:
    """Raise BackendError where another precision is computed than was asked for: asking alone is a hint."""
    got = compiled.get_property(PRECISION).to_string()
    if got != asked[PRECISION]:
        raise BackendError(
            f"asked OpenVINO to compute {file} in {asked[PRECISION]}, got {got}: take --backend onnxruntime"
        )


def _describe(port: Any) -> tuple[str, str]:
    """Return name and dtype of an input or output: of several names the one that a bundle knows."""
    names = sorted(port.names)
    name = next((known for known in (INPUT, OUTPUT, STRANGENESS) if known in names), "".join(names[:1]))
    dtype = port.element_type.to_string()
    return name, DTYPES.get(dtype, dtype)


def _reason(error: Exception) -> str:
    """Return the last line of an error: the others say where in OpenVINO's sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
