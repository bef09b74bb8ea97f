"""Which engine a command is to open, as options on its command line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from edge.choices import BACKENDS, Precision
from edge.cli.app import cache_folder

if TYPE_CHECKING:
    from edge.backends.base import Options

ENGINES = "engines"
"""Folder of the cache: what this device keeps of its engines."""


@dataclass(frozen=True)
class Engine:
    """What was asked for."""

    backend: str
    """As in edge.backends.BACKENDS."""
    precision: Precision | None
    """None: the bundle's recommended one."""
    options: Options


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --backend, --precision and what goes with them to a command, which gets them as `engine`."""

    @functools.wraps(function)
    def command(**others: Any) -> Any:
        return function(engine=take_engine(others), **others)

    kinds = [kind.value for kind in Precision]
    return _added(
        command,
        click.option("--precision", type=click.Choice(kinds), help="[default: the recommended one]"),
        click.option("--backend", type=click.Choice(BACKENDS), default="auto", show_default=True),
        click.option(
            "--threads", type=click.IntRange(0), default=0, help="Of one inference; 0: the engine chooses."
        ),
        *TENSORRT_OPTIONS,
    )


def tensorrt_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what concerns TensorRT engines alone to a command, which gets `options`."""

    @functools.wraps(function)
    def command(**others: Any) -> Any:
        return function(options=take_options(others), **others)

    return _added(command, *TENSORRT_OPTIONS)


TENSORRT_OPTIONS = (
    click.option(
        "--max-batch", type=click.IntRange(1, 1024), default=1, show_default=True, help="Of TensorRT engines."
    ),
    click.option(
        "--workspace", type=click.IntRange(1), default=1024, show_default=True,
        metavar="MB", help="GPU memory that a layer of a TensorRT engine may use.",
    ),
)  # fmt: skip


def take_engine(values: dict[str, Any]) -> Engine:
    """Take all options of an engine out of a command's `values`."""
    backend, precision = values.pop("backend"), values.pop("precision")
    return Engine(backend, Precision(precision) if precision else None, take_options(values))


def take_options(values: dict[str, Any]) -> Options:
    """Take the options of an engine out of a command's `values`."""
    from edge.backends.base import Options  # noqa: PLC0415  heavy

    return Options(
        threads=values.pop("threads", 0),
        max_batch=values.pop("max_batch"),
        workspace=values.pop("workspace") << 20,
        cache=(cache_folder() / ENGINES).absolute(),
    )


def _added(
    function: Callable[..., Any], *options: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[..., Any]:
    for option in reversed(options):
        function = option(function)
    return function
