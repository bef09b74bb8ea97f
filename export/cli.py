"""edge-export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge.bundle import Bundle
from edge.cli.app import NO, OK, cache_folder, run, say, say_json, shared_options
from edge.manifest import Artifact, Precision


@click.command(epilog="Example: edge-export runs/photos-mobilenet_v2 --fp16")
@click.argument("run_folder", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Bundle folder.  [default: bundle in RUN]")
@click.option("--fp16", is_flag=True, help="Make a half-precision graph too.")
@click.option("--data", type=click.Path(path_type=Path), help="The run's photos, where they have moved.")
@click.option(
    "--max-error",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of wrong answers among the accepted ones that the bin is to keep.  [default: the run's]",
)
@shared_options
def command(
    run_folder: Path | None,
    output: Path | None,
    fp16: bool,
    data: Path | None,
    max_error: float | None,
    as_json: bool,
) -> int:
    """Export RUN (the newest below runs by default) as a bundle, and prove that it answers as PyTorch did.

    Exits 1 where it does not: the bundle is written all the same, and marked.
    """
    from export.run import export, parity_rows  # noqa: PLC0415  torch is heavy: --help must not wait for it
    from train.runs import newest_run  # noqa: PLC0415

    precisions = (Precision.FP16,) if fp16 else ()
    exported = export(
        run_folder or newest_run(), output, precisions, cache_folder(), data=data, max_error=max_error
    )
    bundle = exported.bundle
    if as_json:
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
        say_json({"bundle": str(bundle.folder), "artifacts": artifacts, "parity": parity_rows(exported)})
    else:
        _print_table(bundle)
    return OK if exported.passed else NO


def _print_table(bundle: Bundle) -> None:
    sizes = {entry.file: entry.bytes for entry in bundle.manifest.files}
    say("file             backend         MB  images  agreement  accuracy  PyTorch  max diff  mean diff  verdict")
    for one in bundle.manifest.artifacts:
        parity = one.parity
        say(
            f"{one.file:16} {parity.backend:11} {sizes[one.file] / 1e6:6.1f}  {parity.images:6d}  "
            f"{parity.agreement:9.2%}  {parity.accuracy:8.2%}  {parity.reference_accuracy:7.2%}  "
            f"{parity.max_difference:8.1e}  {parity.mean_difference:9.1e}  {one.verdict.value}"
        )
    for one in bundle.manifest.artifacts:
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
