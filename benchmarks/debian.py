"""Roots of Debian on this machine, and what runs in them: for proofs of the installation. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

RELEASE = "bookworm"
TOOLS = {"debootstrap": "debootstrap", "unshare": "util-linux", "setpriv": "util-linux", "ip": "iproute2"}
"""Program to the Debian package that brings it."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
HANDED = "/etc/host-certificates.crt"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PIP_FILES = ("pip.conf", "xdg/pip/*")
"""Below /etc."""


def need(*more: tuple[str, str]) -> None:
    """End with what is missing, and how to get it. `more`: programs beside TOOLS, with their packages."""
    if os.geteuid() != 0:
        sys.exit("this proof makes roots of Debian and enters them: run it as root")
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    missing += [package for program, package in more if not shutil.which(program)]
    if missing:
        sys.exit(f"missing here: apt-get install {' '.join(dict.fromkeys(missing))}")


def make(root: Path, architecture: str) -> None:
    """Make a root that holds no more than Debian needs, once, and let it reach packages as this machine does."""
    if not (root / "made").exists():
        shutil.rmtree(root, ignore_errors=True)
        words = ["debootstrap", "--variant=minbase", "--include=ca-certificates", f"--arch={architecture}"]
        subprocess.run([*words, RELEASE, root], check=True, stdout=subprocess.DEVNULL)
        (root / "made").touch()
    _hand_over(root)


def _hand_over(root: Path) -> None:
    """Give the root how this machine reaches the network: names, certificates, pip's and apt's settings."""
    proxies = sorted(Path("/etc/apt/apt.conf.d").glob("*proxy*"))
    files = [
        Path("/etc/resolv.conf"),
        Path("/etc/hosts"),
        *proxies,
        *(file for name in PIP_FILES for file in Path("/etc").glob(name)),
    ]
    for file in filter(Path.is_file, files):
        there = root / file.relative_to("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, there)
    if CERTIFICATES.is_file():
        shutil.copyfile(CERTIFICATES, root / HANDED.lstrip("/"))


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a command in a root gets of this process's environment, and `more`."""
    kept = {
        name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()
    }
    certificates = dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), HANDED)
    return {**kept, **certificates, "PATH": PATH, "HOME": "/root", **(more or {})}


def entering(root: Path, *, apart: bool = False) -> list[str]:
    """Return the words before `sh -c SCRIPT` to run it in a root: /proc, /sys and processes of its own.

    `apart`: a network of its own too, with nothing but itself in it. All of it goes when the script ends.
    """
    inside = 'mount -t proc proc {0}/proc && mount -t tmpfs tmpfs {0}/dev/shm && {1} exec chroot {0} sh -c "$1"'
    begin = "ip link set lo up &&" if apart else ""
    (root / "dev" / "shm").mkdir(exist_ok=True)
    network = ["--net"] if apart else []
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *network]
    return [*words, "sh", "-ec", inside.format(root, begin), "sh"]


def run(root: Path, script: str, more: Mapping[str, str] | None = None, *, apart: bool = False) -> str:
    """Run a shell's script in a root, and return what it printed. Ends the proof where it fails."""
    done = subprocess.run(
        [*entering(root, apart=apart), script],
        env=environment(more),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{script!r} in {root} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def as_user(user: str, folder: str, words: Sequence[str]) -> str:
    """Return a line of shell that runs `words` as Docker does for USER and WORKDIR: a number, with its groups."""
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    return f"cd {folder} && setpriv --reuid={user} --regid={user} --init-groups --inh-caps=-all {quoted}"


def unpack(root: Path, architecture: str, packages: Sequence[str]) -> None:
    """Unpack packages of another architecture and what they need, once, and run nothing of them."""
    if (root / "made").exists():
        return
    shutil.rmtree(root, ignore_errors=True)
    words = ["debootstrap", "--foreign", "--variant=minbase", f"--include={','.join(packages)}"]
    subprocess.run([*words, f"--arch={architecture}", RELEASE, root], check=True, stdout=subprocess.DEVNULL)
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
    (root / "made").touch()
