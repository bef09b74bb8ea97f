"""What all commands share: exit codes, one-line errors, signals, --json and --debug."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from edge import __version__
from edge.cli import logs
from edge.errors import BinsightError
from edge.hidden import discreet

if TYPE_CHECKING:  # with numpy and OpenCV beneath it, which a machine may lack
    from edge.scores import Scores

OK, NO, WRONG, FAULT = 0, 1, 2, 70
"""Exit codes: done; the job ran and its answer is no; input or arguments are wrong; a fault of ours."""

EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "lightning", "matplotlib", "jinja2", "yaml"), "train"),
    **dict.fromkeys(("onnx", "onnxscript", "onnx_ir"), "export"),
    "onnxruntime": "cpu",
    "openvino": "openvino",
}
"""Library to the extra that brings it."""

log = logging.getLogger(__name__)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM. Not a KeyboardInterrupt, which libraries swallow or turn into an exit of their own."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum
        self.note = ""
        """What was kept, for the user: set by whoever saved something on the way out."""


def shared_options(function: Decorated) -> Decorated:
    """Add --json, --debug and --version to a command."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, nothing else."),
        click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            callback=_on_debug,
            help="Show the traceback of an error.",
        ),
        click.version_option(__version__, prog_name="binsight"),
    ):
        function = option(function)
    return function


def failed_parity_option(function: Decorated) -> Decorated:
    """Add --allow-failed-parity to a command that opens an artifact."""
    return click.option(
        "--allow-failed-parity",
        is_flag=True,
        help="Run a graph whose verdict is FAIL, which is refused otherwise.",
    )(function)


def run(command: click.Command, name: str, arguments: list[str] | None = None) -> NoReturn:
    """Run a command to its exit code. Every error is one line on stderr, with a traceback only by --debug."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Pillow warns of large and oddly written images: `decode` judges the first, and the second are no news.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # ONNX Runtime from 1.29 on counts its users from the moment it is imported. A bin tells nobody anything.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    logs.begin(name)
    if "--debug" in arguments:  # what is wrong with the arguments is said before they are read
        logs.say_all()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name need not be text: print it escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    sys.exit(_outcome(command, name, arguments))


def _on_debug(context: click.Context, option: click.Parameter, value: bool) -> None:  # noqa: ARG001  click's
    if value:
        logs.say_all()


def _outcome(command: click.Command, name: str, arguments: list[str]) -> int:
    try:
        # Not command.main, which takes a broken pipe for itself and exits 1.
        with command.make_context(name, list(arguments)) as context:
            code = command.invoke(context)
        print(end="", flush=True)  # noqa: T201  flushes, also where stdout is closed and None
        return code if isinstance(code, int) else OK
    except click.exceptions.Exit as error:  # --help, --version
        return error.exit_code
    except click.ClickException as error:
        return _say(name, error.format_message(), WRONG)
    except BinsightError as error:
        return _say(name, str(error), WRONG)
    except (Interrupted, click.Abort) as error:
        signum = error.signum if isinstance(error, Interrupted) else signal.SIGINT
        note = error.note if isinstance(error, Interrupted) else ""
        logs.note(f"{name}: interrupted{'; ' + note if note else ''}")
        return 128 + signum
    except BrokenPipeError:
        # The reader has gone (`| head`): nobody is left to tell. Python must not try to flush at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return OK
    except OSError as error:
        return _say(name, f"{error.strerror or error}: {error.filename or 'no file named'}", WRONG)
    except Exception as error:  # noqa: BLE001  the last seam: a fault of ours still ends in one line
        library = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
        if library in EXTRAS:
            text = f"{library} is not installed: pip install 'binsight[{EXTRAS[library]}]'"
            return _say(name, text, WRONG)
        text = f"fault in binsight: {type(error).__name__}: {error}; please report it with --debug's output"
        return _say(name, text, FAULT)


def _say(name: str, text: str, code: int) -> int:
    one_line = " ".join(discreet(text).split())
    if logs.speaks_json():
        log.error("%s", one_line, exc_info=logs.says_all())
        return code
    if logs.says_all():
        print(discreet(traceback.format_exc()), end="", file=sys.stderr)  # noqa: T201
    print(f"{name}: error: {one_line}", file=sys.stderr)  # noqa: T201
    return code


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is signal's
    raise Interrupted(signum)


def say(text: str) -> None:
    """Print a line of result on stdout."""
    click.echo(logs.printable(text))


def say_json(result: Mapping[str, object]) -> None:
    """Print the one JSON object of --json on stdout."""
    click.echo(json.dumps(result, allow_nan=False))


def say_scores(scores: Scores) -> None:
    """Print the per-class table on stdout."""
    width = max(map(len, (*scores.per_class, "class")))
    say(f"{'class':{width}}  precision  recall     f1  photos")
    for label, one in scores.per_class.items():
        say(f"{label:{width}}  {one.precision:9.3f}  {one.recall:6.3f}  {one.f1:5.3f}  {one.support:6d}")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], object]]:
    """Give a function of (done, total) that moves a bar on a terminal, and does nothing elsewhere."""
    from tqdm import tqdm  # noqa: PLC0415  heavy

    with tqdm(desc=what, unit="img", disable=None, leave=False) as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield move


def cache_folder() -> Path:
    """Return where unpacked archives are kept: $XDG_CACHE_HOME/binsight, else ~/.cache/binsight."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "binsight"
