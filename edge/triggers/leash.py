"""A program that becomes another one, which ends with the process that wanted it: leash.py PARENT COMMAND..."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command. Exits with 127 where that can't be."""
    parent, *words = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the process that wanted it has gone")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as a shell would have it; Python does not
    try:
        os.execvp(words[0], words)  # noqa: S606  the operator's own command
    except OSError as error:
        print(f"{words[0]} can't be started: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(127)


if __name__ == "__main__":
    main()
