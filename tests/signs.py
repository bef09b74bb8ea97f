"""Drawn traffic signs: priority roads and stop, as a camera at the roadside sees them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.preprocess import Pixels

SIGNS = ("priority", "stop")
SIDE = 48
"""Pixels of a photo: that of a sign some way off, cut out by a detector."""
DRAWN = 160
"""Pixels of the drawing, which is then made smaller."""


def draw_sign(kind: str, rng: np.random.Generator) -> Pixels:
    """Draw one, turned and tilted, in any light, before a blurred street: uint8 [48, 48, 3] BGR."""
    picture = _street(rng)
    sign, mask = _face(kind, rng)
    view = _view(rng)
    sign = cv2.warpPerspective(sign, view, (DRAWN, DRAWN), flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(mask, view, (DRAWN, DRAWN))[:, :, None] / 255.0
    picture = picture * (1 - mask) + sign * rng.uniform(0.35, 1.15) * mask
    if rng.random() < 0.3:  # a twig, or a post
        ends = rng.integers(0, DRAWN, (2, 2))
        cv2.line(
            picture, ends[0].tolist(), ends[1].tolist(), rng.uniform(10, 90, 3).tolist(), int(rng.integers(3, 14))
        )
    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.1, 1.2)) + rng.normal(0, rng.uniform(1, 10), small.shape)
    result: Pixels = np.clip(small, 0, 255).astype(np.uint8)
    return result


def write_signs(folder: Path, per_class: int, seed: int = 0) -> Path:
    """Write folder/kind/kind_N.png, and return the folder."""
    for place, kind in enumerate(SIGNS):
        (folder / kind).mkdir(parents=True)
        for number in range(per_class):
            rng = np.random.default_rng([seed, place, number])
            cv2.imwrite(str(folder / kind / f"{kind}_{number}.png"), draw_sign(kind, rng))
    return folder


def _street(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Paint patches of houses, trees and sky, out of focus; some as red or yellow as the signs."""
    picture = np.full((DRAWN, DRAWN, 3), rng.uniform(40, 220, 3))
    for _ in range(int(rng.integers(4, 14))):
        corner, size = rng.integers(-20, DRAWN, 2), rng.integers(10, 90, 2)
        cv2.rectangle(picture, corner.tolist(), (corner + size).tolist(), rng.uniform(0, 255, 3).tolist(), -1)
    blurred: npt.NDArray[np.float64] = cv2.GaussianBlur(picture, (0, 0), rng.uniform(2, 8))
    return blurred


def _face(kind: str, rng: np.random.Generator) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    """Return the face of a sign from straight ahead, and where it is: uint8 [160, 160, 3] and [160, 160]."""
    face, mask = np.zeros((DRAWN, DRAWN, 3), np.uint8), np.zeros((DRAWN, DRAWN), np.uint8)
    corners = 4 if kind == "priority" else 8
    outer = _corners(corners, 62)
    cv2.fillPoly(mask, [outer], 255, cv2.LINE_AA)
    white = rng.uniform(200, 250, 3).tolist()
    cv2.fillPoly(face, [outer], white)
    if kind == "priority":
        cv2.fillPoly(face, [_corners(4, 44)], (rng.uniform(0, 40), rng.uniform(160, 210), rng.uniform(215, 250)))
    else:
        cv2.fillPoly(face, [_corners(8, 57)], (rng.uniform(20, 50), rng.uniform(10, 45), rng.uniform(150, 220)))
        cv2.putText(face, "STOP", (33, 94), cv2.FONT_HERSHEY_SIMPLEX, 1.25, white, 7, cv2.LINE_AA)
    return face, mask


def _corners(count: int, radius: float) -> npt.NDArray[np.int32]:
    """Return a regular polygon: a corner on top for four, a side on top for eight."""
    angles = (np.arange(count) + (0.0 if count == 4 else 0.5)) * 2 * np.pi / count
    points = DRAWN / 2 + radius * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    return np.round(points).astype(np.int32)


def _view(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return how a sign that hangs askew is seen from a car that passes."""
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64) * DRAWN
    turn = np.deg2rad(rng.uniform(-12, 12))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * rng.uniform(0.6, 1.1)
    seen = (square - DRAWN / 2) @ matrix.T + DRAWN / 2 + rng.uniform(-18, 18, 2) + rng.uniform(-14, 14, (4, 2))
    return cv2.getPerspectiveTransform(square.astype(np.float32), seen.astype(np.float32))
