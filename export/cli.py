"""edge-export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge.backends import Options
from edge.bundle import Bundle
from edge.cli.app import NO, OK, cache_folder, progress_bar, run, say, say_json, shared_options
from edge.cli.engine import tensorrt_options
from edge.manifest import Artifact, Precision


@click.command(epilog="Example: edge-export runs/photos-mobilenet_v2 --fp16 --int8")
@click.argument("run_folder", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Bundle folder.  [default: bundle in RUN]")
@click.option("--fp16", is_flag=True, help="Make a half-precision graph too.")
@click.option("--int8", is_flag=True, help="Make the int8 graphs too: one for CPUs, one for TensorRT.")
@click.option("--tensorrt", is_flag=True, help="Build and prove the TensorRT engines on this machine's GPU too.")
@tensorrt_options
@click.option("--data", type=click.Path(path_type=Path), help="The run's photos, where they have moved.")
@click.option(
    "--max-error",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of wrong answers among the accepted ones that the bin is to keep.  [default: the run's]",
)
@click.option(
    "--tolerance",
    metavar="POINTS",
    type=click.FloatRange(0, 100, min_open=True),
    help="Points of accuracy that graphs beside fp32 may lose.  [default: fp16 1, int8 3]",
)
@click.option("--allow-failed-parity", is_flag=True, help="Exit 0 though a graph fails; the bundle is marked.")
@shared_options
def command(
    run_folder: Path | None,
    output: Path | None,
    fp16: bool,
    int8: bool,
    tensorrt: bool,
    options: Options,
    data: Path | None,
    max_error: float | None,
    tolerance: float | None,
    allow_failed_parity: bool,
    as_json: bool,
) -> int:
    """Export RUN (the newest below runs by default) as a bundle, and prove that it answers as PyTorch did.

    Exits 1 where it does not: the bundle is written all the same, and marked. A bin runs a graph that failed only
    with --allow-failed-parity, and warns of one of which so few photos could show neither.
    """
    from export.engines import make_engines  # noqa: PLC0415
    from export.run import export  # noqa: PLC0415  torch is heavy: --help must not wait for it
    from train.runs import newest_run  # noqa: PLC0415

    wanted = {Precision.FP16: fp16, Precision.INT8: int8}
    exported = export(
        run_folder or newest_run(),
        output,
        tuple(precision for precision, asked in wanted.items() if asked),
        cache_folder(),
        data=data,
        max_error=max_error,
        tolerance=None if tolerance is None else tolerance / 100,
        allow_failed=allow_failed_parity,
        phase=progress_bar,
    )
    bundle = exported.bundle
    engines = make_engines(bundle, options, progress_bar) if tensorrt else ()
    if as_json:
        say_json(_as_json(bundle) | ({"engines": [asdict(one) for one in engines]} if tensorrt else {}))
    else:
        _print_table(bundle)
        for one in engines:
            say(f"{one.file} on TensorRT: {one.verdict.value + ': ' if one.verdict else ''}{one.said}")
    return OK if exported.passed and not any(one.failed for one in engines) else NO


def _as_json(bundle: Bundle) -> dict[str, object]:
    from export.papers import parity_rows  # noqa: PLC0415

    sizes = {entry.file: entry.bytes for entry in bundle.manifest.files}
    artifacts = [
        {
            "precision": one.precision.value,
            "runtimes": one.runtimes,
            "file": one.file,
            "bytes": sizes[one.file],
            "reject_threshold": one.reject_threshold,
            "stranger_threshold": one.stranger_threshold,
            **({} if one.rejection is None else asdict(one.rejection)),
        }
        for one in bundle.manifest.artifacts
    ]
    return {
        "bundle": str(bundle.folder),
        "artifacts": artifacts,
        "parity": parity_rows(bundle.manifest.artifacts),
    }


def _print_table(bundle: Bundle) -> None:
    sizes = {entry.file: entry.bytes for entry in bundle.manifest.files}
    width = max(len(one.file) for one in bundle.manifest.artifacts)
    say(
        f"{'file':{width}}  backend         MB  images  agreement  accuracy  PyTorch  "
        "lower bound  tolerance  max diff  verdict"
    )
    for one in bundle.manifest.artifacts:
        parity = one.parity
        say(
            f"{one.file:{width}}  {parity.backend:11}  {sizes[one.file] / 1e6:5.1f}  {parity.images:6d}  "
            f"{parity.agreement:9.2%}  {parity.accuracy:8.2%}  {parity.reference_accuracy:7.2%}  "
            f"{parity.lower_bound * 100:+11.2f}  {-parity.tolerance * 100:+9.2f}  {parity.max_difference:8.1e}  "
            f"{one.verdict.value}{' (allowed)' if one.failure_allowed else ''}"
        )
    for one in bundle.manifest.artifacts:
        say(f"{one.file}: {one.reason}")
        say(f"{one.file}: {tell(one, bundle.manifest.costs is not None)}")
    say(f"bundle: {bundle.folder} ({bundle.manifest.version[:12]})")


def tell(artifact: Artifact, priced: bool) -> str:
    """Return what an artifact rejects, and what that promises, as one line; `priced`: mistakes have costs."""
    stranger = (
        "" if artifact.stranger_threshold is None else f", strangers above {artifact.stranger_threshold:.4g}"
    )
    its = artifact.rejection
    if its is None:
        return f"nothing is rejected as unsure{stranger}"
    if artifact.reject_threshold is None:
        return f"nothing is rejected as unsure, since {its.images} photos support no bound at all{stranger}"
    unit = " of the dearest mistake" if priced else ""
    missed = "" if its.reached else f" (so few photos can't support the {its.target:.2%} asked for)"
    return (
        f"rejects scores below {artifact.reject_threshold:.4f}{stranger}; accepts {its.coverage:.1%} of "
        f"{its.images} photos; {'mean cost' if priced else 'share of wrong answers'} among these at most "
        f"{its.bound:.2%}{unit} with {its.confidence:.0%} confidence{missed}"
    )


def main() -> None:
    """Run edge-export."""
    run(command, "edge-export")
