"""Lists of queries with their cameras, as hloc and the Aachen dataset have them (spec 50 C1, D4)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mast3r_model import InputError
from mast3r_visloc.cameras import Camera
from mast3r_visloc.formats.lines import content_lines, finite_numbers, whole_number

PathLike = str | os.PathLike[str]


def read_query_list(paths: PathLike | Iterable[PathLike]) -> dict[str, Camera]:
    """Read ``name MODEL width height params...`` a line, from one file or several.

    The parameters are COLMAP's, in its pixel convention.

    Returns:
        The camera of every query by name, in the files' order.

    Raises:
        InputError: a line that cannot be read (named), a query given twice, or no query at all.
    """
    files = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    cameras: dict[str, Camera] = {}
    for file in files:
        for line in content_lines(Path(file)):
            fields = line.text.split()
            if len(fields) < 4:
                raise InputError(
                    f"{line.place}: expected 'name MODEL width height params...', got {line.text!r}"
                )
            name, model, *size = fields[:4]
            width, height = (whole_number(field, "size", line.place) for field in size)
            params = tuple(finite_numbers(fields[4:], line.place))
            if name in cameras:
                raise InputError(f"{line.place}: the query {name!r} is given twice")
            try:
                cameras[name] = Camera(model, width, height, params)
            except InputError as error:
                raise InputError(f"{line.place}: {error.message}", error.hint) from None
    if not cameras:
        raise InputError(f"no query in {', '.join(map(str, files))}", "expected a line for each query")
    return cameras
