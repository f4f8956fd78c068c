"""``bakeoff.toml``: defaults for options. The command line wins over ``-c FILE``, that over ``./bakeoff.toml``, that over the user's file.

A table for each command, ``[run]`` say, has the command's long options as keys, without the dashes in front.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import click

from bakeoff.errors import InputError, nearest
from bakeoff.home import user_config

CONFIGURABLE = ("run", "resume", "replay", "report", "compare", "check", "export", "import", "list")
"""Commands that a file may give defaults to."""

_UNSET = ("config", "help", "version")


def use_config(ctx: click.Context, _: click.Parameter, named: str | None) -> None:
    """Callback of ``-c``: make what the files say the defaults of this command. Raises InputError for a file or key that is wrong."""
    files = [user_config(), Path("bakeoff.toml")]
    merged: dict[str, object] = {}
    for file in files:
        if file.is_file():
            merged |= command_defaults(file, ctx)
    if named is not None:
        merged |= command_defaults(Path(named), ctx)
    ctx.default_map = merged


def command_defaults(file: Path, ctx: click.Context) -> dict[str, object]:
    """What ``file`` says for the command of ``ctx``, by parameter name, checked as the command line itself would check it."""
    tables = read_tables(file)
    options = {_key(param): param for param in ctx.command.params if _configurable(param)}
    defaults: dict[str, object] = {}
    for key, value in tables.get(ctx.info_name or "", {}).items():
        where, field = str(file), f"{ctx.info_name}.{key}"
        param = options.get(key.replace("_", "-"))
        if param is None:
            raise InputError("no such option", where=where, field=field, nearest=nearest(key, options))
        defaults[param.name] = _checked(param, value, ctx, where, field)
    return defaults


def read_tables(file: Path) -> dict[str, Mapping[str, object]]:
    """The tables of a configuration file, by command."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", where=str(file)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(file)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not TOML: {error}", where=str(file)) from None
    for name, table in data.items():
        if not isinstance(table, dict):
            wanted = f"[{name}]" if name in CONFIGURABLE else "options in the table of their command, such as [run]"
            raise InputError("not a table", where=str(file), field=name, wanted=wanted)
        if name not in CONFIGURABLE:
            tables = "one of " + ", ".join(CONFIGURABLE)
            near = nearest(name, CONFIGURABLE)
            raise InputError("no such table", where=str(file), field=name, wanted=tables, nearest=near)
    return data


def _configurable(param: click.Parameter) -> bool:
    return isinstance(param, click.Option) and param.name not in _UNSET


def _key(param: click.Parameter) -> str:
    return max(param.opts, key=len).lstrip("-")


def _checked(param: click.Parameter, value: object, ctx: click.Context, where: str, field: str) -> object:
    is_flag = isinstance(param, click.Option) and param.is_flag
    right: type | tuple[type, ...]
    if param.multiple:
        right, wanted = list, "a list"
    elif is_flag:
        right, wanted = bool, "true or false"
    else:
        right, wanted = (str, int, float), "one value"
    if not isinstance(value, right) or (isinstance(value, bool) and not is_flag):
        raise InputError("wrong type", where=where, field=field, found=repr(value), wanted=wanted)
    try:
        param.type_cast_value(ctx, value)
    except InputError as error:
        raise InputError(
            error.message, where=where, field=field, found=error.found, wanted=error.wanted, nearest=error.nearest
        ) from None
    except click.BadParameter as error:
        raise InputError(error.message.rstrip("."), where=where, field=field, found=repr(value)) from None
    return value


config_option = click.option(
    "-c",
    "--config",
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=use_config,
    help="Defaults for options.",
)
"""``-c FILE``, for every command of ``CONFIGURABLE``."""
