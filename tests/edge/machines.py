"""Machines that are not here: the files that edge-doctor reads, and what else answers there.

Files of the Jetsons are as in public reports and documents: /etc/nv_tegra_release, device tree and packages in
rbonghi/jetson_stats#711 (Thor), #864 (AGX Orin, L4T 39.2) and #400 (Orin Nano), the packages of L4T in
insight-platform/Savant#898, versions in the release notes of JetPack 6.2, 7.0 and 7.2, power modes in the Jetson
Linux Developer Guide. Numbers of load, temperature and memory are usual ones of an idle board.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.backends.base import BackendInfo
from edge.backends.trt.cudart import Cuda, Device
from edge.doctor.examine import Wish, examine
from edge.doctor.finding import Finding, State
from edge.doctor.machine import Host, Machine
from edge.doctor.probes import TensorRt, Volume
from edge.errors import BackendError
from edge.manifest import Precision
from tests.edge.fake_cudart import FakeCudart

NOW = 1_796_000_000.0
"""November 2026."""
GB = 10**9
OPENCV = """
General configuration for OpenCV 4.12.0 =====================================
  Video I/O:
    FFMPEG:                      YES
      avcodec:                   YES (59.37.100)
    GStreamer:                   NO
    v4l/v4l2:                    YES (linux/videodev2.h)
"""
"""Of PyPI's wheel."""

UBUNTU_22 = 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nNAME="Ubuntu"\nVERSION_ID="22.04"\n'
UBUNTU_24 = 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\n'


def dpkg(**versions: str) -> str:
    """Write /var/lib/dpkg/status; underscores in names stand for dashes."""
    entries = [
        f"Package: {name.replace('_', '-')}\nStatus: install ok installed\nVersion: {version}\n"
        for name, version in versions.items()
    ]
    gone = "Package: libnvinfer8\nStatus: deinstall ok config-files\nArchitecture: arm64\nVersion: 8.6.2.3-1\n"
    return "\n".join([*entries, gone])


def meminfo(total_gb: float, free_gb: float) -> str:
    return f"MemTotal:       {int(total_gb * GB) >> 10} kB\nMemAvailable:   {int(free_gb * GB) >> 10} kB\n"


SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
NVPMODEL_ORIN_NANO = """
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >
"""
NVPMODEL_AGX_ORIN = """
< POWER_MODEL ID=0 NAME=MAXN >
< POWER_MODEL ID=1 NAME=MODE_15W >
< POWER_MODEL ID=2 NAME=MODE_30W >
< POWER_MODEL ID=3 NAME=MODE_50W >
< PM_CONFIG DEFAULT=2 >
"""
NVPMODEL_THOR = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >\n< PM_CONFIG DEFAULT=1 >\n"


def clocks(cores: int, cpu: tuple[int, int], gpu: str = "", gpu_hz: tuple[int, int] = (0, 0)) -> dict[str, str]:
    """Return the files of cpufreq, in kHz, and of the GPU's devfreq, in Hz."""
    files = {}
    for core in range(cores):
        folder = f"/sys/devices/system/cpu/cpu{core}/cpufreq"
        files |= {
            f"{folder}/scaling_min_freq": f"{cpu[0]}\n",
            f"{folder}/scaling_max_freq": f"{cpu[1]}\n",
            f"{folder}/scaling_governor": "schedutil\n",
            f"{folder}/scaling_driver": "tegra194\n",
        }
    if gpu:
        files |= {
            f"/sys/class/devfreq/{gpu}/{end}_freq": f"{hz}\n"
            for end, hz in zip(("min", "max"), gpu_hz, strict=True)
        }
    return files


def zones(**millidegrees: int) -> dict[str, str]:
    files = {}
    for number, (name, level) in enumerate(millidegrees.items()):
        folder = f"/sys/class/thermal/thermal_zone{number}"
        files |= {f"{folder}/type": f"{name.replace('_', '-')}\n", f"{folder}/temp": f"{level}\n"}
    return files


ORIN_NANO = {
    "/etc/os-release": UBUNTU_22,
    "/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n",
    "/proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "/proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "/var/lib/dpkg/status": dpkg(
        nvidia_jetpack="6.2+b77", nvidia_l4t_core="36.4.3-20250107174145", libnvinfer10="10.3.0.30-1+cuda12.5"
    ),
    "/etc/nvpmodel.conf": NVPMODEL_ORIN_NANO,
    "/var/lib/nvpmodel/status": "pmode:0001\n",
    "/proc/meminfo": meminfo(7.99, 6.1),
    "/proc/swaps": SWAPS + "/dev/zram0                              partition\t649892\t\t0\t\t5\n",
    "/proc/self/mounts": "/dev/nvme0n1p1 / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n",
    "/sys/block/nvme0n1/device/model": "KINGSTON SNV2S500G\n",
    "/sys/block/zram0/size": "1\n",
    **clocks(6, (729600, 1728000), "17000000.gpu", (306000000, 1020000000)),
    **zones(cpu_thermal=48406, gpu_thermal=49218, tj_thermal=49500),
}
AGX_ORIN = {
    "/etc/os-release": UBUNTU_24,
    "/etc/nv_tegra_release": "# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64, "
    "DATE: Mon Jun  1 09:28:48 PM UTC 2026\n",
    "/proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "/proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0000\0nvidia,p3701-0000\0nvidia,tegra234\0",
    "/var/lib/dpkg/status": dpkg(
        nvidia_jetpack="7.2+b120", nvidia_l4t_core="39.2.0-20260601142848", libnvinfer10="10.16.2.10-1+cuda13.2"
    ),
    "/etc/nvpmodel.conf": NVPMODEL_AGX_ORIN,
    "/var/lib/nvpmodel/status": "pmode:0000\n",
    "/proc/meminfo": meminfo(64.3, 58.0),
    "/proc/swaps": SWAPS,
    "/proc/self/mounts": "/dev/mmcblk0p1 / ext4 rw,relatime 0 0\n",
    "/sys/block/mmcblk0/device/type": "MMC\n",
    "/sys/block/mmcblk0/device/life_time": "0x01 0x02\n",
    "/sys/block/mmcblk0/device/pre_eol_info": "0x01\n",
    **clocks(12, (2201600, 2201600), "17000000.gpu", (1300500000, 1300500000)),
    **zones(cpu_thermal=52000, gpu_thermal=50125, tj_thermal=52000),
}
THOR = {
    "/etc/os-release": UBUNTU_24,
    "/etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, "
    "DATE: Fri Aug 22 00:55:42 UTC 2025\n",
    "/proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
    "/proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0",
    "/var/lib/dpkg/status": dpkg(nvidia_l4t_core="38.2.0-20250821174705", libnvinfer10="10.13.3.9-1+cuda13.0"),
    "/etc/nvpmodel.conf": NVPMODEL_THOR,
    "/var/lib/nvpmodel/status": "pmode:0001\n",
    "/proc/meminfo": meminfo(131.9, 124.0),
    "/proc/swaps": SWAPS,
    "/proc/self/mounts": "/dev/nvme0n1p1 / ext4 rw,relatime 0 0\n",
    "/sys/block/nvme0n1/device/model": "WD PC SN5000S SDEPNSJ-1T00\n",
    **clocks(14, (972000, 2601000), "gpu-gpc-0", (315000000, 1575000000)),
    **zones(cpu_thermal=41000, gpu_thermal=40500, tj_thermal=42093),
}
DESKTOP = {
    "/etc/os-release": UBUNTU_24,
    "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05\n",
    "/var/lib/dpkg/status": dpkg(libc6="2.39-0ubuntu8"),
    "/proc/meminfo": meminfo(33.5, 25.0),
    "/proc/swaps": SWAPS + "/swap.img                               file\t\t8388604\t\t0\t\t-2\n",
    "/proc/self/mounts": "/dev/nvme0n1p2 / ext4 rw,relatime 0 0\ntmpfs /tmp tmpfs rw 0 0\n",
    "/sys/block/nvme0n1/device/model": "Samsung SSD 990 PRO 1TB\n",
    **clocks(8, (800000, 5200000)),
    **zones(x86_pkg_temp=51000),
}


def answers(
    *engines: str, why: str = "ONNX Runtime has no such provider: install it"
) -> Callable[[str], BackendInfo]:
    """Return engines of which these run."""

    def engine(name: str) -> BackendInfo:
        if name not in engines:
            raise BackendError(why)
        library = "openvino" if name == "openvino" else "onnxruntime"
        return BackendInfo(name, "a graph", Precision.FP32, name, 0, ((library, "1.23.2"),), device="its GPU")

    return engine


def refusing(why: str) -> Callable[..., Any]:
    def probe(*_: object) -> Any:
        raise BackendError(why)

    return probe


def gpu(name: str, capability: tuple[int, int], cuda: int, *, integrated: bool = True) -> Callable[[], Device]:
    """Return what edge's own CUDA wrapper says of a GPU."""
    library = FakeCudart(name=name, capability=capability, runtime=cuda, driver=cuda, integrated=integrated)
    return lambda: Cuda(library).device


def make(
    root: Path,
    files: dict[str, str],
    *,
    python: str = "3.12.3",
    architecture: str = "aarch64",
    kernel: str = "6.8.12-tegra",
    installed: Sequence[str] = ("opencv-python", "onnxruntime"),
    **probes: Any,
) -> Machine:
    """Lay files out below a folder, and return the machine that has them."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    machine = Machine(
        root=root,
        host=Host("Linux", architecture, kernel, python, 64, True),
        ask=lambda words: None,
        now=lambda: NOW,
        synchronised=lambda: True,
        installed=lambda name: "1.0" if name in installed else None,
        opencv=lambda: OPENCV,
        gstreamer=lambda: "No module named 'gi'",
        cuda=refusing("the CUDA runtime is missing: sudo apt install nvidia-jetpack"),
        tensorrt=refusing("TensorRT is missing: apt install it"),
        engine=answers("onnxruntime"),
        volume=lambda path: Volume(80 * GB, 500 * GB, 10**6, 10**7, False),
        write=lambda path: 0.004,
    )
    return replace(machine, **probes)


def orin_nano(root: Path, changes: dict[str, str] | None = None, **probes: Any) -> Machine:
    """JetPack 6.2."""
    own = {"cuda": gpu("Orin", (8, 7), 12060), "tensorrt": lambda: TensorRt("tensorrt", "10.3.0")}
    return make(
        root,
        {**ORIN_NANO, **(changes or {})},
        **{"python": "3.10.12", "kernel": "5.15.148-tegra", **own, **probes},
    )


def agx_orin(root: Path, changes: dict[str, str] | None = None, **probes: Any) -> Machine:
    """JetPack 7.2."""
    own = {"cuda": gpu("Orin", (8, 7), 13020), "tensorrt": lambda: TensorRt("tensorrt", "10.16.2.10")}
    return make(root, {**AGX_ORIN, **(changes or {})}, **{**own, **probes})


def thor(root: Path, changes: dict[str, str] | None = None, **probes: Any) -> Machine:
    """JetPack 7.0."""
    own = {"cuda": gpu("NVIDIA Thor", (11, 0), 13000), "tensorrt": lambda: TensorRt("tensorrt", "10.13.3.9")}
    return make(root, {**THOR, **(changes or {})}, **{**own, **probes})


def desktop(root: Path, changes: dict[str, str] | None = None, **probes: Any) -> Machine:
    """An x86 computer with a GPU."""
    own = {
        "cuda": gpu("NVIDIA GeForce RTX 4070", (8, 9), 13000, integrated=False),
        "engine": answers("onnxruntime", "cuda", "openvino"),
        "installed": ("opencv-python", "onnxruntime-gpu", "openvino"),
        "architecture": "x86_64",
        "kernel": "6.8.0-90-generic",
    }
    return make(root, {**DESKTOP, **(changes or {})}, **{**own, **probes})


def findings(machine: Machine, wish: Wish | None = None) -> list[Finding]:
    """Return all that is found."""
    wish = wish or Wish(folders=(Path("/var/lib/binsight"),))
    return [finding for area in examine(machine, wish) for finding in area.findings]


def the(found: Sequence[Finding], check: str) -> Finding:
    """Return the one finding of a check."""
    (one,) = (finding for finding in found if finding.check == check)
    return one


def by(found: Sequence[Finding], state: State) -> list[str]:
    """Return the checks that ended so."""
    return [finding.check for finding in found if finding.state is state]
