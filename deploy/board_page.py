"""The page of a board's proof: one file that needs nothing else. Tables, and curves of a bin at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light; --ink: #20242a; --faint: #646b75; --line: #e3e6ea; --blue: #0c346e }
body { margin: 0 auto; max-width: 1040px; padding: 2rem 1.25rem 4rem; background: #fff; color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
h1 { margin: 0 0 .5rem; font-size: 1.75rem; line-height: 1.2 }
h2 { margin: 2.25rem 0 .6rem; font-size: 1.2rem }
.verdict { padding: .7rem 1.1rem; border-left: 4px solid #22683f; background: #f0f7f2 }
.verdict.failed { border-color: #d97706; background: #fdf6ec }
.note { color: var(--faint); font-size: .875rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; font-variant-numeric: tabular-nums }
th { color: var(--faint); font-size: .8125rem; font-weight: 500; text-align: left; vertical-align: bottom }
th, td { padding: .4rem 1.1rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
.number { text-align: right; white-space: nowrap }
td { white-space: nowrap } .long { min-width: 14rem; white-space: normal }
.failed { color: #a3410b; font-weight: 600 }
.verdict.failed { color: inherit; font-weight: inherit }
figure { margin: 1rem 0 0 } figcaption { color: var(--faint); font-size: .875rem }
svg { display: block; width: 100%; height: auto; font-size: 12px; fill: var(--faint) }
svg polyline { fill: none; stroke: var(--blue); stroke-width: 1.5 } svg line { stroke: var(--line) }
"""
WIDTH, HEIGHT, LEFT, FOOT = 1000, 150, 55, 20
"""Of a curve, in the drawing's own units, and what its numbers take."""
MOST_POINTS = 500

Json = Mapping[str, Any]
Rows = Sequence[Sequence[object]]


def page(proof: Json) -> str:
    """Return the page of what board-proof.json holds."""
    steps, bundle = proof["steps"], proof["bundle"]
    failed = [step["name"] for step in steps if step["result"] == "failed"]
    verdict = f"Failed: {', '.join(failed)}." if failed else "All that was possible here passed."
    its = proof["system"]
    system = f"{its['system']} {its['release']}, {its['architecture']}, Python {its['python']}"
    began = proof["started"][:16].replace("T", " ")
    parts = [
        f"<h1>{_text(proof['board'])}</h1>",
        f'<p class="verdict{" failed" if failed else ""}">{_text(verdict)}</p>',
        f'<p class="note">{_text(began)} UTC, {proof["seconds"] / 60:.1f} minutes; bundle '
        f"{_text(bundle['name'])} {_text(bundle['version'][:12])}; {_text(proof['power'] or 'no power modes')}; "
        f"{_text(system)}; binsight {_text(its['binsight'])}</p>",
        "<h2>What was tried</h2>",
        table(("step", "result", "s", "why"), _tried(steps)),
        *_findings(steps), *_parity(steps), *_latency(steps),
    ]  # fmt: skip
    for step in steps:
        if step["found"].get("samples"):
            parts += _work(step)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Board proof</title><style>{STYLE}</style>{''.join(parts)}</html>\n"
    )


def _tried(steps: Sequence[Json]) -> Rows:
    """Return a row for each step; below them those that were not possible, one for each reason."""
    impossible: dict[str, list[str]] = {}
    for step in steps:
        if step["result"] == "not possible here":
            impossible.setdefault(step["why"], []).append(step["name"])
    others = [step for step in steps if step["result"] != "not possible here"]
    rows = [[one["name"], one["result"], one["seconds"], one["why"]] for one in others]
    return [*rows, *([", ".join(names), "not possible here", "", why] for why, names in impossible.items())]


def _findings(steps: Sequence[Json]) -> list[str]:
    found = [one for step in steps for one in step["found"].get("findings", ())]
    rows = [[one["check"], one["state"], one["found"], one["mend"]] for one in found if one["state"] != "absent"]
    return _part("What edge-doctor found", ("check", "state", "found", "mend"), rows)


def _parity(steps: Sequence[Json]) -> list[str]:
    head = (
        "graph", "engine", "verdict", "photos", "agrees with PyTorch, %", "right, %", "PyTorch right, %",
        "lower bound, points", "largest difference",
    )  # fmt: skip
    rows = [
        [
            it["precision"], it["provider"], it["verdict"], it["images"], 100 * it["agreement"],
            100 * it["accuracy"], 100 * it["reference_accuracy"], 100 * it["lower_bound"],
            f"{it['max_difference']:.1e}",
        ]
        for it in (step["found"] for step in steps)
        if "agreement" in it
    ]  # fmt: skip
    return _part("Parity: does it answer here as PyTorch did", head, rows)


def _latency(steps: Sequence[Json]) -> list[str]:
    rows = [
        [step["found"].get("power") or "-", row["precision"], row["backend"], row["p50_ms"], row["p99_ms"],
         row["fps"], row["rounds"], row["verdict"]]
        for step in steps
        for row in step["found"].get("rows", ())
    ]  # fmt: skip
    head = ("power mode", "precision", "backend", "p50, ms", "p99, ms", "per second", "photos", "verdict")
    return _part("Latency of one photo", head, rows)


def _work(step: Json) -> list[str]:
    found, samples = step["found"], step["found"]["samples"]
    infer = (found.get("latency_ms") or {}).get("infer") or {}
    slowed = sum(bool(one["throttled"]) for one in samples)
    grown = found["growth_mib_per_hour"]
    rows = [
        ["frames, and a second", f"{found.get('frames', 0)}, {found.get('fps', 0):.1f}"],
        ["inference, p50 and p99, ms", " and ".join(f"{value:.2f}" for value in infer.values())],
        ["memory of the daemon at most, MiB", f"{max(one['resident_mib'] for one in samples):.0f}"],
        ["it grows by, MiB an hour", "too short to tell" if grown is None else f"{grown:+.1f}"],
        ["memory of the board left, MiB", f"{min(one['available_mib'] or 0 for one in samples):.0f}"],
        ["hottest, degrees Celsius", str(max(_hottest(one) or 0 for one in samples) or "not told")],
        ["samples in which it was slowed down", f"{slowed} of {len(samples)}"],
    ]
    curves = (
        ("hottest zone, degrees Celsius", _hottest),
        ("memory of the daemon, MiB", lambda one: one["resident_mib"]),
        ("memory of the board that is left, MiB", lambda one: one["available_mib"]),
        ("fastest core, MHz", lambda one: one["cpu_mhz"]),
        ("GPU, MHz", lambda one: one["gpu_mhz"]),
    )
    drawn = [curve(title, samples, value) for title, value in curves]
    title = f"A bin at work for {samples[-1]['seconds'] / 60:.1f} minutes"
    return [f"<h2>{title}</h2>", table(("figure", "value"), rows), *drawn]


def _hottest(sample: Json) -> float | None:
    return max(sample["celsius"].values(), default=None)


def curve(title: str, samples: Sequence[Json], value: Callable[[Json], float | None]) -> str:
    """Draw a value of each sample over time, as SVG in a figure; or say that the machine does not tell it."""
    points = [(one["seconds"], level) for one in samples if (level := value(one)) is not None]
    points = points[:: -(-len(points) // MOST_POINTS) or 1]
    if len(points) < 2:
        return f"<figure><figcaption>{title}: not told by this machine</figcaption></figure>"
    (begin, end), levels = (points[0][0], points[-1][0]), [level for _, level in points]
    low, high = min(levels), max(levels)
    middle, span = (low + high) / 2, max(high - low, abs(high) / 50, 1e-9)
    low, high = middle - span / 2, middle + span / 2

    def place(seconds: float, level: float) -> tuple[float, float]:
        across = LEFT + (seconds - begin) / max(end - begin, 1e-9) * (WIDTH - LEFT)
        return across, 10 + (high - level) / span * (HEIGHT - FOOT - 20)

    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
    rules = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{level:.{0 if high >= 1000 else 1}f}</text>'
        for level in (low, middle, high)
        for y in (place(begin, level)[1],)
    )
    return (
        f'<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{title}">{rules}<polyline points="{drawn}"/>'
        f'<text x="{LEFT}" y="{HEIGHT - 4}">{begin:.0f} s</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">{end:.0f} s</text></svg></figure>'
    )


def _part(title: str, head: Sequence[str], rows: Rows) -> list[str]:
    return [f"<h2>{title}</h2>", table(head, rows)] if rows else []


def table(head: Sequence[str], rows: Rows) -> str:
    """Return a table; numbers stand at the right, what failed stands out."""
    numbers = [any(isinstance(row[place], (int, float)) for row in rows) for place in range(len(head))]

    def cell(kind: str, value: object, number: bool) -> str:
        bad = kind == "td" and value in ("failed", "fail", "FAIL")
        name = "number" if number else "failed" if bad else "long" if len(str(value)) > 30 else ""
        shown = f"{value:.2f}" if isinstance(value, float) else value
        return f'<{kind} class="{name}">{_text(shown)}</{kind}>'

    def line(kind: str, row: Sequence[object]) -> str:
        return f"<tr>{''.join(cell(kind, value, number) for value, number in zip(row, numbers, strict=True))}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table>{line("th", head)}{body}</table></div>'


def _text(value: object) -> str:
    return escape(str(value))
