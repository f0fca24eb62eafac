"""The page about a reconstruction, as an export of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mast3r_sfm.scene import Scene

PAGE_FILE = "report.html"


def write_report(scene: Scene, folder: Path) -> list[Path]:
    """Write ``report.html``, the page that `Scene.save` writes too: one file that loads nothing else."""
    from mast3r_sfm.report.page import report_page

    path = folder / PAGE_FILE
    path.write_text(report_page(scene), encoding="utf-8")
    return [path]
