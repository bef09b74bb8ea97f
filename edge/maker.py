"""A TensorRT engine built in the background, while another engine serves."""

from __future__ import annotations

import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from edge.backends import Backend
from edge.backends.trt.store import Store
from edge.errors import BinsightError
from edge.maker_child import Task, encode

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-c", "from edge.maker_child import main; main()")
LOOK_EVERY = 0.5
"""Seconds between two looks at the memory of the child."""
SHARE_OF_MEMORY = 0.5
"""That a build may take, of all memory of the device."""
LESS = "lower --workspace, add swap, or end what else runs"
PATIENCE = 10.0
"""Seconds for the thread to end when it is asked to."""


def memory_limit() -> int:
    """Return the bytes that a build may take."""
    return int(SHARE_OF_MEMORY * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


@dataclass
class EngineMaker:
    """Builds and proves an engine in a child process; then opens it, warm, for whoever polls.

    The child is bound in memory, is the first that the kernel ends where memory runs out, and ends with us.
    """

    task: Task
    open: Callable[[], Backend]
    """Opens and proves the engine once it is kept on this device. Raises BinsightError."""
    limit: int = field(default_factory=memory_limit)
    """Bytes that the child may take of the CPU's memory; of the GPU's Options.workspace bounds a layer."""
    command: Sequence[str] = field(default_factory=lambda: COMMAND)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)
    _ready: queue.SimpleQueue[Backend] = field(default_factory=queue.SimpleQueue, init=False)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="engine-maker", daemon=True)

    def __enter__(self) -> EngineMaker:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        late = self.poll()
        if late is not None:
            late.close()

    @property
    def is_working(self) -> bool:
        """Whether an engine may yet come."""
        return self._thread.is_alive()

    def poll(self) -> Backend | None:
        """Return the engine once, when it is ready; it is the caller's to close."""
        try:
            return self._ready.get_nowait()
        except queue.Empty:
            return None

    def _run(self) -> None:
        try:
            failure = self._build()
            if not self._stop.is_set() and not failure:
                self._ready.put(self.open())
        except BinsightError as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001  the last seam: what serves goes on, and somebody is told
            failure = f"fault in binsight: {type(error).__name__}: {error}"
        if failure and not self._stop.is_set():
            log.error("TensorRT does not serve: %s", failure)

    def _build(self) -> str:
        """Run the child to its end, and return why there is no engine; empty where there is one.

        Raises BackendError where the cache can't be written.
        """
        folder = self.task.options.cache or Path()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Store(folder).unwritable(error) from error
        child = subprocess.Popen(  # noqa: S603
            [*self.command, encode(self.task)],
            cwd=folder,  # not the user's folder, where a package `edge` may lie
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=True,  # Ctrl-C is ours to hear
        )
        said = _Listener(child)
        try:
            while child.poll() is None:
                if self._stop.wait(LOOK_EVERY):
                    return "stopped"
                taken = _anonymous_memory(child.pid)
                if taken > self.limit:
                    return f"the build took {taken >> 20} MiB of memory, allowed {self.limit >> 20}: {LESS}"
        finally:
            child.kill()
            child.wait()
            said.join()
        return _failure(child.returncode, said.last)


def _failure(code: int, last: str) -> str:
    """Say why a child ended with `code`, after it said `last`; empty where it did its work."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"the build was ended by {name}, as it is where memory runs out: {LESS}"
    return "" if code == 0 else last or f"the build ended with {code}"


class _Listener:
    """Logs what a child says, line by line, and remembers the last."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.last = ""
        self._child = child
        self._thread = threading.Thread(target=self._listen, name="engine-maker-log", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until all was heard: the child has ended."""
        self._thread.join(PATIENCE)

    def _listen(self) -> None:
        with self._child.stderr or open(os.devnull) as lines:
            for line in lines:
                self.last = line.strip() or self.last
                log.info("engine: %s", line.strip())


def _anonymous_memory(process: int) -> int:
    """Return the bytes of a process that no file backs: TensorRT's libraries alone map a gigabyte."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has just ended
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) << 10 if found else 0
