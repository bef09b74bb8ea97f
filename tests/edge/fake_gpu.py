"""A GPU with CUDA and TensorRT on a machine that has none of them.

In another process: `python -c` of a few lines that call `install` before the command's own `main`.
"""

from __future__ import annotations

import sys
from typing import Any

from edge.backends.trt import cudart as binding
from tests.edge.fake_cudart import FakeCudart, Uncapturable
from tests.edge.fake_tensorrt import FakeTensorRT

__all__ = ["FakeCudart", "FakeTensorRT", "Uncapturable", "install"]


def install(cudart: FakeCudart, tensorrt: FakeTensorRT | None = None) -> None:
    """Have `load_cuda` find this CUDA, and `import` this TensorRT, for the rest of the process."""

    def open_library(name: str) -> Any:
        return cudart

    binding.open_library = open_library
    if tensorrt is not None:
        sys.modules[tensorrt.__name__] = tensorrt
