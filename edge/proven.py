"""An engine that may serve: its answers are those of the trained model, shown on this very device."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace

from edge import verdicts
from edge.backends import DEFAULT, Backend, BackendInfo, Options, first_of, graph_of, open_backend
from edge.backends.tensorrt import discard, is_buildable
from edge.bundle import TENSORRT, Bundle
from edge.errors import GoldenError, Stage
from edge.golden import self_test
from edge.manifest import Precision, Verdict
from edge.parity import check_verdict
from edge.parity_check import judge_here
from edge.progress import Progress
from edge.verdicts import Finding

log = logging.getLogger(__name__)


AT_FAULT = frozenset((Stage.NORMALIZATION, Stage.LABELS, Stage.ENGINE))
"""Stages of the self-test that speak of the engine; in the others it is this device's decoding that differs."""


def open_proven(
    bundle: Bundle,
    name: str = "auto",
    precision: Precision | None = None,
    options: Options = DEFAULT,
    *,
    allow_failed: bool = False,
    progress: Progress | None = None,
) -> Backend:
    """Open a graph of the bundle on the engine `name`, as open_backend does, and prove it.

    It passes the self-test. Its verdict on parity is the manifest's, where that speaks of this engine, or this
    device's own, from the bundle's parity photos, which is kept in `options.cache`: FAIL is refused unless
    `allow_failed`, INCONCLUSIVE warned of. `auto` takes the next engine where one is refused; a TensorRT engine
    that passed once and fails now is built again. `progress` is told (done, total) of the parity photos. Raises
    BackendError, BundleError, GoldenError, UsageError.
    """

    def open_one(one: str) -> Backend:
        # `auto` takes what is ready: nothing is built in passing.
        how = options if name == one else replace(options, build=False)
        try:
            return _open_one(bundle, one, precision, how, allow_failed, progress)
        except GoldenError as error:
            if one != TENSORRT or not how.build or not is_buildable(graph_of(bundle, one, precision), how):
                raise
            log.warning("the TensorRT engine that was kept is built again: %s", error)
            return _open_one(bundle, one, precision, how, allow_failed, progress)

    return first_of(bundle, name, precision, options, open_one)


def _open_one(
    bundle: Bundle,
    name: str,
    precision: Precision | None,
    options: Options,
    allow_failed: bool,
    progress: Progress | None,
) -> Backend:
    with ExitStack() as stack:
        backend = stack.enter_context(open_backend(bundle, name, precision, options))
        _prove(bundle, backend, options, allow_failed, progress)
        stack.pop_all()
        return backend


def _prove(
    bundle: Bundle, backend: Backend, options: Options, allow_failed: bool, progress: Progress | None
) -> None:
    info = backend.info
    where = f"{info.file} on {info.provider}"
    earlier = known(bundle, info, options)
    if earlier:
        check_verdict(where, earlier.verdict, earlier.reason, allow_failed)
    try:
        if earlier:
            tested = self_test(bundle, backend)
            log.debug("self-test: %d images, largest difference %.2g", tested.images, tested.max_difference)
            return
        log.info("%s: parity was not judged on this device yet; now it is", where)
        judged = judge_here(bundle, backend, options, progress)
    except GoldenError as error:
        if info.engine and error.stage in AT_FAULT:
            _remember(bundle, info, options, earlier, error)
        raise
    check_verdict(where, judged.verdict, judged.reason, allow_failed)


def _remember(
    bundle: Bundle, info: BackendInfo, options: Options, earlier: Finding | None, error: GoldenError
) -> None:
    """See to it that an engine that failed never serves: one that passed once went bad, and is removed."""
    if earlier and earlier.verdict is not Verdict.FAIL:
        discard(info, options)
    else:  # a new one would be no better: not to be built at every start
        verdicts.keep(options.cache, bundle, Finding(bundle.manifest.version, info, Verdict.FAIL, str(error)))


def known(bundle: Bundle, info: BackendInfo, options: Options) -> Finding | None:
    """Return what is known of this engine: from the manifest, where that speaks of it, or from this device."""
    artifact = bundle.manifest.artifact_of(info.file)
    if info.name == artifact.parity.backend:
        return Finding(bundle.manifest.version, info, artifact.verdict, artifact.reason)
    return verdicts.find(options.cache, bundle, info)
