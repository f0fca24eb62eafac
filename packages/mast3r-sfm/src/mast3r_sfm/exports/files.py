"""Names of exported files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mast3r_sfm.scene import Scene


def component_files(scene: Scene, path: Path) -> Iterator[tuple[Scene, Path]]:
    """Every group of connected images as a scene of its own, and the file for it.

    Poses of different groups do not relate to each other, so they never share a file: the first group has
    ``path`` itself, the next ones ``<stem>_1<suffix>``, ``<stem>_2<suffix>`` and so on.
    """
    for number, component in enumerate(scene.components()):
        yield component, path if number == 0 else path.with_name(f"{path.stem}_{number}{path.suffix}")
