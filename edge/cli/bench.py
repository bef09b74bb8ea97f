"""edge-bench."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from edge.backends import DEFAULT, Options
from edge.bench import Bench, BenchSettings, Row, bench, name_of, tell
from edge.bundle import ONNX_RUNTIME, Bundle, load
from edge.chart import Series, latency_chart
from edge.cli.app import NO, OK, cache_folder, progress_bar, run, say, say_json, shared_options
from edge.cli.compare import compare as gate
from edge.cli.engine import tensorrt_options
from edge.draw import save_png
from edge.errors import UsageError
from edge.gate import GateSettings
from edge.manifest import Precision, Verdict

EPILOG = """\b
Examples:
  edge-bench runs/photos-mobilenet_v2/bundle
  edge-bench runs/photos-mobilenet_v2/bundle --data more-photos.zip --threads 1
  edge-bench runs/photos-mobilenet_v2/bundle --threads 1 --compare baseline.json
"""
HEADER = ("format", "backend", "MB", "accuracy", "agrees", "p50", "p99", "FPS", "verdict")
LEFT = frozenset(("format", "backend", "verdict"))
"""Columns of words; the others are numbers, and end at the right."""
NOT_MEASURED = "-"


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Measure accuracy on these labelled photos.")
@click.option(
    "--rounds", type=click.IntRange(1, 1_000_000), default=300, show_default=True, help="Timed photos of each row."
)
@click.option(
    "--seconds", type=click.FloatRange(0), default=300.0, show_default=True, help="End timing after so long."
)
@click.option("--threads", type=click.IntRange(0), default=0, help="Of one inference; 0: the engine chooses.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw latencies and accuracies into this PNG.")
@click.option("--compare", type=click.Path(path_type=Path), help="What each step costs, against these baselines.")
@click.option("--renew", is_flag=True, help="With --compare: keep what is measured as the baseline.")
@tensorrt_options
@shared_options
def command(
    bundle: Path,
    data: Path | None,
    rounds: int,
    seconds: float,
    compare: Path | None,
    renew: bool,
    plot: Path | None,
    options: Options,
    as_json: bool,
) -> int:
    """Judge and time every precision of BUNDLE on every backend of this machine, and recommend one.

    Each is judged here, on the photos that BUNDLE brings. Recommended is the fastest that passes; exits 1 where
    none does. With --compare nothing is judged or recommended: it exits 1 where a step costs more than it used to.
    """
    loaded = load(bundle)
    if compare or renew:
        if plot:
            raise UsageError("--compare measures cost alone; leave --plot out")
        return _compare(loaded, compare, GateSettings(options, rounds, seconds), data, renew, as_json)
    found = bench(loaded, BenchSettings(options, data, cache_folder(), rounds, seconds), progress_bar)
    if as_json:
        say_json(bench_json(found, loaded))
    else:
        _print(found, data)
        _print_recommendation(found, bundle, options)
    if plot:  # last: the figures are out, whatever becomes of the picture
        save_png(plot, latency_chart(_title(found, loaded), series_of(found)))
    return OK if found.recommended else NO


def series_of(found: Bench) -> list[Series]:
    """Return what --plot draws: a row each."""
    columns = [] if found.samples is None else found.samples.T
    return [
        Series(
            _name(row),
            column,
            row.judged.accuracy.share if row.judged.accuracy else None,
            good=row.judged.verdict is Verdict.PASS,
            best=row is found.recommended,
        )
        for row, column in zip(found.rows, columns, strict=False)
    ]


def _title(found: Bench, bundle: Bundle) -> str:
    its, device = found.accuracy, found.rows[0].backend.device
    on = f", accuracy on {its.images} photos" if its else ""
    return f"{bundle.manifest.name} on {device}: inference, one photo at a time{on}"


def _compare(
    bundle: Bundle, file: Path | None, settings: GateSettings, data: Path | None, renew: bool, as_json: bool
) -> int:
    if file is None:
        raise UsageError("--renew needs --compare FILE, the file of baselines to write")
    if data is not None:
        raise UsageError("--compare measures cost alone; leave --data out")
    return gate(bundle, file, settings, renew=renew, as_json=as_json)


def bench_json(found: Bench, bundle: Bundle) -> dict[str, object]:
    """Return what --json holds."""
    best, its = found.recommended, found.accuracy
    return {
        "bundle": {"name": bundle.manifest.name, "version": bundle.manifest.version},
        "images": its.images if its else 0,
        "trained_on": its.trained_on if its else 0,
        "validated_on": its.validated_on if its else 0,
        "unreadable": its.unreadable if its else 0,
        "rows": [_row_json(row) for row in found.rows],
        "skipped": [
            {
                "precision": one.precision.value if one.precision else None,
                "backend": one.backend,
                "reason": one.reason,
            }
            for one in found.skipped
        ],
        "recommended": (
            {"precision": best.backend.precision.value, "backend": best.backend.name} if best else None
        ),
    }


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table, the header first."""
    cells = [HEADER, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if name in LEFT else cell.rjust(width)
            for name, cell, width in zip(HEADER, line, widths, strict=True)
        ).rstrip()
        for line in cells
    ]


def recommendation(found: Bench) -> list[str]:
    """Say which row is recommended, what it is beside fp32 on ONNX Runtime, and why no faster one is."""
    best = found.recommended
    faster = [row for row in found.rows if best and row.latency.p50_ms < best.latency.p50_ms]
    refused = [f"{_name(row)} is faster and not recommended: {row.judged.verdict.value}" for row in faster]
    if best is None:
        verdicts = [row.judged.verdict for row in found.rows]
        counts = ", ".join(
            f"{verdicts.count(one)} {one.value}" for one in (Verdict.FAIL, Verdict.INCONCLUSIVE) if one in verdicts
        )
        return [f"recommended: none, since no row passed ({counts})"]
    plain = next(
        (
            row
            for row in found.rows
            if (row.backend.precision, row.backend.name) == (Precision.FP32, ONNX_RUNTIME) and row is not best
        ),
        None,
    )
    return [*refused, f"recommended: {_name(best)}{': ' + _against(best, plain) if plain else ''}"]


def _against(best: Row, plain: Row) -> str:
    times = plain.latency.p50_ms / best.latency.p50_ms
    said = f"{times:.1f} times as fast as {_name(plain)}"
    here, there = best.judged.accuracy, plain.judged.accuracy
    if here is None or there is None:
        return said
    points = f"{abs(here.share - there.share) * 100:.1f}"
    if points == "0.0":
        return f"{said}, as often right"
    return f"{said}, {points} points {'less' if here.share < there.share else 'more'} accurate"


def _print(found: Bench, data: Path | None) -> None:
    for line in table(found.rows):
        say(line)
    say("")
    rounds = found.rows[0].latency.rounds
    say(f"p50 and p99: milliseconds of inference, one photo at a time, {rounds} rounds in turns")
    for line in _basis(found, data):
        say(line)
    for row in found.rows:
        if row.judged.verdict is not Verdict.PASS:
            say(f"{_name(row)}: {row.judged.verdict.value}: {row.judged.reason}")
    for one in found.skipped:
        say(f"skipped {tell([one])}")


def _basis(found: Bench, data: Path | None) -> list[str]:
    """Say what verdict, agreement and accuracy rest on."""
    what = "verdict and agreement" if data else "verdict, agreement and accuracy"
    own = "as exported" if any(row.judged.as_exported for row in found.rows) else "on this device"
    its = found.accuracy
    if its is None:
        return []
    if data is None:
        return [f"{what}: {own}, on {its.images} photos that had no part in training"]
    lines = [
        f"{what}: {own}, on the bundle's own photos",
        f"accuracy: on {its.images} photos of {data}; {its.trained_on} that trained the model left out, "
        f"{its.unreadable} unreadable",
    ]
    if its.validated_on:
        lines.append(f"{its.validated_on} of them chose the model's epoch: the figure is a little kind")
    return lines


def _print_recommendation(found: Bench, folder: Path, options: Options) -> None:
    say("")
    for line in recommendation(found):
        say(line)
    if found.recommended:
        say(f"  {run_line(found.recommended, folder, options)}")


def run_line(best: Row, folder: Path, options: Options) -> str:
    """Return the command that runs the row as it was measured."""
    info = best.backend
    words = ["edge-run", shlex.quote(str(folder)), "SOURCE", "--precision", info.precision.value]
    words += ["--backend", info.name]
    if options.threads:
        words += ["--threads", str(options.threads)]
    if info.name == "tensorrt" and options.max_batch != DEFAULT.max_batch:
        words += ["--max-batch", str(options.max_batch)]
    if info.name == "tensorrt" and options.workspace != DEFAULT.workspace:
        words += ["--workspace", str(options.workspace >> 20)]
    return " ".join(words)


def _cells(row: Row) -> tuple[str, ...]:
    info, judged, latency = row.backend, row.judged, row.latency
    return (
        info.file.removeprefix("model.").removesuffix(".onnx"),
        info.name,
        _three(info.megabytes),
        f"{judged.accuracy.share:.1%}" if judged.accuracy else NOT_MEASURED,
        f"{judged.agreement:.1%}" if judged.agreement is not None else NOT_MEASURED,
        _three(latency.p50_ms),
        _three(latency.p99_ms),
        _three(latency.fps),
        judged.verdict.value,
    )


def _three(value: float) -> str:
    """Return a number with three digits that count, at most three behind the point, and all before it."""
    if value <= 0:  # unknown
        return NOT_MEASURED
    return f"{value:.{min(3, max(0, 2 - math.floor(math.log10(value))))}f}"


def _row_json(row: Row) -> dict[str, object]:
    info, judged, latency = row.backend, row.judged, row.latency
    return {
        "precision": info.precision.value,
        "backend": info.name,
        "file": info.file,
        "provider": info.provider,
        "device": info.device,
        "threads": info.threads,
        "versions": dict(info.versions),
        "megabytes": info.megabytes,
        "accuracy": judged.accuracy.share if judged.accuracy else None,
        "images": judged.accuracy.images if judged.accuracy else 0,
        "agreement": judged.agreement,
        "p50_ms": latency.p50_ms,
        "p99_ms": latency.p99_ms,
        "fps": latency.fps,
        "rounds": latency.rounds,
        "verdict": judged.verdict.value,
        "reason": judged.reason,
        "as_exported": judged.as_exported,
    }


def _name(row: Row) -> str:
    return name_of(row.backend.precision, row.backend.name)


def main() -> None:
    """Run edge-bench."""
    run(command, "edge-bench")
