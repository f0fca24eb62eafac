"""Left column: photos or a video in, thumbnails, examples (spec 60 D2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from mast3r_demo.components import component
from mast3r_demo.controls import CONTROLS
from mast3r_demo.example_sets import ExampleSet
from mast3r_demo.uploads import PHOTO_TYPES, VIDEO_TYPES
from mast3r_match.inputs import natural_order

GALLERY_HEIGHT = 220
EXAMPLES_HEIGHT = 200
VIDEO_HINT = (
    f"Taken are {', '.join(VIDEO_TYPES)}. A video that this browser cannot play is taken too, although the "
    "browser calls that an error."
)


@dataclass(frozen=True)
class Inputs:
    """Components of the left column.

    Attributes:
        photos: what was uploaded, in the order of the reconstruction.
        sort: sorts it by name.
        video: instead of photos, or with them.
        fps: of the video.
        gallery: what will be used.
        summary: how many photos and pairs that are, and what was refused.
        examples: thumbnails of the example sets, if there are any.
    """

    photos: gr.File
    sort: gr.Button
    video: gr.Video
    fps: gr.components.Component
    gallery: gr.Gallery
    summary: gr.Markdown
    examples: gr.Gallery | None


def build_inputs(examples: Sequence[ExampleSet]) -> Inputs:
    """Place them here."""
    photos = gr.File(
        label="Photos",
        file_count="multiple",
        file_types=list(PHOTO_TYPES),
        allow_reordering=True,
        height=150,
        elem_id="mast3r-upload",
    )
    summary = gr.Markdown("", elem_id="mast3r-summary", elem_classes="mast3r-hint")
    gallery = gr.Gallery(
        label="Used in this order",
        columns=4,
        height=GALLERY_HEIGHT,
        object_fit="contain",
        interactive=False,
        visible=False,
        buttons=["fullscreen"],
        elem_id="mast3r-gallery",
    )
    sort = gr.Button("Sort by name", size="sm", visible=False, elem_id="mast3r-sort")
    with gr.Accordion("Video instead of photos", open=False, elem_id="mast3r-video-panel"):
        video = gr.Video(
            label="Video",
            sources=["upload"],
            include_audio=True,  # without, gradio wants ffmpeg
            buttons=[],
            height=200,
            elem_id="mast3r-video",
        )
        gr.Markdown(VIDEO_HINT, elem_classes="mast3r-hint")
        fps = component(CONTROLS["fps"], visible=False)
    return Inputs(photos, sort, video, fps, gallery, summary, _example_gallery(examples))


def _example_gallery(examples: Sequence[ExampleSet]) -> gr.Gallery | None:
    if not examples:
        return None
    return gr.Gallery(
        [(str(example.photos[0]), f"{example.name} ({len(example.photos)})") for example in examples],
        label="Examples: click one",
        columns=2,
        height=EXAMPLES_HEIGHT,
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="mast3r-examples",
    )


def by_name(photos: Sequence[str] | None) -> list[str]:
    """Uploads in the natural order of their names, wherever they lie."""
    return sorted(photos or [], key=lambda photo: natural_order(Path(Path(photo).name)))
