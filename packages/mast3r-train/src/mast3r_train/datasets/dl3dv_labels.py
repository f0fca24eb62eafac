"""What is seen in the scenes of DL3DV: ``dl3dv_labels.csv`` (spec 41 section 14)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mast3r_model import InputError, atomic_write

from .files import load_text

FILE_NAME = "dl3dv_labels.csv"


@dataclass(frozen=True)
class SceneLabels:
    """Labels of one scene, as the dataset's page words them.

    Attributes:
        hash: the scene's folder, 64 hexadecimal digits.
        subset: ``1K`` and so on.
        bounded: ``bd`` or ``unbd``.
        reflection: how much reflects.
        transparency: how much is transparent.
        light: ``nlight`` natural, ``hlight``, ``mlight``; or several, or empty.
        place: what kind of place.
        category: what kind of scene.
        device: what it was filmed with.
    """

    hash: str
    subset: str = ""
    bounded: str = ""
    reflection: str = ""
    transparency: str = ""
    light: str = ""
    place: str = ""
    category: str = ""
    device: str = ""


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(SceneLabels))


def read_labels(path: Path) -> Mapping[str, SceneLabels]:
    """The labels by the scene's hash.

    Raises:
        InputError: missing, no CSV, or without a column.
    """
    text = load_text(path)
    reader = csv.DictReader(io.StringIO(text))
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise InputError(
            f"{path} has no column {', '.join(missing)}", hint=f"its first line: {','.join(COLUMNS)}"
        )
    labels = {}
    for row in reader:
        if None in row or None in row.values():
            raise InputError(f"{path}, line {reader.line_num}: expected {len(COLUMNS)} fields")
        labels[row["hash"]] = SceneLabels(**{name: row[name].strip() for name in COLUMNS})
    return labels


def write_labels(path: Path, labels: Sequence[SceneLabels]) -> None:
    """Write the file.

    Raises:
        OutputError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(scene) for scene in labels)
    with atomic_write(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
