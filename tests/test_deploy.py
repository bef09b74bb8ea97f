"""Images and installation, as far as they can be judged without Docker. `make proof-install` carries them out."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import yaml

from benchmarks import dockerfile
from tests import tiny
from tests.made import BIN

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "deploy" / "install.sh"
IMAGES = ("Dockerfile", "Dockerfile.jetson")
SCRIPTS = (SCRIPT, ROOT / ".ci" / "run")
STEPS = ("system", "nvidia", "user", "packages", "service")
HEALTHY_WITHIN_S = 300
"""On a machine with much else to do; it takes 3 s."""


def linter(name: str) -> str:
    """Both come with [dev] for x86-64; elsewhere whichever is on the PATH."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if not found and platform.machine() != "x86_64":
        pytest.skip(f"no {name} here, and no wheel of it for {platform.machine()}")
    assert found, f"{name} comes with binsight[dev]"
    return found


def install(*steps: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", SCRIPT, *steps], env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )


def last(image: str) -> dict[str, str]:
    """The instructions of the last stage that are given once."""
    return dict(dockerfile.read(ROOT / image)[1][-1].steps)


def compose() -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((ROOT / "docker-compose.jetson.yml").read_text())["services"]["bin"]
    return found


@pytest.mark.parametrize("image", IMAGES)
def test_hadolint_finds_nothing(image: str) -> None:
    done = subprocess.run(
        [linter("hadolint"), "--no-color", ROOT / image], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = subprocess.run([linter("shellcheck"), script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_both_images_are_one_recipe() -> None:
    """They differ in NVIDIA's step, in the extras, and in what is there to be set for them."""
    x86, jetson = (
        [step for stage in dockerfile.read(ROOT / image)[1] for step in stage.steps if step[0] != "ARG"]
        for image in IMAGES
    )
    assert [*x86] == [(word, rest.replace("system nvidia user", "system user")) for word, rest in jetson]


@pytest.mark.parametrize("image", IMAGES)
def test_a_copied_path_is_there(image: str) -> None:
    for stage in dockerfile.read(ROOT / image)[1]:
        for names in [rest.split()[:-1] for word, rest in stage.steps if word == "COPY" and "--from" not in rest]:
            assert all((ROOT / name).exists() for name in names), names


def test_the_jetson_image_knows_both_jetpacks() -> None:
    defaults, stages = dockerfile.read(ROOT / "Dockerfile.jetson")
    assert defaults == {"BASE": "nvcr.io/nvidia/l4t-jetpack:r36.4.0"}
    assert ("ARG", "JETSON_RELEASE=") in stages[0].steps
    assert re.search(
        r"BASE=ubuntu:24\.04 --build-arg JETSON_RELEASE=r39\.2", (ROOT / "Dockerfile.jetson").read_text()
    )


def test_the_user_is_the_units_and_no_root() -> None:
    script = SCRIPT.read_text()
    number = re.search(r"^USER_ID=(\d+)$", script, re.MULTILINE)
    assert number
    assert {last(image)["USER"] for image in IMAGES} == {number[1]}
    sysusers = (ROOT / "deploy" / "binsight.sysusers").read_text()
    groups = re.findall(r"^g (\S+)", sysusers, re.MULTILINE)
    assert f"--groups {','.join(groups)} binsight" in script
    assert {"video", "gpio"} <= set(groups)


def test_nothing_hands_out_docker_itself() -> None:
    for file in (*IMAGES, "docker-compose.jetson.yml", "deploy/install.sh", "docs/jetson.md"):
        assert "docker.sock" not in (ROOT / file).read_text()


def test_the_board_runs_it_with_what_cameras_and_gpu_need() -> None:
    bin_ = compose()
    assert (bin_["runtime"], bin_["network_mode"]) == ("nvidia", "host")
    assert bin_["environment"] == {"NVIDIA_DRIVER_CAPABILITIES": "compute,utility,graphics"}
    assert "/dev/video0" in bin_["devices"]  # type: ignore[operator]
    mounted = {str(one).split(":")[1] for one in bin_["volumes"]}  # type: ignore[attr-defined]
    assert mounted >= {"/tmp/argus_socket", "/etc/enctune.conf", "/etc/nv_tegra_release", "/bundle"}
    assert "privileged" not in bin_
    assert bin_["cap_drop"] == ["ALL"]


def test_the_command_of_the_board_is_one_that_edge_run_takes() -> None:
    words = [str(one) for one in compose()["command"]]  # type: ignore[attr-defined]
    entry = json.loads(last("Dockerfile.jetson")["ENTRYPOINT"])
    done = subprocess.run(
        [BIN / Path(entry[0]).name, *entry[1:], *words, "--print-config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'bundle = "/bundle"' in done.stdout


def test_the_health_check_sees_a_bin_and_misses_none(tmp_path: Path) -> None:
    """As they stand in the images, of one recipe: the programs are this environment's, the port a free one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def here(words: str) -> list[str]:
        return [word.replace("/opt/binsight/bin", str(BIN)).replace("8080", port) for word in json.loads(words)]

    steps = last("Dockerfile")
    check = here(steps["HEALTHCHECK"][steps["HEALTHCHECK"].index("[") :])
    assert subprocess.run(check, stderr=subprocess.DEVNULL, check=False).returncode
    bundle = tiny.make_bundle(tmp_path / "bundle").folder
    serving = subprocess.Popen(
        [*here(steps["ENTRYPOINT"]), bundle, "demo://?deposits=500", "--realtime"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + HEALTHY_WITHIN_S
        while subprocess.run(check, stderr=subprocess.DEVNULL, check=False).returncode:
            assert serving.poll() is None
            assert time.monotonic() < end
    finally:
        serving.terminate()
        serving.wait(60)


def wheel_of_a_bin(folder: Path) -> Path:
    """One that brings no more than what the script looks at afterwards."""
    about = "Metadata-Version: 2.1\nName: binsight\nVersion: 1.0\n"
    held = {
        "numpy/__init__.py": "",
        "numpy/lib/tests/test_one.py": "",
        "onnxruntime/capi/libonnxruntime.so.1.2.3": "",
        "onnxruntime/capi/libonnxruntime_providers_shared.so": "",
        "edge.py": "def main():\n    import numpy\n    print('it runs')\n",
        "binsight-1.0.dist-info/METADATA": f"{about}Provides-Extra: cpu\n",
        "binsight-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "binsight-1.0.dist-info/entry_points.txt": "[console_scripts]\nedge-run = edge:main\n",
        "binsight-1.0.dist-info/RECORD": "",
    }
    path = folder / "binsight-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in held.items():
            wheel.writestr(name, text)
    return path


class TestInstall:
    @pytest.mark.slow
    def test_what_a_bin_never_needs_does_not_stay(self, tmp_path: Path) -> None:
        if os.geteuid():
            pytest.skip("the script asks for root first")
        prefix, wheel = tmp_path / "opt", wheel_of_a_bin(tmp_path)
        for _ in range(2):  # it may be repeated
            done = install("packages", PREFIX=str(prefix), SOURCE=str(wheel))
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[-1] == "it runs"
        (packages,) = prefix.glob("lib/python3*/site-packages")
        left = {str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()}
        tops = {name.split("/")[0].partition("-")[0] for name in left}
        assert tops >= {"numpy", "onnxruntime", "pip"}
        assert not tops & {"setuptools", "pkg_resources"}
        assert not [name for name in left if name.startswith("pip/") and name.endswith(".pyc")]
        assert "edge.cpython" in " ".join(left)
        assert "onnxruntime/capi/libonnxruntime_providers_shared.so" in left
        assert not [name for name in left if "tests/" in name or "libonnxruntime.so" in name]

    def test_an_unknown_step_is_named_before_anything_is_done(self) -> None:
        if os.geteuid():
            pytest.skip("the script asks for root first")
        done = install("user", "reboot")
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line == f"install.sh: error: step is reboot, expected some of {', '.join(STEPS)}"

    def test_whoever_is_not_root_is_told(self) -> None:
        if os.geteuid():
            done = install("user")
        else:
            words = ["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", SCRIPT.read_text()]
            done = subprocess.run(words, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "expected root: sudo" in done.stderr

    def test_a_jetpack_that_is_not_supported_is_refused(self) -> None:
        if os.geteuid():
            pytest.skip("the script asks for root first")
        done = install("nvidia", JETSON_RELEASE="r35.6")
        assert done.returncode == 2
        assert "JETSON_RELEASE is r35.6, expected r36.4" in done.stderr

    def test_no_pip_installs_tensorrt(self) -> None:
        lines = [line for line in SCRIPT.read_text().splitlines() if "pip" in line and not line.startswith("#")]
        assert lines
        assert not [line for line in lines if "tensorrt" in line]
        assert "--only-binary=:all:" in " ".join(lines)
        assert "--system-site-packages" in SCRIPT.read_text()
