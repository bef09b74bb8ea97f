#!/bin/sh
# Installs a bin: Dockerfile.jetson, Dockerfile and a bare board all call this. Debian 12, Ubuntu 22.04 and later.
#
#   sudo deploy/install.sh                       # all steps, on a board: system nvidia user packages service
#   sudo deploy/install.sh system user packages  # a machine without NVIDIA's parts, and no service
#
# Steps, in any order, each safe to repeat:
#   system    what Debian or Ubuntu bring: Python, and what OpenCV links to
#   nvidia    a Jetson's own: TensorRT by apt, never by pip, and GStreamer for CSI cameras
#   user      the user that a bin runs as, in the groups of its devices
#   packages  /opt/binsight: a virtual environment with what a bin needs, from wheels alone
#   service   the systemd unit, and an /etc/binsight/bin.toml where there is none
#
# Settings, from the environment:
#   SOURCE         a wheel of binsight, or its checkout; this one by default
#   EXTRAS         cpu by default; gpu on a desktop GPU; cpu,gpio where a flap or a lid switch hangs on GPIO lines
#   PREFIX         /opt/binsight by default
#   JETSON_RELEASE such as r39.2: add NVIDIA's apt repositories of it first. A flashed board and l4t-jetpack have them.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
SOURCE=${SOURCE:-$here}
EXTRAS=${EXTRAS:-cpu}
PREFIX=${PREFIX:-/opt/binsight}
JETSON_RELEASE=${JETSON_RELEASE:-}
USER_ID=10001
NVIDIA=https://repo.download.nvidia.com/jetson
KEY=/usr/share/keyrings/jetson-ota-public.asc

fail() {
    echo "install.sh: error: $1" >&2
    exit 2
}

add_packages() {
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
    rm -rf /var/lib/apt/lists/*
}

step_system() {
    add_packages ca-certificates python3 python3-venv libgl1 libglib2.0-0
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "python3 is $(python3 -V 2>&1), expected 3.10 or later: JetPack 4 and 5 are not supported, flash 6 or 7"
}

step_nvidia() {
    cudart=
    if [ -n "$JETSON_RELEASE" ]; then
        case $JETSON_RELEASE in
            r36.4) cudart=cuda-cudart-12-6 ;;
            r38.4) cudart=cuda-cudart-13-0 ;;
            r39.2) cudart=cuda-cudart-13-2 ;;
            *) fail "JETSON_RELEASE is $JETSON_RELEASE, expected r36.4 (JetPack 6.2), r38.4 (7.1) or r39.2 (7.2)" ;;
        esac
        add_packages ca-certificates curl
        curl -fsSL -o "$KEY" "$NVIDIA/jetson-ota-public.asc"
        for part in common som; do echo "deb [signed-by=$KEY] $NVIDIA/$part $JETSON_RELEASE main"; done \
            >/etc/apt/sources.list.d/nvidia-l4t-apt-source.list
    fi
    grep -rqs "$NVIDIA" /etc/apt/sources.list.d ||
        fail "apt knows no Jetson repository, expected $NVIDIA in /etc/apt/sources.list.d: set JETSON_RELEASE, such \
as r36.4 or r39.2, or leave the step nvidia out"
    # shellcheck disable=SC2086 # none or one name
    add_packages tensorrt-libs python3-libnvinfer $cudart \
        python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
}

step_user() {
    # The names are those of binsight.sysusers; the numbers of a board's own groups stay as they are.
    for group in video render gpio; do
        getent group "$group" >/dev/null || groupadd --system "$group"
    done
    getent group binsight >/dev/null || groupadd --system --gid "$USER_ID" binsight
    id binsight >/dev/null 2>&1 || useradd --system --uid "$USER_ID" --gid binsight --no-create-home \
        --home-dir /var/lib/binsight --shell /usr/sbin/nologin binsight
    usermod --append --groups video,render,gpio binsight
    install -d -m 750 -o binsight -g binsight /var/lib/binsight
}

step_packages() {
    # TensorRT's binding is a system package: the environment has to see those. What pip brings goes before them.
    python3 -m venv --system-site-packages "$PREFIX"
    "$PREFIX/bin/pip" install --quiet --no-cache-dir --upgrade 'pip>=24'
    "$PREFIX/bin/pip" install --quiet --no-cache-dir --only-binary=:all: "${SOURCE}[$EXTRAS]"
    trim
    "$PREFIX/bin/edge-run" --version
}

# What a bin never needs: setuptools, tests of packages, ONNX Runtime once more for programs in C++ (Python's part holds
# its own). pip stays for what edge-doctor advises, not compiled; all else is: a bin can't write it here at its start.
trim() {
    "$PREFIX/bin/pip" uninstall --quiet --yes setuptools
    find "$PREFIX/lib" -type d -name tests -prune -exec rm -rf {} +
    find "$PREFIX/lib" -type d -path '*/site-packages/pip/*' -name __pycache__ -prune -exec rm -rf {} +
    find "$PREFIX/lib" -path '*/onnxruntime/capi/libonnxruntime.so.*' -delete
}

step_service() {
    [ -d /run/systemd/system ] || fail "systemd does not run here: leave the step service out"
    install -Dm644 "$here/deploy/binsight.sysusers" /usr/lib/sysusers.d/binsight.conf
    install -Dm644 "$here/deploy/binsight.service" /etc/systemd/system/binsight.service
    [ -e /etc/binsight/bin.toml ] || install -Dm644 "$here/deploy/bin.toml" /etc/binsight/bin.toml
    systemctl daemon-reload
    echo "next: a bundle in /var/lib/binsight/bundle, then systemctl enable --now binsight"
}

[ "$(id -u)" = 0 ] || fail "this is user $(id -un), expected root: sudo $0"
[ $# -gt 0 ] || set -- system nvidia user packages service
for step in "$@"; do
    case $step in
        system | nvidia | user | packages | service) ;;
        *) fail "step is $step, expected some of system, nvidia, user, packages, service" ;;
    esac
done
for step in "$@"; do
    "step_$step"
done
