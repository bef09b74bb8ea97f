"""A Linux guest: Debian's kernel in QEMU, over this machine's own files, with drivers that this kernel lacks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.record import ROOT, WORK

PACKAGES = ("qemu-system-x86", "busybox-static")
"""Debian's, to be installed; that of the kernel is only downloaded and unpacked."""

CPU = "max,-avx,-avx2,-fma,-f16c"
"""Debian 12's QEMU emulates AVX with faults: numpy's maximum of strided floats ends in a segmentation fault."""

SHARE = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
"""Modules that let the guest see this machine's files, and change its own view of them."""

INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules); do /bin/busybox insmod /$module; done
B="/bin/busybox"
$B mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro files /host
$B mount -t proc proc /host/proc; $B mount -t sysfs sys /host/sys; $B mount -t devtmpfs dev /host/dev
$B mount -t tmpfs run /host/run
cd /host{root} && $B chroot /host /usr/bin/env -C {root} TMPDIR=/run HOME=/run PYTHONPATH={root} \\
  PYTHONDONTWRITEBYTECODE=1 {python} -u -m {program} {arguments}
$B poweroff -f
"""

SYSTEMD_INIT = """#!/bin/busybox sh
B="/bin/busybox"
$B mount -t devtmpfs dev /dev
for module in $($B cat /modules); do $B insmod /$module; done
$B mkdir /files /change
$B mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro files /files
$B mount -t tmpfs change /change && $B mkdir /change/upper /change/work
$B mount -t overlay -o lowerdir=/files,upperdir=/change/upper,workdir=/change/work overlay /host
$B rm -f /host/.dockerenv /host/run/.containerenv
U=/host/etc/systemd/system
# It would empty /tmp, and with it a project that lies there.
$B ln -s /dev/null $U/systemd-tmpfiles-setup.service
$B cat > $U/proof.service <<END
[Unit]
After=basic.target
[Service]
Type=oneshot
WorkingDirectory={root}
Environment=HOME=/root TMPDIR=/run PYTHONPATH={root} PYTHONDONTWRITEBYTECODE=1
ExecStart={python} -u -m {program} {arguments}
ExecStopPost=/bin/systemctl poweroff --force --force
StandardOutput=file:/dev/console
StandardError=file:/dev/console
END
$B cat > $U/proof.target <<END
[Unit]
Requires=basic.target proof.service
AllowIsolate=yes
END
exec $B switch_root /host /lib/systemd/systemd --unit=proof.target --show-status=no
"""
"""As INIT, with systemd as the first process, over files that may be changed: the changes are forgotten."""


def missing() -> str | None:
    """Return what this machine lacks, as a sentence."""
    if not shutil.which("qemu-system-x86_64") or not Path("/bin/busybox").is_file():
        return f"a guest needs Debian's packages: apt-get install --no-install-recommends {' '.join(PACKAGES)}"
    if not shutil.which("apt-get"):
        return "a guest needs Debian's apt-get for a kernel"
    return None


def kernel() -> Path:
    """Return a folder with Debian's kernel and its modules, fetched once."""
    folder = WORK / "kernel"
    if not any(folder.glob("boot/vmlinuz-*")):
        folder.mkdir(parents=True, exist_ok=True)
        told = subprocess.run(
            ["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True
        )
        name = re.findall(r"linux-image-\S+-amd64$", told.stdout, re.MULTILINE)[-1]
        subprocess.run(["apt-get", "download", "-q", name], cwd=folder, check=True)
        package = next(folder.glob("linux-image-*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
        package.unlink()
    return folder


def run(
    program: str, modules: Iterable[str], *arguments: str, timeout: float = 1800, systemd: bool = False
) -> str:
    """Boot, load `modules`, run `python -m program` there, by `systemd` perhaps; return what it printed."""
    folder = kernel()  # makes WORK, too
    image = WORK / "initramfs"
    files = _modules(folder, (*SHARE, *modules))
    init = (SYSTEMD_INIT if systemd else INIT).format(
        root=ROOT, python=sys.executable, program=program, arguments=" ".join(arguments)
    )
    image.write_bytes(
        _archive(
            {
                "init": init.encode(),
                "bin/busybox": Path("/bin/busybox").read_bytes(),
                "modules": "\n".join(path.name for path in files).encode(),
                **{path.name: path.read_bytes() for path in files},
            },
            ("bin", "dev", "host"),
        )
    )
    command = [
        "qemu-system-x86_64", "-nodefaults", "-no-reboot", "-nographic", "-serial", "stdio",
        "-m", "2048", "-smp", "2", "-cpu", CPU, "-accel", "tcg,thread=multi",
        "-kernel", str(next(folder.glob("boot/vmlinuz-*"))), "-initrd", str(image),
        "-append", "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off",
        "-virtfs", "local,path=/,mount_tag=files,security_model=none,readonly=on,multidevs=remap",
    ]  # fmt: skip
    log = WORK / "guest.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT) as guest,
    ):
        try:
            guest.wait(timeout)
        except subprocess.TimeoutExpired:
            guest.kill()
    return log.read_text(errors="replace")


def _modules(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the files of modules and of what they depend on, in the order in which they can be loaded."""
    known = {path.stem.replace("-", "_"): path for path in folder.glob("lib/modules/*/kernel/**/*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = known.get(name.replace("-", "_"))
        if path is None or path in order:  # None: built in
            return
        found = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for other in (found[1].decode() if found else "").split(","):
            if other:
                add(other)
        order.append(path)

    for name in names:
        add(name)
    return order


def _archive(files: dict[str, bytes], folders: Iterable[str]) -> bytes:
    """Return a cpio archive (newc), as the kernel takes its first files."""
    parts = [
        *((name, 0o40755, b"") for name in folders),
        *((name, 0o100755, data) for name, data in files.items()),
    ]
    return b"".join(_entry(number, *part) for number, part in enumerate((*parts, ("TRAILER!!!", 0, b"")), 1))


def _entry(number: int, name: str, mode: int, data: bytes) -> bytes:
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
