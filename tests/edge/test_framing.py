"""Turn, mirror and region: one way of the picture, whatever the order of the work."""

import itertools

import numpy as np
import pytest

from edge.errors import SourceError, UsageError
from edge.framing import WHOLE, Flip, Framing, Region, framed

PICTURE = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)


def plain(image, rotate, flip, region):
    """Say it the slow way: turn, mirror, cut."""
    image = np.rot90(image, -rotate // 90)
    image = {Flip.NONE: image, Flip.HORIZONTAL: image[:, ::-1], Flip.VERTICAL: image[::-1]}[flip]
    height, width = image.shape[:2]
    return image[
        round(region.y * height) : round((region.y + region.height) * height),
        round(region.x * width) : round((region.x + region.width) * width),
    ]


@pytest.mark.parametrize(("rotate", "flip"), [*itertools.product((0, 90, 180, 270), Flip)])
def test_turns_mirrors_then_cuts(rotate, flip):
    for region in (WHOLE, Region(0.25, 0.5, 0.5, 0.25), Region(0.0, 0.25, 0.75, 0.75)):
        got = framed(PICTURE, Framing(rotate, flip, region))
        np.testing.assert_array_equal(got, plain(PICTURE, rotate, flip, region))


def test_what_needs_no_turn_is_not_copied():
    cut = framed(PICTURE, Framing(region=Region(0.5, 0.5, 0.5, 0.5)))
    assert np.shares_memory(cut, PICTURE)


@pytest.mark.parametrize("region", [(0.5, 0, 0.6, 1), (-0.1, 0, 1, 1), (0, 0, 0, 1), (0, 0, float("nan"), 1)])
def test_a_region_lies_within_the_picture(region):
    with pytest.raises(UsageError, match="x,y,width,height"):
        Region(*region)


def test_a_region_shows_something():
    with pytest.raises(SourceError, match="12 x 80 pixels"):
        framed(PICTURE, Framing(region=Region(0, 0, 0.1, 1)))


def test_turns_are_right_angles():
    with pytest.raises(UsageError, match="45"):
        Framing(45)
