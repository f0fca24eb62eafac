"""The row of downloads: built when asked for, then saved by the browser (spec 60 D3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from mast3r_demo.handlers import guarded
from mast3r_demo.request import view_from
from mast3r_demo.services import Services
from mast3r_demo.visits import Visit
from mast3r_model import InputError

from .viewer import Viewer, split_view_values

SAVE_FILE = "() => { setTimeout(() => document.querySelector('#mast3r-file')?.click(), 100); }"
"""Gradio has no button that computes a file and saves it: the built file is put behind a hidden
button, which is pressed when it has its new file."""


@dataclass(frozen=True)
class Downloads:
    """Components of the row.

    Attributes:
        row: hidden until there is a scene.
        buttons: by the names of `DOWNLOADS`.
        with_photos: put the photos into the COLMAP and nerfstudio zips.
        file: what was built.
        command: the same on the command line.
    """

    row: gr.Column
    buttons: Mapping[str, gr.Button]
    with_photos: gr.Checkbox
    file: gr.DownloadButton
    command: gr.Textbox


def build_downloads() -> Downloads:
    """Place it here."""
    from mast3r_demo.downloads import DOWNLOADS

    with gr.Column(visible=False, elem_id="mast3r-downloads-panel") as row:
        with gr.Row(elem_id="mast3r-downloads"):
            buttons = {
                name: gr.Button(download.label, size="sm", min_width=90, elem_id=f"mast3r-download-{name}")
                for name, download in DOWNLOADS.items()
            }
        with_photos = gr.Checkbox(
            False,
            label="Photos in the zips",
            info="COLMAP and nerfstudio; without GPS and other notes",
            elem_id="mast3r-with-photos",
        )
        command = gr.Textbox(
            label="Copy the command: the same result on the command line",
            interactive=False,
            lines=2,
            buttons=["copy"],
            elem_id="mast3r-command",
        )
        file = gr.DownloadButton("Save", visible="hidden", elem_id="mast3r-file")
    return Downloads(row, buttons, with_photos, file, command)


def build_file(
    services: Services, visit: Visit | None, name: str, view: Any, *, with_photos: bool = False
) -> Path:
    """A download of the visit's result, where the browser may fetch it.

    Raises:
        InputError: there is no result, or no such download.
    """
    from mast3r_demo.downloads import DOWNLOADS, build_download

    result = None if visit is None else services.visits.enter(visit).session.result
    if visit is None or result is None:
        raise InputError("there is no reconstruction to save", "press Run first")
    if name not in DOWNLOADS:
        raise InputError(f"there is no download {name!r}", f"expected one of {', '.join(DOWNLOADS)}")
    built = build_download(name, result, view, visit.session, with_photos=with_photos)
    return visit.publish(built, "download")


def wire_downloads(services: Services, downloads: Downloads, viewer: Viewer, state: gr.State) -> None:
    """Build the file, then let the browser save it."""
    for name, button in downloads.buttons.items():

        def build(visit: Visit | None, with_photos: bool, *given: Any, name: str = name) -> str:
            values, only_photo = split_view_values(given)
            view = view_from(values, only_photo)
            return str(build_file(services, visit, name, view, with_photos=with_photos))

        built = button.click(
            guarded(build),
            [state, downloads.with_photos, *viewer.inputs],
            [downloads.file],
            queue=False,
            show_progress="full",
            show_progress_on=[button],
            api_visibility="private",
        )
        built.success(None, None, None, js=SAVE_FILE, queue=False, api_visibility="private")
