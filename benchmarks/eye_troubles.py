"""Trouble planted into a camera's pictures: what a lens, a mount, a lamp and a driver do to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Spoil = Callable[[Pixels, np.random.Generator], Pixels]
"""A picture and chance to the picture with the trouble."""


@dataclass(frozen=True)
class Trouble:
    """One trouble at one severity."""

    state: str
    """What the camera should find itself to be."""
    name: str
    of: Callable[[np.random.Generator], Spoil]
    """Draws what stays the same from picture to picture."""
    also: tuple[str, ...] = ()
    """Other states that are as right."""


def taken(scene: Floats, rng: np.random.Generator, noise: float = 2.0, quality: int = 85) -> Pixels:
    """Put a sensor's noise and a JPEG on top of what the lens gives: float32 [height, width, 3], levels."""
    noisy = scene + rng.normal(0, noise, scene.shape).astype(np.float32)
    _, data = cv2.imencode(".jpg", cv2.convertScaleAbs(np.maximum(noisy, 0)), (cv2.IMWRITE_JPEG_QUALITY, quality))
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def light(gain: float) -> Trouble:
    """Another exposure, as a share."""

    def of(_: np.random.Generator) -> Spoil:
        return lambda picture, rng: taken(picture.astype(np.float32) * gain, rng)

    return Trouble("dark" if gain < 1 else "over_exposed", f"{gain:g} times the light", of)


def defocus(sigma: float) -> Trouble:
    """A lens out of focus; sigma in thousandths of the width."""

    def of(_: np.random.Generator) -> Spoil:
        return lambda picture, rng: taken(_soft(picture, sigma / 1000), rng)

    return Trouble(
        "blurred", f"defocus, sigma {sigma / 10:g} % of the width", of, ("blocked",) if sigma > 12 else ()
    )


def smear(share: float) -> Trouble:
    """Grease on so much of the lens: blurred and veiled, without an edge."""

    def of(drawn: np.random.Generator) -> Spoil:
        spot: list[Floats] = []
        seed = int(drawn.integers(1 << 30))

        def spoil(picture: Pixels, rng: np.random.Generator) -> Pixels:
            if not spot:
                spot.append(_spot(picture.shape, share, np.random.default_rng(seed)))
            greasy = _soft(picture, 0.012) * 0.85 + 0.15 * float(picture.mean())
            return taken(picture + (greasy - picture) * spot[0], rng)

        return spoil

    return Trouble("blurred", f"smear over {share:.0%} of the lens", of)


def cover(share: float, level: float) -> Trouble:
    """Something close to the lens, out of focus, over so much of the picture."""

    def of(drawn: np.random.Generator) -> Spoil:
        colour = (level * drawn.uniform(0.6, 1.4, 3)).astype(np.float32)
        seed = int(drawn.integers(1 << 30))

        def spoil(picture: Pixels, rng: np.random.Generator) -> Pixels:
            height, width = picture.shape[:2]
            down, across = np.mgrid[0:height, 0:width].astype(np.float32)
            lit = 0.8 + 0.4 * (across / width + down / height) / 2
            spot = 1.0 if share >= 1 else _spot(picture.shape, share, np.random.default_rng(seed))
            return taken(picture + (lit[..., None] * colour - picture) * spot, rng)

        return spoil

    return Trouble("blocked", f"cover of level {level:g} over {share:.0%}", of, ("dark",) if level < 20 else ())


def shift(share: float) -> Trouble:
    """A camera that was pushed, by so much of the picture's width."""

    def of(drawn: np.random.Generator) -> Spoil:
        angle = drawn.uniform(0, 2 * np.pi)
        turn = drawn.uniform(-1.5, 1.5)

        def spoil(picture: Pixels, rng: np.random.Generator) -> Pixels:
            height, width = picture.shape[:2]
            matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1)
            matrix[:, 2] += share * width * np.array([np.cos(angle), np.sin(angle)])
            return cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)

        return spoil

    return Trouble("moved", f"shift by {share:.0%}, with a turn of up to 1.5 degrees", of)


def freeze(encoded: bool) -> Trouble:
    """The same picture again and again, to the bit or encoded anew in changing quality."""

    def of(_: np.random.Generator) -> Spoil:
        first: list[Pixels] = []

        def spoil(picture: Pixels, rng: np.random.Generator) -> Pixels:
            if not first:
                first.append(picture)
            if not encoded:
                return first[0]
            quality = int(rng.integers(86, 92))
            return cv2.imdecode(
                cv2.imencode(".jpg", first[0], (cv2.IMWRITE_JPEG_QUALITY, quality))[1], cv2.IMREAD_COLOR
            )

        return spoil

    return Trouble("frozen", "frozen, encoded anew" if encoded else "frozen", of)


TROUBLES = (
    *map(light, (0.01, 0.04, 0.07, 4.0, 6.0, 10.0)),
    *map(defocus, (5, 7, 10, 15)),
    *map(smear, (0.4, 0.6, 0.9)),
    *(cover(share, level) for share, level in ((1.0, 2), (1.0, 40), (1.0, 120), (0.93, 60))),
    *map(shift, (0.05, 0.08, 0.12, 0.2)),
    *map(freeze, (False, True)),
)


def _soft(picture: Pixels, share: float) -> Floats:
    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), share * picture.shape[1])


def _spot(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> Floats:
    """Return a soft spot that covers so much of the picture: float32 [height, width, 1], 0 to 1."""
    height, width = shape[:2]
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = rng.uniform(0.2, 0.8, 2)
    far = np.hypot((across / width - x) * rng.uniform(0.8, 1.2), down / height - y)
    edge = float(np.quantile(far, share))
    return (1 / (1 + np.exp(np.clip((far - edge) * 40, -30, 30))))[..., None].astype(np.float32)
