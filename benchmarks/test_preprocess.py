"""What it costs to make a graph's input of a picture, by its size, its format and what is cut off."""

from __future__ import annotations

import cv2
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.made import SPEC
from edge.preprocess import InputSpec, Resize, fit, preprocess
from edge.steps import camera_frame

SIZES = {"vga": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080), "4k": (3840, 2160)}
FORMATS = {
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, 90],
    "png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
    "webp": [cv2.IMWRITE_WEBP_QUALITY, 90],
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resize", list(Resize))
def test_preprocessing(benchmark: BenchmarkFixture, size: str, resize: Resize) -> None:
    spec = InputSpec(224, 224, resize, 256 if resize is Resize.CROP else 0)
    result = benchmark(fit, camera_frame(*SIZES[size]), spec)
    assert result.shape == spec.shape


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("suffix", FORMATS)
def test_preprocessing_of_a_file(benchmark: BenchmarkFixture, size: str, suffix: str) -> None:
    data = cv2.imencode(f".{suffix}", camera_frame(*SIZES[size]), FORMATS[suffix])[1].tobytes()
    result = benchmark(preprocess, data, SPEC)
    assert result.shape == SPEC.shape
