"""The proof on a GPU: what can't be shown without one. It says plainly when there is none."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.prove_engines import bundles
from benchmarks.record import WORK, Row, keep
from edge.backends import Options
from edge.backends.trt.cudart import Cuda, Stream, load_cuda
from edge.backends.trt.memory import Buffer
from edge.bench import BenchSettings, bench, name_of
from edge.bundle import Bundle, load
from edge.errors import BackendError
from edge.manifest import Verdict

ON_A_GPU = ("cuda", "tensorrt")
"""Backends of which one precision at least must pass there. CUDA needs binsight[gpu] in place of binsight[cpu]."""
SIZES = (1, 4096, 150_528, 9_633_792)
"""Bytes that are copied there and back: among them one picture of 224 x 224, and 64."""


def prove_gpu() -> bool:
    """Prove the CUDA binding, and every precision on every engine of this machine, TensorRT's among them."""
    try:
        cuda = load_cuda()
    except BackendError as error:
        sys.exit(f"there is no GPU here, and nothing was proven: {error}")
    device = cuda.device
    rows: list[Row] = [
        ("GPU", f"{device.name}, {device.compute_capability}", ""),
        ("CUDA of the driver, of the runtime", f"{device.driver}, {device.runtime}", ""),
    ]
    copied, recorded = copies(cuda), copies(cuda, recorded=True)
    rows.append(("copies there and back that came back equal", f"{copied} of {len(SIZES)}", "all"))
    rows.append(("the same, recorded as a CUDA graph", f"{recorded} of {len(SIZES)}", "all"))
    engines, passed = _engines(load(bundles()[0]))
    keep("gpu", "CUDA, TensorRT and what is beside them on one machine", rows + engines)
    return passed and copied == recorded == len(SIZES)


def copies(cuda: Cuda, *, recorded: bool = False) -> int:
    """Return how many of SIZES came back as they went, through the GPU's own memory."""
    return sum(_comes_back(cuda, size, recorded) for size in SIZES)


def _comes_back(cuda: Cuda, size: int, recorded: bool) -> bool:
    sent = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    stream, buffer = Stream(cuda), Buffer(cuda, size)
    try:
        buffer.host[:] = sent
        if recorded:
            graph = stream.capture(lambda: buffer.to_device(stream, size))
            graph.launch()
            stream.synchronize()
            graph.close()
        else:
            buffer.to_device(stream, size)
            stream.synchronize()
        if not cuda.device.integrated:  # there both are one memory
            buffer.host[:] = 0
        buffer.to_host(stream, size)
        stream.synchronize()
        return np.array_equal(buffer.host, sent)
    finally:
        buffer.close()
        stream.close()


def _engines(bundle: Bundle) -> tuple[list[Row], bool]:
    """Judge and time every precision on every engine, and say what did not run."""
    found = bench(bundle, BenchSettings(Options(cache=WORK / "engines")))
    rows: list[Row] = []
    for row in found.rows:
        name = name_of(row.backend.precision, row.backend.name)
        agreement = "" if row.judged.agreement is None else f", {row.judged.agreement:.2%} agree"
        times = f"{row.latency.p50_ms:.2f}, {row.latency.p99_ms:.2f} ms"
        rows.append((f"{name}: p50, p99", f"{times}{agreement}, {row.judged.verdict.value}", "no FAIL"))
    rows += [(name_of(one.precision, one.backend), f"not run: {one.reason}", "") for one in found.skipped]
    passed = {row.backend.name for row in found.rows if row.judged.verdict is Verdict.PASS}
    rows += [(f"proven on the GPU: {name}", "yes" if name in passed else "no", "yes") for name in ON_A_GPU]
    return rows, passed.issuperset(ON_A_GPU)
