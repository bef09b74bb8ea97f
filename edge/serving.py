"""Which engine serves a bin from its first frame on, and which takes over later."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import dataclass, replace

from edge.backends import OPENERS, Backend, Options, graph_of
from edge.backends.tensorrt import is_buildable, machine
from edge.backends.trt.runner import STEADY
from edge.bundle import TENSORRT, Bundle
from edge.errors import BackendError, BundleError
from edge.maker import EngineMaker
from edge.maker_child import Task
from edge.manifest import Precision
from edge.proven import open_proven

log = logging.getLogger(__name__)

WARM_UP = STEADY + 2
"""Inferences before the first frame: an engine plans and allocates in its first ones, and records a CUDA graph."""


@dataclass(frozen=True)
class Serving:
    """What was asked for, of one bundle."""

    bundle: Bundle
    name: str
    """As in edge.backends.BACKENDS."""
    precision: Precision | None
    options: Options
    allow_failed: bool
    """Whether a graph whose verdict is FAIL may serve."""

    def open(self) -> Backend:
        """Open what serves first, proven and warm. Nothing is built: see `maker`.

        Where TensorRT was asked for and its engine is not there yet, or is refused, which is said, another serves.
        Raises as open_proven, and where TensorRT was asked for BackendError if this device can't have it.
        """
        if self.name != TENSORRT:
            return self._open(self.name)
        machine()
        if not self._is_missing():
            try:
                return self._open(TENSORRT)
            except (BackendError, BundleError) as error:
                log.error("TensorRT does not serve: %s", error)
        return self._open("auto")

    def maker(self, serving: Backend) -> EngineMaker | None:
        """Return what builds a TensorRT engine while `serving` serves; None where it is here, or has no part."""
        if serving.info.name == TENSORRT or self.name not in {"auto", TENSORRT} or not self._is_missing():
            return None
        options = replace(self.options, cache=self.options.cache and self.options.cache.absolute())
        bundle = str(self.bundle.folder.absolute())
        task = Task(bundle, self.precision, options, self.allow_failed, os.getpid())
        return EngineMaker(task, lambda: self._open(TENSORRT))

    def _is_missing(self) -> bool:
        """Whether this device could have an engine, and has none."""
        if not self.bundle.fits(self.precision, OPENERS[TENSORRT].runtime):
            return False
        return is_buildable(graph_of(self.bundle, TENSORRT, self.precision), self.options)

    def _open(self, name: str) -> Backend:
        how = replace(self.options, build=False)  # that is the maker's: no bin stands still for minutes
        with ExitStack() as stack:
            backend = stack.enter_context(
                open_proven(self.bundle, name, self.precision, how, allow_failed=self.allow_failed)
            )
            batch = backend.allocate(1)
            for _ in range(WARM_UP):
                backend.infer(batch)
            stack.pop_all()
            return backend
