"""A board gets wheels alone, whichever JetPack it has: pip itself is asked."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from benchmarks.declared import declared, oldest
from benchmarks.wheels import PYTHONS, resolve


@pytest.mark.parametrize("python", PYTHONS)
def test_what_a_bin_needs_is_there_as_wheels_for_aarch64(python: str) -> None:
    found = resolve(python)
    assert {"numpy", "onnxruntime", "opencv-python", "pillow", "msgspec"} <= set(found)
    assert ("tomli" in found) is ("exceptiongroup" in found) is (python == "3.10")
    assert not {"torch", "onnx", "openvino"} & set(found)


def test_a_package_without_a_wheel_is_named() -> None:
    """RPi.GPIO has been published as source alone."""
    with pytest.raises(LookupError, match=r"RPi\.GPIO"):
        resolve("3.12", ["RPi.GPIO"])


def test_every_package_of_a_bin_claims_an_oldest_version() -> None:
    names = {Requirement(one).name for one in oldest("cpu", "gpio", "openvino")}
    assert names >= {one.name for one in declared("cpu", "gpio", "openvino") if one.marker is None}
    assert "onnxruntime==1.23.2" in oldest("cpu")
