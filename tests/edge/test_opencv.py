"""OpenCV's own words, where its level has another place in each version."""

from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from edge import opencv


@pytest.mark.parametrize("old", [False, True], ids=["today's", "4.10"])
def test_the_level_is_found_where_it_is(old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not old:
        before = opencv.log_level()
        opencv.set_log_level(opencv.SILENT)
        assert opencv.log_level() == opencv.SILENT
        opencv.set_log_level(before)
        return
    levels: list[int] = [3]
    monkeypatch.setattr(cv2, "utils", SimpleNamespace())
    said: dict[str, Any] = {"getLogLevel": lambda: levels[-1], "setLogLevel": levels.append}
    for name, function in said.items():
        monkeypatch.setattr(cv2, name, function, raising=False)
    opencv.set_log_level(opencv.SILENT)
    assert opencv.log_level() == opencv.SILENT
