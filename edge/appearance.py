"""How a picture looks as the graph gets it, in four figures: what a lamp, a lens or another camera changes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge.preprocess import Pixels

APPEARANCE = ("brightness", "sharpness", "warmth", "tint")

Appearance = npt.NDArray[np.float32]
"""float32 [4], as in APPEARANCE.

brightness: mean luma (ITU-R BT.601), 0 to 255. sharpness: standard deviation of the luma's Laplacian, in levels:
a blurred lens lowers it, and so does haze. warmth: red minus blue, and tint: twice green minus red and blue, each
as a share of the sum of the mean channels, which exposure does not change.
"""


def appearance(tensor: Pixels) -> Appearance:
    """Measure uint8 [height, width, 3] BGR. Takes 0.2 ms at 224 x 224."""
    blue, green, red = cv2.mean(tensor)[:3]
    luma = cv2.cvtColor(tensor, cv2.COLOR_BGR2GRAY)
    total = blue + green + red + 1.0  # a black picture has no colour
    return np.array(
        (
            cv2.mean(luma)[0],
            cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))[1].item(),
            (red - blue) / total,
            (2 * green - red - blue) / total,
        ),
        dtype=np.float32,
    )
