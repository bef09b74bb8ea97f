"""Where the proofs find their data, and how a figure gets into docs/measurements.md."""

from __future__ import annotations

import os
import platform
import re
import sys
from datetime import date
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
DATA = SHARED / "data" / "trashnet.zip"
WEIGHTS = SHARED / "weights" / "mobilenet_v2_imagenet.pth"
MEASUREMENTS = ROOT / "docs" / "measurements.md"
WORK = ROOT / "runs" / "proof"

LIBRARIES = (
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "lightning",
    "scikit-learn",
    "pillow",
    "opencv-python",
)

Row = tuple[str, str, str]
"""Figure, what was measured, target."""


def keep(section: str, title: str, rows: list[Row]) -> None:
    """Replace a section of docs/measurements.md, and print it."""
    lines = [f"<!-- {section} -->", f"{title}. `make proof-{section}`. {_machine()}.", ""]
    lines += ["| figure | measured | target |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    lines.append(f"<!-- /{section} -->")
    text = "\n".join(lines)
    old = MEASUREMENTS.read_text()
    pattern = re.compile(f"<!-- {section} -->.*<!-- /{section} -->", re.DOTALL)
    if not pattern.search(old):
        sys.exit(f"{MEASUREMENTS} has no section {section}")
    MEASUREMENTS.write_text(pattern.sub(lambda _: text, old))
    sys.stdout.write(text + "\n")


def _machine() -> str:
    import torch  # noqa: PLC0415  tests of edge alone use the proofs' pieces without it

    name = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = ", ".join(filter(None, map(_version, LIBRARIES)))
    return f"{date.today().isoformat()}, {len(os.sched_getaffinity(0))} cores of {name}, {gpu}; {versions}"


def _version(library: str) -> str:
    try:
        return f"{library} {metadata.version(library)}"
    except metadata.PackageNotFoundError:
        return ""
