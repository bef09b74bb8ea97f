"""Which TensorRT is there: NVIDIA's own, or TensorRT-RTX, which builds without a GPU."""

from __future__ import annotations

import importlib
import logging
from collections import deque
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from edge.errors import BackendError

log = logging.getLogger("edge.backends.trt")

TENSORRT, TENSORRT_RTX = "tensorrt", "tensorrt_rtx"
"""The modules, in the order in which they are looked for."""
ERRORS = ("INTERNAL_ERROR", "ERROR")
"""Severities that are remembered, by name: whoever fails says why in one sentence, of which these are a part."""
HEARD = (*ERRORS, "WARNING")
"""Severities that --debug shows; the others are thousands of lines a build."""
KEPT = 8
"""Errors that are kept to explain a failure with."""


NEEDED = ("Builder", "OnnxParser", "IProgressMonitor")
"""What every TensorRT from 10.0 on has; PyPI's stub has none of it."""


@dataclass(frozen=True)
class Library:
    """A TensorRT that builds and runs engines."""

    api: Any
    """The module."""
    name: str
    """tensorrt or tensorrt_rtx."""
    version: str
    logger: Any
    """The process's one ILogger; its `errors` are a deque of what it heard last, one line each."""

    def last_error(self) -> str:
        """Return the latest error that the logger heard; empty where it heard none."""
        return str(self.logger.errors[-1]) if self.logger.errors else ""


def load_library() -> Library:
    """Return the TensorRT that is installed. Raises BackendError where there is none."""
    missing = []
    for name in (TENSORRT, TENSORRT_RTX):
        try:
            api = _load(name)
        except BackendError as error:
            missing.append(str(error))
            continue
        for why in missing:
            log.debug("%s serves: %s", name, why)
        return Library(api, name, str(api.__version__), _logger(api))
    raise BackendError(
        f"TensorRT is missing ({'; '.join(missing)}): on a Jetson apt install python3-libnvinfer and make the "
        "virtual environment with --system-site-packages, never pip install tensorrt there; elsewhere take "
        "NVIDIA's wheel tensorrt, or pip install 'binsight[tensorrt-rtx]'"
    )


def _load(name: str) -> ModuleType:
    """Import a TensorRT. Raises BackendError where it is not there, or holds nothing."""
    try:
        api = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # the wheels load their libraries by ctypes
        raise BackendError(f"{name} does not load: {error}") from error
    if not hasattr(api, "Builder"):
        raise BackendError(f"{name} has no Builder: a stub, as PyPI's tensorrt is without NVIDIA's libraries")
    lacking = [one for one in NEEDED if not hasattr(api, one)]
    if lacking or not hasattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        raise BackendError(f"{name} {api.__version__} is too old: expected 10.3 or later")
    return api


def is_about_memory(why: str) -> bool:
    """Say whether an error's text is about room."""
    return "memory" in why.lower()


@cache
def _logger(api: Any) -> Any:
    """Return the logger of a module. TensorRT takes the first one of a process, and no other after it."""

    class Logger(api.ILogger):  # type: ignore[misc]  # from a module that may not be there
        """Remembers errors, and shows them and warnings under --debug, each as one line."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: deque[str] = deque(maxlen=KEPT)

        def log(self, severity: Any, text: str) -> None:
            if severity.name not in HEARD:
                return
            line = " ".join(text.split())
            if severity.name in ERRORS:
                self.errors.append(line)
            log.debug("TensorRT: %s", line)

    return Logger()
