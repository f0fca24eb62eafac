"""Whether a run can be written where the user wants it, seen before a network is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mast3r_model import OutputError
from mast3r_visloc.evaluation import check_run_folder
from mast3r_visloc.evaluation.run_files import MODEL
from mast3r_visloc.maps import LocalizationMap


def check_output(
    output: Path | None, localization_map: LocalizationMap, options: Mapping[str, Any], *, overwrite: bool
) -> None:
    """Refuse a folder that the run could not be written to, or where it would replace the map.

    A run's ``colmap/`` is a map for a next run.

    Args:
        output: folder of the run; None: nothing is written.
        localization_map: that is localised in.
        options: of the run.
        overwrite: whether an earlier run may be replaced.

    Raises:
        OutputError: the map lies in what the run replaces, or the folder holds something else or another run.
        InputError: it holds a damaged run.
    """
    if output is None:
        return
    model = localization_map.colmap_model
    if model is not None and Path(model).resolve().is_relative_to((output / MODEL).resolve()):
        raise OutputError(
            f"{model} is the map, and -o {output} would replace it", "choose another folder for the output"
        )
    check_run_folder(output, options, overwrite=overwrite)
