"""Where an option's value comes from: flag, environment, ``--config``, user file, default (spec 60 F2)."""

from __future__ import annotations

import json
import logging
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mast3r_model.errors import ConfigError
from mast3r_model.plugins import registry, suggestion

from .catalog import missing_commands

LOGGER = logging.getLogger("mast3r.cli")

PROJECT_SETTINGS_FILE = Path("mast3r.toml")
"""In the working directory: settings of the photos that lie there."""

_ORIGINS = "mast3r_model.cli.origins"


def user_settings_file() -> Path:
    """The user's own settings, such as ``~/.config/mast3r/config.toml``; it need not exist."""
    return Path(click.get_app_dir("mast3r")) / "config.toml"


def load_defaults(context: click.Context, words: Sequence[str], config: Path | None) -> None:
    """Fill ``context.default_map`` from the user's file, the working directory's and that of ``--config``.

    Args:
        context: of the command; its parameters say which keys are known.
        words: the command's name, one or two words: the path of its table.
        config: the file of ``--config``, if given.

    Raises:
        ConfigError: a file cannot be read, or names an option that the command does not have.
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    always = [path for path in (user_settings_file(), PROJECT_SETTINGS_FILE) if path.is_file()]
    for path in [*always, *([] if config is None else [config])]:
        tables = read_settings(path)
        _warn_about_unknown_commands(tables, words, path)
        found = _options(context, words, _table(tables, words, path), path)
        values.update(found)
        origins.update(dict.fromkeys(found, str(path)))
    context.default_map = values
    context.meta[_ORIGINS] = origins


def uses_project_settings(context: click.Context) -> bool:
    """Whether a value comes from the working directory's file: it must not be so unnoticed."""
    return any(
        _origin(context, parameter, parameter.name) == str(PROJECT_SETTINGS_FILE)
        for parameter in context.command.params
        if parameter.name
    )


def origin_of_bad_value(error: click.UsageError) -> str | None:
    """Where a value that was refused stands, if it is no flag: a settings file or a variable."""
    context, parameter = error.ctx, getattr(error, "param", None)
    if context is None or not isinstance(parameter, click.Option) or not parameter.name:
        return None
    origin = _origin(context, parameter, parameter.name)
    if origin == "environment":
        return f"it is the value of {_variable(context, parameter, parameter.name)}"
    return None if origin in ("flag", "default") else f"it is {_spelling(parameter)!r} in {origin}"


def read_settings(path: Path) -> Mapping[str, Any]:
    """Read a settings file: TOML with a table per command, or what ``--show-config --json`` printed.

    Raises:
        ConfigError: the file is missing or is neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if not text.lstrip().startswith("{"):
            return tomllib.loads(text)
        document = json.loads(text)
        return document.get("result", document).get("settings", document)
    except OSError as error:
        raise ConfigError(f"settings file {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"settings file {path} is not valid: {error}", "write it as TOML") from error


def settings_with_origins(context: click.Context, hidden: frozenset[str]) -> dict[str, tuple[object, str]]:
    """Every option's value and where it came from, by option name.

    Args:
        context: a parsed command.
        hidden: parameter names to leave out.
    """
    found: dict[str, tuple[object, str]] = {}
    for parameter in context.command.params:
        name = parameter.name
        if isinstance(parameter, click.Option) and name and name not in hidden and not parameter.hidden:
            value = context.params.get(name)
            found[_spelling(parameter)] = (value, _origin(context, parameter, name))
    return found


def _origin(context: click.Context, parameter: click.Parameter, name: str) -> str:
    match context.get_parameter_source(name):
        case ParameterSource.COMMANDLINE:
            return "flag"
        case ParameterSource.ENVIRONMENT:
            return "environment"
        case ParameterSource.DEFAULT_MAP:
            return str(context.meta.get(_ORIGINS, {}).get(name, "settings file"))
    return "default"


def _variable(context: click.Context, parameter: click.Parameter, name: str) -> str:
    """The environment variable that an option was read from."""
    own = f"{context.auto_envvar_prefix}_{name.upper()}"
    return own if os.environ.get(own) or not parameter.envvar else str(parameter.envvar)


def _spelling(parameter: click.Parameter) -> str:
    long = [spelling for spelling in parameter.opts if spelling.startswith("--")]
    return (long or parameter.opts)[0].lstrip("-")


def _table(tables: Mapping[str, Any], words: Sequence[str], path: Path) -> Mapping[str, Any]:
    """The table of a command: ``[match]``, ``[models.info]`` or ``["models info"]``."""
    found: Any = tables.get(" ".join(words))
    if found is None:
        found = tables
        for word in words:
            found = found.get(word, {}) if isinstance(found, Mapping) else {}
    if not isinstance(found, Mapping):
        raise ConfigError(f"settings file {path}: {'.'.join(words)} is not a table")
    return found


def _warn_about_unknown_commands(tables: Mapping[str, Any], words: Sequence[str], path: Path) -> None:
    """Say that a table is for no command: no error, because other installations may share the file."""
    known = {
        words[0],
        *(name.partition(" ")[0] for name in (*registry("commands"), *missing_commands(set()))),
    }
    for name in tables:
        if name.partition(" ")[0] not in known:
            hint = suggestion(name, known)
            LOGGER.warning("settings file %s: no command %r%s", path, name, f", {hint}" if hint else "")


def _options(
    context: click.Context, words: Sequence[str], table: Mapping[str, Any], path: Path
) -> dict[str, object]:
    known: dict[str, str] = {}
    for parameter in context.command.params:
        if isinstance(parameter, click.Option) and parameter.name:
            known[parameter.name] = parameter.name
            known.update({option.lstrip("-").replace("-", "_"): parameter.name for option in parameter.opts})
    values: dict[str, object] = {}
    for key, value in table.items():
        name = known.get(key.replace("-", "_"))
        if name is None:
            spelled = sorted({name.replace("_", "-") for name in known})
            raise ConfigError(
                f"settings file {path}: {' '.join(words)} has no option {key!r}", suggestion(key, spelled)
            )
        values[name] = value
    return values
