"""edge-doctor on recorded machines, each sound, and each failure planted."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.backends import onnxruntime as runtime
from edge.doctor import probes
from edge.doctor.examine import Wish
from edge.doctor.finding import Finding, State, told
from edge.doctor.machine import Host, Machine
from edge.doctor.probes import TensorRt, Volume
from edge.errors import BackendError
from tests.edge import doctor_graph, machines
from tests.edge.fake_v4l2 import FakeCamera
from tests.edge.machines import (
    GB,
    OPENCV,
    SWAPS,
    agx_orin,
    answers,
    by,
    desktop,
    findings,
    meminfo,
    orin_nano,
    refusing,
    the,
    thor,
    zones,
)

ALARM = "/sys/class/thermal/cooling_device0"
UNIT = {"/etc/systemd/system/binsight.service": "[Service]\n"}
POWERSAVE = {f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor": "powersave\n" for core in range(8)}
LIMITED = {"/sys/fs/cgroup/memory.max": f"{GB}\n", "/sys/fs/cgroup/memory.current": f"{GB // 2}\n"}


class TestWhatIsSound:
    def test_an_orin_nano(self, tmp_path: Path) -> None:
        found = findings(orin_nano(tmp_path))
        assert by(found, State.FAIL) == []
        assert by(found, State.WARN) == []
        assert the(found, "jetpack").found == (
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super (tegra234), L4T 36.4.3, JetPack 6.2"
        )
        assert the(found, "cuda").found == "Orin, compute capability 8.7, CUDA 12.6, driver up to 12.6"
        assert the(found, "tensorrt").found == "tensorrt 10.3.0"
        assert the(found, "power_mode").found == "25W (mode 1); there are also 0 15W, 2 MAXN_SUPER"
        assert the(found, "clocks").found.startswith(
            "CPU 0.7 to 1.7 GHz, GPU 0.3 to 1.0 GHz, moving with the load"
        )
        assert the(found, "temperature").found == "50 degrees Celsius at most (tj-thermal-2)"
        assert "zram" in the(found, "swap").found
        assert the(found, "engine_build").found == "6.1 GB with swap, for a TensorRT build that may take 5.1"
        assert the(found, "disk_wear").found.startswith("nvme0n1 (nvme0n1) tells no wear")

    def test_an_agx_orin_with_fixed_clocks_and_an_emmc(self, tmp_path: Path) -> None:
        found = findings(agx_orin(tmp_path))
        assert by(found, State.FAIL) + by(found, State.WARN) == []
        assert (
            the(found, "jetpack").found
            == "NVIDIA Jetson AGX Orin Developer Kit (tegra234), L4T 39.2.0, JetPack 7.2"
        )
        assert the(found, "power_mode").found.startswith("MAXN (mode 0)")
        assert the(found, "clocks").found == "CPU 2.2 GHz, GPU 1.3 GHz, fixed"
        assert the(found, "disk_wear").found == "mmcblk0 has used up to 20 % of its life"

    def test_a_thor(self, tmp_path: Path) -> None:
        found = findings(thor(tmp_path))
        assert by(found, State.FAIL) + by(found, State.WARN) == []
        assert the(found, "jetpack").found.endswith("L4T 38.2.0, JetPack 7.0")
        assert the(found, "tensorrt").found == "tensorrt 10.13.3.9"

    def test_a_desktop(self, tmp_path: Path) -> None:
        found = findings(desktop(tmp_path))
        assert by(found, State.FAIL) + by(found, State.WARN) == []
        assert the(found, "jetpack").state is State.ABSENT
        assert the(found, "cuda_provider").found == "ONNX Runtime runs a graph on its GPU"
        assert the(found, "swap").found == "8.6 GB free on disk"
        assert "engine_build" not in [one.check for one in found]

    def test_a_machine_that_tells_nothing(self, tmp_path: Path) -> None:
        empty = machines.make(tmp_path, {}, architecture="x86_64")
        assert by(findings(empty), State.FAIL) == []


Maker = Callable[..., Machine]

PLANTED: list[tuple[str, Maker, dict[str, str], dict[str, Any], str, State, str, str]] = [
    ("JetPack 5", orin_nano, {"/etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178"}, {},
     "jetpack", State.FAIL, "JetPack 6.2 is not supported", "flash JetPack 6.2"),
    ("JetPack 4", orin_nano,
     {"/etc/nv_tegra_release": "# R32 (release), REVISION: 7.1", "/var/lib/dpkg/status": "",
      "/proc/device-tree/compatible": "nvidia,p3450-0000\0nvidia,tegra210\0"}, {},
     "jetpack", State.FAIL, "JetPack 4 is not supported", "older boards"),
    ("JetPack 6.0", orin_nano,
     {"/etc/nv_tegra_release": "# R36 (release), REVISION: 3.0", "/var/lib/dpkg/status": ""}, {},
     "jetpack", State.WARN, "JetPack 6.0 brings a TensorRT that is too old", "update to JetPack 6.2"),
    ("a container", orin_nano, {"/etc/nv_tegra_release": "", "/var/lib/dpkg/status": ""}, {},
     "jetpack", State.WARN, "no /etc/nv_tegra_release", "-v /etc/nv_tegra_release"),
    ("a JetPack to come", thor, {"/etc/nv_tegra_release": "# R41 (release), REVISION: 0.1"}, {},
     "jetpack", State.WARN, "not known here", "update binsight"),
    ("an old Python", desktop, {}, {"python": "3.9.2"}, "python", State.FAIL, "3.9.2 is too old", "3.10"),
    ("a Raspberry Pi 2", desktop, {}, {"architecture": "armv7l"}, "system", State.FAIL, "armv7l", "64-bit"),
    ("no TensorRT", orin_nano, {}, {"tensorrt": refusing("none")},
     "tensorrt", State.WARN, "the bin runs on the CPU", "python3-libnvinfer"),
    ("TensorRT by pip", orin_nano, {}, {"tensorrt": lambda: TensorRt("tensorrt", "10.3.0", by_pip=True)},
     "tensorrt", State.WARN, "came by pip", "pip uninstall tensorrt"),
    ("TensorRT for another CUDA", orin_nano,
     {"/var/lib/dpkg/status": machines.dpkg(libnvinfer10="10.16.2.10-1+cuda13.2")}, {},
     "tensorrt", State.WARN, "is for CUDA 13", "the board's own apt"),
    ("no CUDA on a Jetson", orin_nano, {}, {"cuda": refusing("the CUDA runtime is missing: apt install it")},
     "cuda", State.WARN, "the CUDA runtime is missing", "apt install it"),
    ("a mode of few watts", agx_orin, {"/var/lib/nvpmodel/status": "pmode:0001\n"}, {},
     "power_mode", State.WARN, "MODE_15W (mode 1), where MODE_30W", "sudo nvpmodel -m 2"),
    ("a mode that nobody tells", agx_orin, {"/var/lib/nvpmodel/status": ""}, {},
     "power_mode", State.WARN, "does not tell", "sudo nvpmodel -q"),
    ("powersave", desktop, POWERSAVE, {},
     "clocks", State.WARN, "powersave", "schedutil"),
    ("heat", orin_nano, zones(cpu_thermal=91000), {}, "temperature", State.WARN, "91 degrees", "fan"),
    ("throttling", orin_nano, {f"{ALARM}/type": "cpu-throttle-alert", f"{ALARM}/cur_state": "1"}, {},
     "temperature", State.WARN, "slowed down by cpu-throttle-alert", "lower power mode"),
    ("a weak supply", orin_nano, {"/sys/class/hwmon/hwmon1/oc1_event_cnt": "17"}, {},
     "temperature", State.WARN, "oc1 17 times", "stronger supply"),
    ("little memory", desktop, {"/proc/meminfo": meminfo(4, 0.3), "/proc/swaps": SWAPS}, {},
     "memory", State.WARN, "0.3 of 4.0 GB free", "add swap"),
    ("a container's limit", desktop, {**LIMITED, "/proc/swaps": SWAPS}, {},
     "memory", State.WARN, "0.5 of 1.0 GB free", "add swap"),
    ("no room for a build", orin_nano, {"/proc/meminfo": meminfo(7.99, 3.0)}, {},
     "engine_build", State.WARN, "may take 5.1 GB, and 3.0 GB are free", "mkswap /swapfile"),
    ("OpenCV without FFmpeg", desktop, {}, {"opencv": lambda: OPENCV.replace("FFMPEG:  ", "FFMPEG: NO, not ")},
     "opencv", State.WARN, "lacks FFmpeg, for rtsp://", "pip install --force-reinstall opencv-python"),
    ("OpenCV without V4L2", desktop, {}, {"opencv": lambda: "OpenCV 4.8.0\nFFMPEG: YES\n"},
     "opencv", State.WARN, "lacks V4L2, for USB cameras", "pip install"),
    ("two OpenCVs", desktop, {}, {"installed": ("opencv-python", "opencv-python-headless")},
     "opencv", State.WARN, "overwrite each other", "pip uninstall -y opencv-python opencv-python-headless"),
    ("no ONNX Runtime", desktop, {}, {"engine": answers(why="ONNX Runtime is missing: pip install it")},
     "onnxruntime", State.FAIL, "ONNX Runtime is missing", "pip install it"),
    ("CUDA that falls back", desktop, {},
     {"engine": answers("onnxruntime", why="asked for CUDA, got CPUExecutionProvider: install cuDNN 9")},
     "cuda_provider", State.WARN, "asked for CUDA, got CPU", "install cuDNN 9"),
    ("a GPU that is not used", desktop, {}, {"engine": answers("onnxruntime"), "installed": ("onnxruntime",)},
     "cuda_provider", State.WARN, "the GPU is not used", "binsight[gpu]"),
    ("OpenVINO that is broken", desktop, {}, {"engine": answers("onnxruntime", why="OpenVINO fails: mend it now")},
     "openvino", State.WARN, "OpenVINO fails", "mend it now"),
    ("a full disk", orin_nano, {}, {"volume": lambda path: Volume(9 * 10**7, 500 * GB, 9, 10, False)},
     "disk_space", State.FAIL, "0.1 of 500.0 GB free", "apt clean"),
    ("a disk that is nearly full", orin_nano, {}, {"volume": lambda path: Volume(GB, 500 * GB, 9, 10, False)},
     "disk_space", State.WARN, "1.0 of 500.0 GB free", "apt clean"),
    ("no inodes", orin_nano, {}, {"volume": lambda path: Volume(90 * GB, 500 * GB, 9, 10**6, False)},
     "disk_space", State.WARN, "9 files may still be made", "apt clean"),
    ("a disk that went read-only", orin_nano, {}, {"volume": lambda path: Volume(90 * GB, 500 * GB, 9, 10, True)},
     "disk_write", State.FAIL, "is read-only", "remount,rw /"),
    ("a slow card", orin_nano, {}, {"write": lambda path: 0.35}, "disk_write", State.WARN, "350.0 ms", "an SSD"),
    ("no barriers", orin_nano, {"/proc/self/mounts": "/dev/nvme0n1p1 / ext4 rw,nobarrier 0 0\n"}, {},
     "disk_write", State.WARN, "without barriers", "/etc/fstab"),
    ("a disk in memory", orin_nano, {"/proc/self/mounts": "overlay / overlay rw 0 0\n"}, {},
     "disk_write", State.WARN, "overlay", "on a volume"),
    ("a worn eMMC", agx_orin, {"/sys/block/mmcblk0/device/life_time": "0x03 0x0b\n"}, {},
     "disk_wear", State.WARN, "100 % of its life and more", "replace it"),
    ("an eMMC without reserve", agx_orin, {"/sys/block/mmcblk0/device/pre_eol_info": "0x03\n"}, {},
     "disk_wear", State.WARN, "nearly all of its reserve", "replace it"),
    ("a broken file system", agx_orin, {"/sys/fs/ext4/mmcblk0p1/errors_count": "4\n"}, {},
     "disk_errors", State.WARN, "mmcblk0p1 met 4 errors", "fsck"),
    ("1970", orin_nano, {}, {"now": lambda: 4000.0},
     "clock", State.WARN, "1970-01-01 01:06 UTC can't be", "timedatectl"),
    ("a clock of its own", orin_nano, {}, {"synchronised": lambda: False},
     "clock", State.WARN, "nothing keeps it right", "timedatectl"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "files", "given", "check", "state", "words", "mend"),
    [case[1:] for case in PLANTED],
    ids=[case[0] for case in PLANTED],
)
def test_what_is_planted_is_found(
    make: Maker, files: dict[str, str], given: dict[str, Any], check: str, state: State, words: str, mend: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    before = findings(make(tmp_path / "sound"))
    found = findings(make(tmp_path / "planted", files, **given))
    one = the(found, check)
    assert one not in before
    for other in found:
        assert bool(other.mend) is (other.state in (State.WARN, State.FAIL)), other
    assert one.state is state
    assert words in one.found
    assert mend in one.mend


class TestTensorRtOnOrin:
    """10.13 for CUDA 13 has no kernels for it."""

    def check(self, found: list[Finding]) -> None:
        one = the(found, "tensorrt")
        assert one.state is State.FAIL
        assert "for CUDA 13 has no kernels for" in one.found
        assert "10.16.1 or later" in one.mend

    def test_is_refused(self, tmp_path: Path) -> None:
        self.check(findings(agx_orin(tmp_path, tensorrt=lambda: TensorRt("tensorrt", "10.13.3.9"))))

    def test_is_refused_by_its_package_alone(self, tmp_path: Path) -> None:
        files = {"/var/lib/dpkg/status": machines.dpkg(libnvinfer10="10.13.3.9-1+cuda13.0")}
        missing = {"cuda": refusing("no CUDA"), "tensorrt": refusing("no TensorRT")}
        self.check(findings(agx_orin(tmp_path, files, **missing)))

    def test_a_virtual_environment_may_not_see_it(self, tmp_path: Path) -> None:
        machine = orin_nano(tmp_path, tensorrt=refusing("none"))
        machine = replace(machine, host=replace(machine.host, system_packages=False))
        one = the(findings(machine), "tensorrt")
        assert one.found == "TensorRT 10.3.0.30 is there, and this Python does not see it"
        assert "--system-site-packages" in one.mend


@pytest.mark.parametrize(("system", "name"), [("Windows", "Windows"), ("Darwin", "macOS")])
def test_other_systems_are_refused(system: str, name: str, tmp_path: Path) -> None:
    machine = replace(desktop(tmp_path), host=Host(system, "AMD64", "10", "3.12.1", 64, False))
    one = the(findings(machine), "system")
    assert (one.state, name in one.found) == (State.FAIL, True)


class TestEngines:
    def test_both_onnxruntimes_are_explained(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(runtime, "_installed", lambda: {"onnxruntime", "onnxruntime-gpu"})
        one = the(findings(desktop(tmp_path, engine=probes.engine)), "onnxruntime")
        assert one.state is State.FAIL
        assert one.found == "onnxruntime and onnxruntime-gpu are both installed and overwrite each other"
        assert one.mend.startswith("pip uninstall -y onnxruntime onnxruntime-gpu")

    @pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
    def test_the_small_graph_really_runs(self, name: str) -> None:
        assert probes.engine(name).name == name

    def test_the_small_graph_is_what_its_maker_makes(self) -> None:
        assert doctor_graph.make_graph() == probes.GRAPH

    def test_a_provider_that_is_missing_is_an_error(self) -> None:
        with pytest.raises(BackendError, match="CUDAExecutionProvider"):
            probes.engine("cuda")


class TestCameras:
    @pytest.fixture
    def camera(self, tmp_path: Path) -> FakeCamera:
        (tmp_path / "dev").mkdir()
        return FakeCamera(tmp_path / "dev")

    def look(self, tmp_path: Path, camera: FakeCamera, **given: Any) -> list[Finding]:
        found = findings(orin_nano(tmp_path, ioctl=camera.ioctl, **given))
        return [one for one in found if one.check in ("camera", "csi")]

    def test_formats_are_told_and_metadata_left_out(self, tmp_path: Path, camera: FakeCamera) -> None:
        assert [(one.state, one.found) for one in self.look(tmp_path, camera)] == [
            (State.OK, "/dev/video0 Bin Camera: MJPG 640x480, 1280x720; YUYV 320x240")
        ]

    def test_the_lasting_name_is_told(self, tmp_path: Path, camera: FakeCamera) -> None:
        names = tmp_path / "dev" / "v4l" / "by-id"
        names.mkdir(parents=True)
        (names / "usb-Bin_Camera-index0").symlink_to("../../video0")
        assert self.look(tmp_path, camera)[0].found.endswith("lasting name /dev/v4l/by-id/usb-Bin_Camera-index0")

    def test_one_in_use(self, tmp_path: Path, camera: FakeCamera) -> None:
        camera.busy = True
        (one,) = self.look(tmp_path, camera)
        assert (one.state, "in use by another program" in one.found) == (State.WARN, True)

    def test_one_that_is_gone(self, tmp_path: Path, camera: FakeCamera) -> None:
        camera.gone = True
        found = self.look(tmp_path, camera)
        assert found[0].state is State.WARN
        assert "can't be asked: No such device" in found[0].found

    def test_one_without_permission(
        self, tmp_path: Path, camera: FakeCamera, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
        (one, _) = self.look(tmp_path, camera)
        assert one.found == "/dev/video0: no permission"
        assert "usermod -aG video" in one.mend

    def test_a_csi_sensor_needs_gstreamer_and_argus(
        self, tmp_path: Path, camera: FakeCamera, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.edge.fake_v4l2.CARD", "vi-output, imx219 9-0010")
        sensor, csi = self.look(tmp_path, camera)
        assert sensor.found == "CSI sensor imx219 at /dev/video0: csi://N, the first sensor is 0"
        assert (csi.state, "no GStreamer" in csi.found) == (State.WARN, True)
        csi = self.look(tmp_path, camera, gstreamer=lambda: "")[1]
        assert (csi.state, "nvargus-daemon does not run" in csi.found) == (State.WARN, True)
        (tmp_path / "tmp").mkdir()
        (tmp_path / "tmp" / "argus_socket").touch()
        assert self.look(tmp_path, camera, gstreamer=lambda: "")[1].state is State.OK


class TestDisk:
    def test_a_real_folder_is_written_and_left_as_it_was(self, tmp_path: Path) -> None:
        assert probes.write(tmp_path) > 0
        assert [*tmp_path.iterdir()] == []

    def test_one_that_can_not_be_written(self, tmp_path: Path) -> None:
        def refuse(path: Path) -> float:
            raise OSError(errno.EACCES, "Permission denied")

        one = the(findings(orin_nano(tmp_path, write=refuse)), "disk_write")
        assert (one.state, one.found) == (State.FAIL, "/var/lib can't be written: Permission denied")

    def test_each_disk_is_looked_at_once(self, tmp_path: Path) -> None:
        mounts = "/dev/nvme0n1p1 / ext4 rw 0 0\n/dev/sda1 /var/lib/kept ext4 rw 0 0\n"
        machine = orin_nano(tmp_path, {"/proc/self/mounts": mounts, "/var/lib/kept/x": ""})
        wish = Wish(folders=tuple(map(Path, ("/var/lib/binsight", "/home/bin", "/var/lib/kept/2026"))))
        shown = [one.found for one in findings(machine, wish) if one.check == "disk_space"]
        assert [text.rpartition(" ")[2] for text in shown] == ["/var/lib", "/var/lib/kept"]


class TestService:
    def say(self, tmp_path: Path, answer: str | None, files: dict[str, str] = UNIT) -> Finding:
        return the(findings(orin_nano(tmp_path, files, ask=lambda words: answer)), "service")

    @pytest.mark.parametrize(
        ("answer", "state", "words"),
        [
            ("LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nNRestarts=0\n"
             "UnitFileState=enabled\n", State.OK, "active (running)"),
            ("ActiveState=active\nSubState=running\nResult=success\nNRestarts=3\nUnitFileState=enabled\n",
             State.WARN, "started again 3 times"),
            ("ActiveState=inactive\nSubState=dead\nResult=success\nNRestarts=0\nUnitFileState=disabled\n",
             State.WARN, "nothing starts it"),
            ("ActiveState=inactive\nSubState=dead\nResult=success\nNRestarts=0\nUnitFileState=enabled\n",
             State.WARN, "inactive (dead)"),
            ("ActiveState=failed\nSubState=failed\nResult=watchdog\nNRestarts=0\nUnitFileState=enabled\n",
             State.FAIL, "watchdog"),
            ("ActiveState=activating\nSubState=auto-restart\nResult=success\nNRestarts=41\nUnitFileState=enabled\n",
             State.FAIL, "41 times"),
            ("LoadState=bad-setting\nActiveState=inactive\nSubState=dead\n", State.FAIL, "can't be read"),
            (None, State.WARN, "systemd does not answer"),
        ],
    )  # fmt: skip
    def test_its_state(self, tmp_path: Path, answer: str | None, state: State, words: str) -> None:
        one = self.say(tmp_path, answer)
        assert (one.state, words in one.found) == (state, True), one

    def test_none(self, tmp_path: Path) -> None:
        assert self.say(tmp_path, None, {}).state is State.ABSENT


def test_what_one_area_did_not_foresee_does_not_hide_the_others(tmp_path: Path) -> None:
    def broken() -> float:
        raise ValueError("no such clock")

    found = findings(orin_nano(tmp_path, now=broken))
    assert the(found, "clock").found == "can't be looked at: ValueError: no such clock"
    assert the(found, "service").state is State.ABSENT


@pytest.mark.parametrize(
    ("text", "found", "mend"),
    [
        ("X is missing (no file: gone): pip install 'x'", "X is missing (no file: gone)", "pip install 'x'"),
        ("all is lost", "all is lost", "do something"),
    ],
)
def test_an_error_is_taken_apart(text: str, found: str, mend: str) -> None:
    one = told("x", State.FAIL, BackendError(text), "do something")
    assert (one.found, one.mend) == (found, mend)


def test_the_real_machine() -> None:
    found = findings(Machine(), Wish(folders=(Path.home(),)))
    assert {one.check for one in found} >= {"system", "jetpack", "memory", "disk_write", "onnxruntime", "clock"}
    assert the(found, "onnxruntime").state is State.OK
    assert the(found, "python").found.startswith("Python 3.")


def test_the_clock_can_be_asked() -> None:
    assert probes.clock_is_synchronised() in (True, False, None)
