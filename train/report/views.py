"""Photos as the network saw them, small, as parts of a page."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2

from edge.preprocess import InputSpec, preprocess
from train.report.thumbs import SIDE, Thumb

QUALITY = 85
"""Of the JPEG."""


def draw_view(path: Path, spec: InputSpec) -> Thumb:
    """Draw a photo through the bin's preprocessing, at most 160 pixels large.

    Raises ImageError, OSError where it can't be read, which is when it changed after it was examined.
    """
    picture = preprocess(path.read_bytes(), spec)
    scale = min(1.0, SIDE / max(spec.width, spec.height))
    size = (max(1, round(spec.width * scale)), max(1, round(spec.height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes()
    return Thumb(f"data:image/jpeg;base64,{base64.b64encode(data).decode()}", *size)
