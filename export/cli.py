"""edge-export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge.cli.app import NO, OK, cache_folder, run, say, say_json, shared_options
from edge.manifest import Precision


@click.command(epilog="Example: edge-export runs/photos-mobilenet_v2 --fp16")
@click.argument("run_folder", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Bundle folder.  [default: bundle in RUN]")
@click.option("--fp16", is_flag=True, help="Make a half-precision graph too.")
@click.option("--data", type=click.Path(path_type=Path), help="The run's photos, where they have moved.")
@shared_options
def command(run_folder: Path | None, output: Path | None, fp16: bool, data: Path | None, as_json: bool) -> int:
    """Export RUN (the newest below runs by default) as a bundle, and prove that it answers as PyTorch did.

    Exits 1 where it does not: the bundle is written all the same, and marked.
    """
    from export.run import export, parity_rows  # noqa: PLC0415  torch is heavy: --help must not wait for it
    from train.runs import newest_run  # noqa: PLC0415

    precisions = (Precision.FP16,) if fp16 else ()
    exported = export(run_folder or newest_run(), output, precisions, cache_folder(), data=data)
    bundle = exported.bundle
    if as_json:
        sizes = {entry.file: entry.bytes for entry in bundle.manifest.files}
        artifacts = [
            {
                "precision": one.precision.value,
                "runtimes": one.runtimes,
                "file": one.file,
                "bytes": sizes[one.file],
            }
            for one in bundle.manifest.artifacts
        ]
        say_json({"bundle": str(bundle.folder), "artifacts": artifacts, "parity": parity_rows(exported)})
    else:
        _print_table(bundle)
    return OK if exported.passed else NO


def _print_table(bundle: Any) -> None:
    sizes = {entry.file: entry.bytes for entry in bundle.manifest.files}
    say("file             backend         MB  images  agreement  accuracy  PyTorch  max diff  mean diff  verdict")
    for one in bundle.manifest.artifacts:
        parity = one.parity
        say(
            f"{one.file:16} {parity.backend:11} {sizes[one.file] / 1e6:6.1f}  {parity.images:6d}  "
            f"{parity.agreement:9.2%}  {parity.accuracy:8.2%}  {parity.reference_accuracy:7.2%}  "
            f"{parity.max_difference:8.1e}  {parity.mean_difference:9.1e}  {one.verdict.value}"
        )
    say(f"bundle: {bundle.folder} ({bundle.manifest.version[:12]})")


def main() -> None:
    """Run edge-export."""
    run(command, "edge-export")
