"""``records.jsonl``: what a run has done so far, a line for each query, so that a killed run can go on.

The first line says which run it is: ``{"schema": ..., "name": ..., "options": {...}}``; every further line is
a query as ``report.json`` has it. A line that was cut off when the run was killed is dropped.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mast3r_model import InputError, Mast3rError, OutputError, atomic_write, output_error
from mast3r_visloc.reasons import reason

from .records import QueryRecord

SCHEMA = "mast3r.visloc/1"
"""Of ``report.json`` and ``records.jsonl``; the number rises when a field changes its meaning."""

JOURNAL = "records.jsonl"


@dataclass(frozen=True)
class Journal:
    """What stands in a ``records.jsonl``.

    Attributes:
        name: of the run.
        options: that the run was started with.
        records: of the queries that are done.
    """

    name: str
    options: Mapping[str, Any]
    records: tuple[QueryRecord, ...]


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON gives them back: paths and infinity are text, tuples are lists.

    Raises:
        InputError: a value that JSON cannot hold.
    """
    finite = {
        name: str(value) if isinstance(value, float) and math.isinf(value) else value
        for name, value in options.items()
    }
    try:
        return json.loads(json.dumps(finite, default=_plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"the options of a run must be plain values: {error}") from error


def read_journal(folder: Path) -> Journal | None:
    """Read the journal of a run; None if the folder has none.

    Raises:
        InputError: it is no journal of ours, or damaged in the middle.
    """
    path = folder / JOURNAL
    if not path.exists():
        return None
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error
    # Every line ends with a line break: what follows the last one was cut off.
    whole = lines[:-1]
    try:
        head = json.loads(whole[0])
        if head["schema"] != SCHEMA:
            raise InputError(f"schema {head['schema']!r}, expected {SCHEMA!r}")
        records = tuple(QueryRecord.from_json(json.loads(line)) for line in whole[1:])
        return Journal(str(head["name"]), dict(head["options"]), records)
    except (IndexError, KeyError, TypeError, ValueError, Mast3rError) as error:
        raise InputError(f"{path} is damaged or of another program: {error}", "use --overwrite") from error


class JournalWriter:
    """Adds queries to a journal; each is on the disk when `add` returns.

    Args:
        folder: of the run.
        journal: what it starts with; the file is rewritten, so that a line that was cut off is gone.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.path = folder / JOURNAL
        head = {"schema": SCHEMA, "name": journal.name, "options": dict(journal.options)}
        with (
            atomic_write(self.path) as temporary,
            open(temporary, "w", encoding="utf-8", newline="\n") as file,
        ):
            file.write(_line(head))
            file.writelines(_line(record.to_json()) for record in journal.records)
        try:
            self._file = open(self.path, "a", encoding="utf-8", newline="\n")  # noqa: SIM115
        except OSError as error:
            raise output_error(self.path, error) from error

    def add(self, record: QueryRecord) -> None:
        """Write a query.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            self._file.write(_line(record.to_json()))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise output_error(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def refuse_other(journal: Journal, options: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a run that was started otherwise.

    Raises:
        OutputError: the options differ; names them.
    """
    keys = [*options, *(key for key in journal.options if key not in options)]
    changed = [key for key in keys if options.get(key) != journal.options.get(key)]
    if changed:
        was, now = (shown.get(changed[0]) for shown in (journal.options, options))
        raise OutputError(
            f"{folder} holds a run with other options: {changed[0]} was {was!r} and is {now!r}"
            + (f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""),
            "choose another folder, or --overwrite",
        )
