"""Engines that a device keeps: whole, of this very device, and no more than it has room for."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest

from edge.backends.trt.store import MOST_ENGINES, PLAN, RECORD, Key, Store
from edge.errors import BackendError

KEY = Key(
    onnx="0" * 64,
    library="tensorrt 10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    driver="12.6",
    max_batch=1,
    workspace=1 << 30,
)
PLAN_BYTES = bytes(range(256)) * 8


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "engines")


def _others() -> list[Key]:
    """KEY with each of its fields changed in turn."""
    changed = []
    for field in fields(Key):
        value = getattr(KEY, field.name)
        changed.append(replace(KEY, **{field.name: value + 1 if isinstance(value, int) else value + "x"}))
    return changed


class TestKept:
    def test_what_was_kept_is_loaded(self, store: Store) -> None:
        assert store.load(KEY) is None
        store.keep(KEY, PLAN_BYTES)
        assert store.load(KEY) == PLAN_BYTES

    def test_a_new_one_takes_the_place_of_the_old(self, store: Store) -> None:
        store.keep(KEY, PLAN_BYTES)
        store.keep(KEY, PLAN_BYTES[::-1])
        assert store.load(KEY) == PLAN_BYTES[::-1]

    @pytest.mark.parametrize("other", _others(), ids=[field.name for field in fields(Key)])
    def test_another_gpu_version_profile_or_graph_has_none(self, store: Store, other: Key) -> None:
        store.keep(KEY, PLAN_BYTES)
        assert other.name != KEY.name
        assert store.load(other) is None
        # Also where somebody moved the engine's folder there.
        (store.folder / KEY.name).rename(store.folder / other.name)
        assert store.load(other) is None
        assert not (store.folder / other.name).exists()

    def test_the_oldest_ones_go(self, store: Store) -> None:
        keys = [replace(KEY, max_batch=number) for number in range(1, MOST_ENGINES + 3)]
        for age, key in enumerate(reversed(keys[:MOST_ENGINES])):
            store.keep(key, PLAN_BYTES)
            os.utime(store.folder / key.name, (time.time() - 1000 + age,) * 2)
        assert store.load(keys[MOST_ENGINES - 1])  # the oldest; used now, it is the newest
        for key in keys[MOST_ENGINES:]:
            store.keep(key, PLAN_BYTES)
        left = {key for key in keys if store.load(key)}
        assert left == set(keys) - {keys[MOST_ENGINES - 2], keys[MOST_ENGINES - 3]}


class TestRefused:
    @pytest.mark.parametrize(
        ("file", "content"),
        [
            (PLAN, PLAN_BYTES[:-1]),
            (PLAN, PLAN_BYTES[:-1] + b"?"),
            (PLAN, b""),
            (RECORD, b"{"),
            (RECORD, b"{}"),
            (RECORD, b"\xff"),
            (PLAN, None),
            (RECORD, None),
        ],
    )
    def test_a_damaged_one_is_removed_and_said(
        self, store: Store, caplog: pytest.LogCaptureFixture, file: str, content: bytes | None
    ) -> None:
        store.keep(KEY, PLAN_BYTES)
        path = store.folder / KEY.name / file
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            assert store.load(KEY) is None
        assert "is refused" in caplog.text
        assert not path.parent.exists()

    def test_a_folder_that_can_not_be_written_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        store = Store(tmp_path / "file" / "engines")
        with pytest.raises(BackendError, match=r"can't be written \(.*\): make room there"), store.building():
            pass
        with pytest.raises(BackendError, match="can't be written"):
            store.keep(KEY, PLAN_BYTES)

    def test_a_kill_in_the_middle_leaves_the_old_one_or_none(self, store: Store) -> None:
        script = (
            "import sys\nfrom pathlib import Path\nfrom edge.backends.trt.store import Store\n"
            "from tests.edge.test_store import KEY\n"
            "print('go', flush=True)\n"
            "store = Store(Path(sys.argv[1]))\nnumber = 0\n"
            "while True:\n    number += 1\n    store.keep(KEY, bytes([number % 256]) * 2_000_000)\n"
        )
        for wait in (0.02, 0.05, 0.11, 0.2):
            child = subprocess.Popen([sys.executable, "-c", script, str(store.folder)], stdout=subprocess.PIPE)
            assert child.stdout
            child.stdout.readline()
            time.sleep(wait)
            child.kill()
            child.wait()
            child.stdout.close()
            plan = store.load(KEY)
            assert plan is None or (len(plan) == 2_000_000 and len(set(plan)) == 1)


class TestBuilding:
    def test_one_process_at_a_time(self, store: Store) -> None:
        script = (
            "import sys\nfrom pathlib import Path\nfrom edge.backends.trt.store import Store\n"
            "with Store(Path(sys.argv[1])).building():\n    print('in', flush=True)\n"
        )
        with store.building():
            child = subprocess.Popen([sys.executable, "-c", script, str(store.folder)], stdout=subprocess.PIPE)
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(2)
        assert child.communicate(timeout=30)[0] == b"in\n"

    def test_timings_are_of_one_gpu_and_driver(self, store: Store) -> None:
        assert store.timing_cache(KEY) == b""
        store.folder.mkdir()
        store.keep_timing_cache(KEY, b"timings")
        assert store.timing_cache(replace(KEY, onnx="1" * 64, max_batch=8)) == b"timings"
        assert store.timing_cache(replace(KEY, driver="13.0")) == b""

    def test_timings_that_can_not_be_kept_cost_no_engine(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        store.keep_timing_cache(KEY, b"timings")  # its folder is not there
        assert "can't be kept" in caplog.text
