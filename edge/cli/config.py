"""A command whose options may stand in a file, and under headings in its help."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edge.config import Key, Kind, Setting, read, written
from edge.errors import ConfigError
from edge.hidden import hidden

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

SETTINGS = f"{__name__}.settings"
PRINT = f"{__name__}.print"
"""What the context of a command keeps of the two options here."""

REST = "General"
"""Heading of the options that have none."""


class Configured(click.Command):
    """A command with --config and --print-config.

    Keys of the file are the long options without their dashes, and the arguments' names. What the command line
    says goes before the file, and the file before defaults. Relative paths in it start in the file's folder.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.context_settings.setdefault("max_content_width", 110)  # where the terminal is that wide
        self._needed = [one for one in self.params if isinstance(one, click.Argument) and one.required]
        for argument in self._needed:
            argument.required = False  # on the command line
        self.params += [
            click.Option(
                ["--config"], type=click.Path(path_type=Path), metavar="FILE", is_eager=True, expose_value=False,
                callback=self._configure, help="Read options from this TOML file.",
            ),
            click.Option(
                ["--print-config"], is_flag=True, expose_value=False, callback=_ask,
                help="Print all options as TOML, with where each came from, and end.",
            ),
        ]  # fmt: skip

    @property
    def keys(self) -> dict[str, click.Parameter]:
        """Key to parameter, in the order of --help: all but those that act at once."""
        return {key_of(one): one for one in self.params if not (one.is_eager or one.callback is _ask)}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read command line and file. Raises ConfigError, which names file and key, and click's own errors."""
        given = [*args]
        try:
            rest = super().parse_args(ctx, args)
        except click.BadParameter as error:
            raise _of_file(ctx, error) or error from error
        if PRINT in ctx.meta:
            opts, _, _ = self.make_parser(ctx).parse_args(args=given)
            for key, param in self.keys.items():
                click.echo(_line(ctx, key, param, opts))
            ctx.exit()
        for argument in self._needed:
            if argument.name is not None and ctx.params.get(argument.name) is None:
                name = argument.name.upper()
                raise click.UsageError(f"Missing argument '{name}'; expected {name} here or in --config FILE", ctx)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        found: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record and isinstance(param, click.Option):
                found.setdefault(getattr(param, "heading", REST), []).append(record)
        rest = found.pop(REST)
        width = min(30, max(len(option) for records in (*found.values(), rest) for option, _ in records))
        for heading, records in (*found.items(), (REST, rest)):
            with formatter.section(heading):
                formatter.write_dl([(option.ljust(width) if text else option, text) for option, text in records])

    def _configure(self, ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
        if path is None:
            return
        params = self.keys
        settings = read(path, {key: _kind(param) for key, param in params.items()})
        ctx.meta[SETTINGS] = {params[key].name: setting for key, setting in settings.items()}
        folder = path.absolute().parent
        ctx.default_map = {
            str(params[key].name): _placed(params[key], setting.value, folder) for key, setting in settings.items()
        }


def section(heading: str, *decorators: Decorator) -> Decorator:
    """Put the options that `decorators` add to a command under a heading of its help."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        before = {id(param) for param in getattr(function, "__click_params__", ())}
        for decorator in reversed(decorators):
            function = decorator(function)
        for param in getattr(function, "__click_params__", ()):
            if id(param) not in before and not hasattr(param, "heading"):
                param.heading = heading
        return function

    return decorate


def key_of(param: click.Parameter) -> str:
    """Return the parameter's key in a file: its first long name."""
    if isinstance(param, click.Argument):
        return str(param.name)
    return next(name for name in param.opts if name.startswith("--")).removeprefix("--")


def _kind(param: click.Parameter) -> Key:
    many = param.nargs != 1 or param.multiple
    flag = isinstance(param, click.Option) and param.is_flag
    if flag or isinstance(param.type, click.types.BoolParamType):
        return Key(Kind.FLAG, many)
    if isinstance(param.type, click.types.IntParamType):
        return Key(Kind.WHOLE, many)
    if isinstance(param.type, click.types.FloatParamType):
        return Key(Kind.NUMBER, many)
    return Key(Kind.TEXT, many)


def _is_path(param: click.Parameter, value: Any) -> bool:
    """Say whether the value is a place in the file system. SOURCE may be, or a number or an address."""
    if not isinstance(value, str) or value == "-" or "://" in value:
        return False
    return isinstance(param.type, click.Path) or (param.name == "source" and not value.isdecimal())


def _placed(param: click.Parameter, value: Any, folder: Path) -> Any:
    """Take a relative path as one from `folder`."""
    if isinstance(value, list):
        return [_placed(param, item, folder) for item in value]
    return str(folder / os.path.expanduser(value)) if _is_path(param, value) else value


def _of_file(ctx: click.Context, error: click.BadParameter) -> ConfigError | None:
    """Return the error as one of the file, where the value came from it."""
    settings: dict[str | None, Setting] = ctx.meta.get(SETTINGS, {})
    setting = settings.get(error.param.name) if error.param else None
    if setting is None or _origin(ctx, error.param) is not ParameterSource.DEFAULT_MAP:
        return None
    return ConfigError(f"{setting.place}: {setting.key}: {error.message}")


def _origin(ctx: click.Context, param: click.Parameter | None) -> ParameterSource | None:
    return ctx.get_parameter_source(param.name) if param and param.name else None


def _ask(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[PRINT] = True


def _line(ctx: click.Context, key: str, param: click.Parameter, opts: dict[str, Any]) -> bytes:
    """Return a line of --print-config."""
    value, origin = _value(ctx, param, opts)
    if value is None:
        return f"# {key} is not set".encode()
    shown = _hidden(value, param.metavar == "URL")
    line = f"{key} = {written(shown)}  # {origin}{'' if shown == value else ', hidden in part'}"
    try:
        return line.encode()  # TOML is UTF-8, whatever the terminal is
    except UnicodeEncodeError:
        return f"# {line}; no UTF-8, so that no file can say it".encode("utf-8", "backslashreplace")


def _value(ctx: click.Context, param: click.Parameter, opts: dict[str, Any]) -> tuple[Any, str]:
    """Return what holds, as it was said and not as the command takes it; None: nothing does."""
    source, name = _origin(ctx, param), str(param.name)
    if source is ParameterSource.COMMANDLINE:
        value, origin = opts[name], "command line"
    elif source is ParameterSource.DEFAULT_MAP:
        value, origin = ctx.lookup_default(name), written(ctx.meta[SETTINGS][name].place)[1:-1]
    else:
        value, origin = param.get_default(ctx), "default"
        if ctx.params.get(name, True) is None:
            value = None
    return _plain(ctx, param, value), origin


def _plain(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Return the value as TOML has it: a command line knows texts alone."""
    key = _kind(param)
    if value is None or not key.many:
        return _plain_item(ctx, param, key.kind, value)
    items = value if isinstance(value, list | tuple) else ()  # what click has for "not set" is no list
    return [_plain_item(ctx, param, key.kind, item) for item in items]


def _plain_item(ctx: click.Context, param: click.Parameter, kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind is Kind.FLAG:
        return value is True or (isinstance(value, str) and bool(param.type.convert(value, param, ctx)))
    if kind is not Kind.TEXT:
        return param.type.convert(value, param, ctx)
    text = str(value)
    return str(Path(text).absolute()) if _is_path(param, text) else text


def _hidden(value: Any, url: bool) -> Any:
    """Hide secrets. `url`: it is one, also where its scheme was forgotten."""
    if isinstance(value, list):
        return [_hidden(item, url) for item in value]
    if not isinstance(value, str):
        return value
    return hidden(f"x://{value}").removeprefix("x://") if url and "://" not in value else hidden(value)
