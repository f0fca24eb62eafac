"""The one JSON document that ``--json`` prints (spec 60 F2)."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TextIO

from mast3r_model.errors import Mast3rError

OUR_PACKAGES = (
    "curope",
    "croco-backbone",
    "mast3r-model",
    "mast3r-match",
    "mast3r-sfm",
    "mast3r-visloc",
    "mast3r-train",
    "mast3r-demo",
)


def schema_name(command: str) -> str:
    """``"models info"`` -> ``"mast3r.models.info/1"``; the number rises when a field changes its meaning."""
    return f"mast3r.{command.replace(' ', '.')}/1"


def success_document(
    command: str, result: object, warnings: Sequence[str], timings: Mapping[str, float]
) -> dict[str, object]:
    """What a command that went well prints."""
    return {
        "schema": schema_name(command),
        "ok": True,
        "result": result,
        "warnings": list(warnings),
        "timings": {name: round(seconds, 4) for name, seconds in timings.items()},
        "versions": versions(),
    }


def error_document(command: str, error: BaseException, warnings: Sequence[str] = ()) -> dict[str, object]:
    """What a command that failed prints; the exit code says how."""
    hint = error.hint if isinstance(error, Mast3rError) else None
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if not message:
        message = "interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
    return {
        "schema": schema_name(command),
        "ok": False,
        "error": {"kind": type(error).__name__, "message": message, "hint": hint},
        "warnings": list(warnings),
        "versions": versions(),
    }


def dump(document: object, indent: int | None = 2) -> str:
    """Text of a document: strict JSON, so numbers that are not finite become null."""
    return json.dumps(json_ready(document), ensure_ascii=False, allow_nan=False, indent=indent)


def versions() -> dict[str, str]:
    """Versions of Python, torch and those of our packages that are installed; torch is not imported."""
    found = {"python": platform.python_version()}
    for name in (*OUR_PACKAGES, "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def json_ready(value: Any) -> Any:
    """The nearest JSON has: paths as text, arrays as lists, dataclasses as objects, inf and nan as null."""
    match value:
        case None | bool() | str():
            return value
        case enum.Enum():
            return json_ready(value.value)
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case os.PathLike():
            return os.fspath(value)
        case Mapping():
            return {str(key): json_ready(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [json_ready(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: json_ready(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if hasattr(value, "tolist"):
        return json_ready(value.tolist())
    return str(value)


def write_document(document: object, *, one_line: bool = False) -> None:
    """Print a document on the process's real stdout."""
    if one_line:
        write_line(document, sys.stdout)
        return
    sys.stdout.write(dump(document) + "\n")
    sys.stdout.flush()


def write_line(item: object, stream: TextIO) -> None:
    """Print an object as one line of JSON."""
    stream.write(dump(item, indent=None) + "\n")
    stream.flush()
