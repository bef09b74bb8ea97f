"""Console scripts in processes of their own that have imported PyTorch already, which takes seconds each time.

`run` begins a server once, which imports what is heavy and then forks a child for each command: the child gets the
command's words, folder, environment, stdout and stderr, and calls the entry point as the installed script does.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

ENTRIES = {
    "edge-data": "train.cli.data:main",
    "edge-export": "export.cli:main",
    "edge-train": "train.cli.train:main",
}
"""What is worth it."""
HEAVY = (
    "torch",
    "torchvision.transforms.v2",
    "lightning.pytorch",
    "torchmetrics",
    "sklearn",
    "torch.onnx",
    "onnxscript",
)
MOST_BYTES = 2**20
"""Of one order."""


def run(
    name: str, words: Sequence[str], folder: Path, environment: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Raises TimeoutExpired."""
    server = _server()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        order = json.dumps({"name": name, "words": words, "folder": str(folder), "environment": environment})
        socket.send_fds(server, [order.encode()], [out.fileno(), err.fileno()])
        pid = int(server.recv(64))
        server.settimeout(timeout)
        try:
            code = int(server.recv(64))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            server.settimeout(None)
            server.recv(64)
            raise subprocess.TimeoutExpired([name, *words], timeout) from None
        server.settimeout(None)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess([name, *words], code, out.read(), err.read())


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, __file__, str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _serve(orders: socket.socket) -> None:
    sys.path[0] = str(Path(sys.executable).parent)  # an installed script's own
    for module in HEAVY:
        importlib.import_module(module)
    while True:
        order, handles, _, _ = socket.recv_fds(orders, MOST_BYTES, 2)
        if not order:
            return
        child = os.fork()
        if not child:
            orders.close()
            _become(json.loads(order), handles)
            return
        for handle in handles:
            os.close(handle)
        orders.send(str(child).encode())
        orders.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _become(order: dict[str, Any], handles: Sequence[int]) -> None:
    """Run the command; its SystemExit ends this process."""
    for handle, number in zip(handles, (1, 2), strict=True):
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = [str(Path(sys.executable).parent / order["name"]), *order["words"]]
    module, _, main = ENTRIES[order["name"]].partition(":")
    getattr(importlib.import_module(module), main)()


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
