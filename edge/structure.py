"""What a picture shows beneath its light: edges and texture of a thumbnail, as they stay when the light changes.

A lamp, a cloud and the exposure multiply wide parts of a picture; a thing has an outline. So the logarithm of the
picture is taken, in which what multiplies adds, and from it its mean over the neighbourhood: what is left are
outlines and texture. A soft shadow of any depth leaves next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.preprocess import Pixels

Thumbnail = npt.NDArray[np.float32]
"""float32 [3, 48, 64], BGR, levels 0 to 255."""

Cells = npt.NDArray[np.bool_]
"""bool [48, 64]."""

Floats = npt.NDArray[np.float32]

THUMBNAIL_SIZE = (64, 48)
"""Width and height in cells."""

_BLACK = 8.0
"""Levels added before a logarithm is taken, so that noise in black cells says little."""

_AROUND = (5, 5)
"""Cells of the neighbourhood whose mean is taken away."""

_TEXTURE = 27 * 0.02**2
"""What 3 x 3 cells of three channels hold in noise: below it their contrast is not fitted."""

_CONTRAST = (0.4, 2.0)
"""By how much a lamp may change the contrast of what was there: the black level and two planes of a wall do so."""

_LAMP = 0.015
"""By so much, as a natural logarithm, half of the picture must differ from the other half in how its light
changed."""

_CORNER = 0.3
"""By how much at most a lamp changes an edge between two walls."""

_STEEP = 5.0
"""And how many times as much as the light differs from place to place."""

_LITTLE, _ELSE = 0.002, 0.08
"""A lamp changes the edges of a share of cells between these two: a cloud changes fewer, and a thing or a hand
that comes in with its shadow more."""

_FEATURE = 0.15
"""Edges count with so much at most where a pushed camera is looked for, so that one thing does not speak for
all."""

_FAR = 4
"""Cells by which a camera may be pushed and its scene is found again."""

_FITS, _BETTER = 0.22, 0.12
"""Least correlation with the scene in its new place, and least gain over the old one."""

_DENSE = 0.1
"""Share of the cells of a sixteenth of the picture that differ, where all of it does."""

_OUTLINE = 2
"""So many of 3 x 3 cells differ at least where an outline goes through them: a cell that differs alone is
noise."""

_HALO = 0.25
"""A cell counts with so much of the strongest within its neighbourhood, since a glint shifts the mean around
it."""


@dataclass(frozen=True)
class Structure:
    """A thumbnail beneath its light."""

    edges: Floats
    """float32 [48, 64, 3]: natural logarithm of each level over the mean around it."""
    noise: Floats
    """float32 [48, 64]: by how much one level more would change a cell."""
    light: Floats
    """float32 [24, 32]: natural logarithm of the mean around every other cell."""


def thumbnail(image: Pixels) -> Thumbnail:
    """Shrink a BGR uint8 [h, w, 3] frame of any size to a thumbnail.

    Every cell averages 4 x 4 samples: reading all pixels of a 1080p frame would cost 60 times as much.
    """
    width, height = THUMBNAIL_SIZE
    samples = cv2.resize(image, (width * 4, height * 4), interpolation=cv2.INTER_NEAREST)
    cells = cv2.resize(samples, THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA)
    return np.stack(cv2.split(cells)).astype(np.float32)


def structure(picture: Thumbnail) -> Structure:
    """Take the light away."""
    levels = cv2.merge(list(picture)) + np.float32(_BLACK)
    logs = np.log(levels)
    light = cv2.blur(logs, _AROUND, borderType=cv2.BORDER_REFLECT)
    return Structure(logs - light, (1 / levels.min(axis=2)).astype(np.float32), light[::2, ::2].mean(axis=2))


def changed(picture: Structure, ground: Structure, edge: float, level: float, *, fit: bool = True) -> Cells:
    """Tell the cells whose edges differ by more than `edge`, and by more than `level` levels.

    `fit`: the light may have changed so that the ground's contrast did too.
    """
    known = ground.edges
    if fit:
        both = cv2.blur(_dot(picture.edges, known), (3, 3)) * 9 + _TEXTURE
        alone = cv2.blur(_dot(known, known), (3, 3)) * 9 + _TEXTURE
        known = known * np.clip(both / alone, *_CONTRAST)[..., None]
    off = cv2.absdiff(picture.edges, known)
    most = np.maximum(np.maximum(off[..., 0], off[..., 1]), off[..., 2])
    floor = np.maximum(np.float32(edge), np.float32(level) * np.maximum(picture.noise, ground.noise))
    floor = np.maximum(floor, cv2.dilate(most, np.ones(_AROUND, np.uint8)) * np.float32(_HALO))
    cells = (most > floor).view(np.uint8)
    beside = cv2.boxFilter(cells, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return cast(Cells, (cells > 0) & (beside >= _OUTLINE))


def largest(cells: Cells) -> Cells:
    """Return the largest group of cells; groups a cell apart are one."""
    if not cells.any():
        return cells
    _, groups = cv2.connectedComponents(around(cells).view(np.uint8))
    sizes = np.bincount(groups[cells])
    return cast(Cells, cells & (groups == sizes.argmax()))


def around(cells: Cells) -> Cells:
    """Return cells and those beside them."""
    return cast(Cells, cv2.dilate(cells.view(np.uint8), np.ones((3, 3), np.uint8)).view(np.bool_))


def closer(picture: Structure, scene: Structure, ground: Structure, cells: Cells) -> float:
    """Return how much the picture differs from a scene, over how much from the ground, where `cells` differ
    from it."""
    there = around(cells)
    here = picture.edges[there]
    off, known = (np.minimum(np.abs(here - other.edges[there]), 0.3).sum() for other in (scene, ground))
    return float(off / max(known, 1e-6))


def toward(ground: Structure, picture: Structure, pace: Floats | float) -> Structure:
    """Move `ground` to `picture` by the share `pace`, one for all or float32 [48, 64]."""
    share = np.asarray(pace, dtype=np.float32)
    edges = ground.edges + (picture.edges - ground.edges) * (share[..., None] if share.ndim else share)
    return Structure(edges, ground.noise + (picture.noise - ground.noise) * share, picture.light)


def relighting(picture: Structure, before: Structure, cells: Cells) -> Floats | None:
    """Return what a lamp did to the edges from one picture to the next, float32 [48, 64, 3]; None: no lamp did.

    A lamp changes the light by another share at every place, and the few edges between two walls. `cells`: where
    edges changed.
    """
    gone = picture.light - before.light
    spread = float(np.percentile(np.abs(gone - np.median(gone)), 30))  # no thing is so large
    if spread < _LAMP or cells.mean() > _ELSE or largest(cells).mean() < _LITTLE:
        return None
    change = picture.edges - before.edges
    there = around(cells)
    most = np.abs(change).max(axis=2)
    if np.percentile(most[cells], 80) > min(spread * _STEEP, _CORNER):  # an edge that no lamp makes
        return None
    change[~there | (most > _CORNER)] = 0
    return change


def relit(scene: Structure, change: Floats) -> Structure:
    """Do to a scene what a lamp did."""
    return replace(scene, edges=scene.edges + change)


def pushed(picture: Structure, ground: Structure, cells: Cells) -> tuple[float, float] | None:
    """Return by how many cells the camera was pushed, x and y; None: it was not.

    It was where the ground fits the picture much better elsewhere than in its place: what drops in covers a part
    of the ground, and the rest still fits best where it is. And where `cells`, which differ, lie everywhere.
    """
    size = (THUMBNAIL_SIZE[0] * 2, THUMBNAIL_SIZE[1] * 2)
    there, here = (
        cv2.resize(np.clip(view.edges.mean(axis=2), -_FEATURE, _FEATURE), size, interpolation=cv2.INTER_CUBIC)
        for view in (ground, picture)
    )
    far = _FAR * 2
    fits = cv2.matchTemplate(here, there[far:-far, far:-far], cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(fits)
    if not everywhere(cells) and (best < _FITS or best - fits[far, far] < _BETTER):
        return None
    return (x + _top(fits[y, :], x) - far) / 2, (y + _top(fits[:, x], y) - far) / 2


def everywhere(cells: Cells) -> bool:
    """Tell whether cells lie in all parts of the picture: no thing is so large."""
    parts = cv2.resize(cells.astype(np.float32), (4, 4), interpolation=cv2.INTER_AREA)
    return int((parts > _DENSE).sum()) >= 15


def _top(values: Floats, place: int) -> float:
    """Return by how much the top of the parabola through three values lies beside the middle one."""
    if not 0 < place < len(values) - 1:
        return 0.0
    low, high, after = (float(value) for value in values[place - 1 : place + 2])
    return (low - after) / (2 * (low - 2 * high + after) or 1.0)


def follow(
    scene: Structure, by: tuple[float, float], ground: Structure, picture: Structure, edge: float
) -> Structure:
    """Move a scene of before along with the camera, of which `ground` was pushed to become `picture`.

    Only what tells the two scenes apart is moved: where they are alike, their texture stays as sharp as it is.
    """
    matrix = _matrix(by)
    apart = (np.abs(scene.edges - ground.edges).max(axis=2) > edge).astype(np.uint8)
    apart = cv2.morphologyEx(apart, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))  # noise is not apart
    apart = cv2.warpAffine(cv2.dilate(apart, np.ones((7, 7), np.uint8)), matrix, THUMBNAIL_SIZE)
    return replace(picture, edges=np.where(apart[..., None] > 0, _moved(scene, by), picture.edges))


def new_since(picture: Structure, ground: Structure, by: tuple[float, float], edge: float, level: float) -> Cells:
    """Tell the cells whose edges the ground has nowhere near, once it has moved along with the camera."""
    there, near = _moved(ground, by), np.ones((3, 3), np.uint8)
    over = np.maximum(picture.edges - cv2.dilate(there, near), cv2.erode(there, near) - picture.edges).max(axis=2)
    seen = cv2.warpAffine(np.ones_like(picture.noise), _matrix(by), THUMBNAIL_SIZE)
    seen = cv2.erode(seen, np.ones(_AROUND, np.uint8))  # what comes into view is not new
    return cast(Cells, (over > np.maximum(edge, level * picture.noise)) & (seen > 0.5))


def kept(picture: Structure, ground: Structure, by: tuple[float, float], cells: Cells) -> Structure:
    """Return the ground that a pushed camera sees: the picture, and beneath `cells` the ground of before."""
    return replace(picture, edges=np.where(around(cells)[..., None], _moved(ground, by), picture.edges))


def _moved(scene: Structure, by: tuple[float, float]) -> Floats:
    return cast(
        Floats,
        cv2.warpAffine(
            scene.edges, _matrix(by), THUMBNAIL_SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        ),
    )


def _matrix(by: tuple[float, float]) -> Floats:
    return np.array([[1, 0, by[0]], [0, 1, by[1]]], dtype=np.float32)


def _dot(a: Floats, b: Floats) -> Floats:
    product = a * b
    return cast(Floats, product[..., 0] + product[..., 1] + product[..., 2])
