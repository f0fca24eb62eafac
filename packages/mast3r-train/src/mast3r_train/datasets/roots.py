"""Where a dataset's prepared files are (spec 40 section 1.4)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType

from mast3r_model import ConfigError, InputError, registry
from mast3r_model.plugins import suggestion

ROOT_VARIABLE = "MAST3R_DATA_ROOT"
"""Environment variable with the folder that holds the prepared datasets."""

_NONE: Mapping[str, Path] = MappingProxyType({})
_named_roots: ContextVar[Mapping[str, Path]] = ContextVar("named_roots", default=_NONE)


@contextmanager
def named_roots(roots: Mapping[str, Path]) -> Iterator[None]:
    """Inside the block, datasets built by these names find their files there (``--data_root``)."""
    token = _named_roots.set({**_named_roots.get(), **roots})
    try:
        yield
    finally:
        _named_roots.reset(token)


def parse_named_root(text: str) -> tuple[str, Path]:
    """``NAME=PATH`` of the flag ``--data_root``.

    Raises:
        ConfigError: it has no name or no path, or no dataset has the name.
    """
    name, equals, path = text.partition("=")
    if not (name.strip() and equals and path.strip()):
        raise ConfigError(
            f"--data_root {text!r} is not NAME=PATH", hint="such as --data_root Co3d=/data/co3d_processed"
        )
    name, known = name.strip(), registry("datasets")
    if name not in known:
        raise ConfigError(
            f"--data_root {text!r}: no dataset is called {name}", hint=suggestion(name, known.names())
        )
    return name, Path(path.strip()).expanduser()


def find_root(names: tuple[str, ...], given: str | os.PathLike[str] | None, default_folder: str) -> Path:
    """The folder of a dataset's prepared files.

    It is the first of: ``ROOT=`` of the expression, ``--data_root``, ``$MAST3R_DATA_ROOT/<default folder>``,
    ``data/<default folder>``.

    Args:
        names: what the dataset is called in expressions.
        given: ``ROOT=``, or None.
        default_folder: the name of its folder, from spec 41.

    Raises:
        InputError: there is no such folder; the message names the places.
    """
    named = next((root for name, root in _named_roots.get().items() if name in names), None)
    chosen = Path(given).expanduser() if given is not None else named
    if chosen is None:
        home = os.environ.get(ROOT_VARIABLE)
        chosen = (Path(home).expanduser() if home else Path("data")) / default_folder
    if not chosen.is_dir():
        raise InputError(
            f"{names[0]}: the data folder {chosen} does not exist",
            hint=f"give ROOT='...' in the expression, --data_root {names[0]}=..., or set {ROOT_VARIABLE} to "
            f"the folder that holds {default_folder}",
        )
    return chosen
