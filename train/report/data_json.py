"""report.json: what edge-data found, for programs."""

from __future__ import annotations

from typing import Any

from train.dataset.survey import Survey, spoiling
from train.report.spread import Spread, spread_of_brightness, spread_of_size
from train.report.tally import tally


def as_json(survey: Survey, data: str) -> dict[str, Any]:
    """Return what `--json` prints and report.json holds.

    Names that are no text, as a file system may hold them, have \\udcNN for each byte that is none.
    """
    examined = survey.examined
    its = tally(examined)
    spreads = {
        "megapixels": spread_of_size(examined.samples, examined.labels),
        "brightness": spread_of_brightness(examined.samples, examined.labels),
    }
    found: dict[str, Any] = {
        "data": data,
        "images": its.images,
        "unreadable": len(examined.broken),
        "bytes": its.bytes,
        "classes": its.classes,
        "readable": its.readable,
        "splits": {role.value: counts for role, counts in its.splits.items()},
        "imbalance_ratio": its.imbalance,
        "spoiling": len(spoiling(survey)),
        "findings": [
            {"kind": one.kind.value, "files": one.files, "detail": one.detail} for one in survey.findings
        ],
        "formats": its.formats,
        "sizes": its.sizes,
        "cameras": its.cameras,
        "distributions": {name: _spread(spread) for name, spread in spreads.items()},
    }
    return {name: _clean(value) for name, value in found.items()}


def _spread(spread: Spread) -> dict[str, Any]:
    return {
        "edges": [round(edge, 6) for edge in spread.edges.tolist()],
        "medians": spread.medians,
        "classes": {label: counts.tolist() for label, counts in spread.counts.items()},
    }


def _clean(value: Any) -> Any:
    """Make lists of tuples, and of lone surrogates what strict readers of JSON take."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(inner) for inner in value]
    return value
