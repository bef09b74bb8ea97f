"""What the bare graph costs, on every engine that this machine has, in every precision, by the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import About
from benchmarks.made import LABELS, SPEC
from benchmarks.sized import FILE, graph_bytes
from edge.backends import OPENERS, Backend, Graph, Options, open_graph
from edge.bundle import TENSORRT
from edge.errors import BackendError
from edge.manifest import Precision
from export.qdq import Scheme

BATCHES = (1, 8, 32)


@pytest.fixture(scope="module", params=[(name, one) for name in OPENERS for one in Precision], ids="-".join)
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[Backend, str]]:
    """Give an open engine, and the SHA-256 of its graph."""
    name, precision = request.param
    scheme = Scheme.TENSORRT if OPENERS[name].runtime == TENSORRT else Scheme.CPU
    options = Options(threads=1, max_batch=max(BATCHES))
    graph = Graph(FILE, precision, graph_bytes(precision, scheme=scheme), SPEC.shape)
    try:
        backend = open_graph(graph, name, options)
    except BackendError as error:
        pytest.skip(str(error))
    with backend:
        yield backend, hashlib.sha256(graph.model).hexdigest()


@pytest.mark.parametrize("images", BATCHES)
def test_bare_inference(
    benchmark: BenchmarkFixture, opened: tuple[Backend, str], about: About, images: int
) -> None:
    backend, digest = opened
    about(backend.info, graph=digest, images=images)
    batch = backend.allocate(images)
    batch[:] = np.random.default_rng(0).integers(0, 256, batch.shape, dtype=np.uint8)
    answers = benchmark.pedantic(backend.infer, (batch,), rounds=max(5, 60 // images), warmup_rounds=2)
    assert answers.probabilities.shape == (images, len(LABELS))
