from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.backends import Answers
from edge.bundle import PARITY_PHOTOS, Bundle, write
from edge.errors import BundleError
from edge.parity_photos import ParityPhotos, pack, read
from edge.preprocess import Pixels
from tests.made import draw
from tests.tiny import make_bundle, png

SIZE = 32


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("photos") / "bundle", size=SIZE)


def tensors() -> tuple[Pixels, ...]:
    """Drawn photos, noise, which no encoder can shrink, and the levels that rounding would move."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    ramp = np.arange(SIZE * SIZE * 3, dtype=np.uint16).astype(np.uint8).reshape(SIZE, SIZE, 3)
    return (draw("disc", 1, SIZE), draw("bars", 2, SIZE), noise, ramp, np.zeros_like(noise), noise // 128 * 255)


def photos(strangeness: bool = True) -> ParityPhotos:
    shown = tensors()
    rng = np.random.default_rng(1)
    strange = rng.random(len(shown)).astype(np.float32) if strangeness else None
    probabilities = rng.dirichlet(np.ones(3), len(shown)).astype(np.float32)
    return ParityPhotos(shown, np.arange(len(shown)) % 3, Answers(probabilities, strange))


def holding(bundle: Bundle, folder: Path, data: bytes) -> Bundle:
    return write(folder, bundle.manifest, {**bundle.contents, PARITY_PHOTOS: data})


@pytest.mark.parametrize("strangeness", [True, False])
def test_every_pixel_and_every_answer_comes_back(made: Bundle, tmp_path: Path, strangeness: bool) -> None:
    packed = photos(strangeness)
    again = read(holding(made, tmp_path / "bundle", pack(packed)))
    assert len(again.tensors) == len(packed.tensors)
    for got, expected in zip(again.tensors, packed.tensors, strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(again.truth, packed.truth)
    np.testing.assert_array_equal(again.reference.probabilities, packed.reference.probabilities)
    if strangeness:
        assert again.reference.strangeness is not None
        np.testing.assert_array_equal(again.reference.strangeness, packed.reference.strangeness)
    else:
        assert again.reference.strangeness is None


def test_equal_photos_give_equal_bytes() -> None:
    assert pack(photos()) == pack(photos())


def test_photos_take_less_than_they_would_raw() -> None:
    drawn = tuple(draw("disc", seed, 64) // 8 * 8 for seed in range(5))
    packed = pack(ParityPhotos(drawn, np.zeros(5, dtype=np.int64), Answers(np.full((5, 3), 1 / 3, np.float32))))
    assert len(packed) < 0.6 * sum(one.nbytes for one in drawn)


def test_a_bundle_without_them_says_so(made: Bundle) -> None:
    with pytest.raises(BundleError, match=r"has no parity.npz; export the run again"):
        read(made)


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.pop(name)


def _with(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.update({name: np.asarray(value)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("truth"), "truth"),
        (_without("probabilities"), "probabilities"),
        (_without("photo_3"), "photo_3"),
        (_with("truth", []), "truth is float64"),
        (_with("truth", np.zeros(0, dtype=np.int64)), r"truth is int64 \[0\]"),
        (_with("truth", np.int64(3)), "can't be read"),
        (_with("truth", np.array([0, 1, 2, 0, 1, 3])), "0 to 2"),
        (_with("truth", np.array([0, 1, 2, 0, 1, -1])), "0 to 2"),
        (_with("probabilities", np.zeros((6, 4), dtype=np.float32)), r"\[6, 4\]; expected float32 \[6, 3\]"),
        (_with("probabilities", np.full((6, 3), np.nan, dtype=np.float32)), "all numbers"),
        (_with("probabilities", np.zeros((6, 3))), "probabilities is float64"),
        (_with("strangeness", np.zeros(5, dtype=np.float32)), r"strangeness is float32 \[5\]"),
        (_with("truth", np.array([print] * 6, dtype=object)), "can't be read"),
    ],
)
def test_what_can_not_be_the_bundles_is_refused(
    made: Bundle, tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    with np.load(io.BytesIO(pack(photos())), allow_pickle=False) as file:
        arrays = dict(file)
    change(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with pytest.raises(BundleError, match=f"parity.npz is broken.*{words}.*export the run again"):
        read(holding(made, tmp_path / "bundle", buffer.getvalue()))


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_archive_is_refused(made: Bundle, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BundleError, match=r"can't be read.*export the run again"):
        read(holding(made, tmp_path / "bundle", data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"broken", "photo_1 can't be decoded"),
        (png(np.zeros((SIZE, SIZE - 1, 3), dtype=np.uint8)), r"photo_1 is \[32, 31, 3\], expected \[32, 32, 3\]"),
        (png(np.zeros((9999, 9999, 3), dtype=np.uint8)), "over the limit of 1024 pixels"),
    ],
)
def test_a_photo_that_is_broken_is_named_when_it_is_decoded(
    made: Bundle, tmp_path: Path, data: bytes, words: str
) -> None:
    with np.load(io.BytesIO(pack(photos())), allow_pickle=False) as file:
        arrays = {**file, "photo_1": np.frombuffer(data, dtype=np.uint8)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    shown = read(holding(made, tmp_path / "bundle", buffer.getvalue())).tensors
    np.testing.assert_array_equal(shown[0], tensors()[0])
    with pytest.raises(BundleError, match=f"parity.npz is broken: .*{words}.*export the run again"):
        shown[1]
