"""Photos as the network saw them, small, as parts of a page."""

from __future__ import annotations

from pathlib import Path

from edge.preprocess import InputSpec, preprocess
from train.report.thumbs import Thumb, draw_thumb


def draw_view(path: Path, spec: InputSpec) -> Thumb:
    """Draw a photo through the bin's preprocessing, at most 160 pixels large.

    Raises ImageError, OSError where it can't be read, which is when it changed after it was examined.
    """
    return draw_thumb(preprocess(path.read_bytes(), spec))
