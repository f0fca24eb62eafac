"""Tab "Reconstruct": photos or a video in, cameras and geometry out (spec 60 D2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from mast3r_demo.example_sets import ExampleSet
from mast3r_demo.handlers import guarded
from mast3r_demo.request import settings_from
from mast3r_demo.running import summary
from mast3r_demo.services import Services
from mast3r_demo.status import IDLE_TEXT, status_html
from mast3r_demo.uploads import take_photos, thumbnails
from mast3r_demo.visits import Visit
from mast3r_model import Mast3rError

from .downloads import Downloads, build_downloads, wire_downloads
from .inputs import Inputs, build_inputs, by_name
from .pictures import (
    KINDS,
    CameraTable,
    MatchPictures,
    PhotoPictures,
    build_camera_table,
    build_match_pictures,
    build_photo_pictures,
    wire_camera_table,
    wire_match_pictures,
    wire_photo_pictures,
)
from .run_events import wire_run
from .run_inputs import SETTING_NAMES
from .settings_panel import SettingsPanel, build_settings, default_values, wire_settings
from .viewer import Viewer, build_viewer, wire_viewer


@dataclass(frozen=True)
class ReconstructTab:
    """Components of the tab."""

    inputs: Inputs
    panel: SettingsPanel
    count: gr.State
    status: gr.HTML
    log: gr.Textbox
    run: gr.Button
    cancel: gr.Button
    clear: gr.Button
    viewer: Viewer
    photo_tabs: Sequence[PhotoPictures]
    matches: MatchPictures
    cameras: CameraTable
    downloads: Downloads

    @property
    def run_inputs(self) -> list[gr.components.Component]:
        """What a run is told, in the order that `request_of` takes."""
        inputs, panel = self.inputs, self.panel
        return [
            inputs.photos,
            inputs.video,
            inputs.fps,
            panel.focal,
            panel.intrinsics,
            panel.masks,
            *(panel.controls[name] for name in SETTING_NAMES),
            *self.viewer.inputs,
        ]


def build_reconstruct(services: Services, examples: Sequence[ExampleSet]) -> ReconstructTab:
    """Place the tab here."""
    options = services.options
    count = gr.State(0)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320, elem_id="mast3r-left"):
            inputs = build_inputs(examples)
            panel = build_settings(default_values(options.mapper, options.page_image_size))
        with gr.Column(scale=4, min_width=320, elem_id="mast3r-right"):
            status = gr.HTML(status_html(IDLE_TEXT), elem_id="mast3r-status")
            with gr.Row():
                run_button = gr.Button("Run", variant="primary", min_width=90, elem_id="mast3r-run")
                cancel = gr.Button(
                    "Cancel", variant="stop", min_width=90, interactive=False, elem_id="mast3r-cancel"
                )
                clear = gr.Button("Clear", min_width=90, elem_id="mast3r-clear")
            with gr.Tabs(elem_id="mast3r-tabs"):
                with gr.Tab("3D", id="view", elem_id="mast3r-tab-3d"):
                    viewer = build_viewer()
                photo_tabs = [build_photo_pictures(kind) for kind in KINDS]
                matches = build_match_pictures()
                cameras = build_camera_table()
            downloads = build_downloads()
            with gr.Accordion("Log", open=False, elem_id="mast3r-log-panel"):
                log = gr.Textbox(
                    "",
                    show_label=False,
                    lines=8,
                    max_lines=16,
                    interactive=False,
                    container=False,
                    elem_id="mast3r-log",
                )
    return ReconstructTab(
        inputs,
        panel,
        count,
        status,
        log,
        run_button,
        cancel,
        clear,
        viewer,
        photo_tabs,
        matches,
        cameras,
        downloads,
    )


def wire_reconstruct(services: Services, tab: ReconstructTab, state: gr.State) -> None:
    """Connect everything."""
    _wire_inputs(services, tab, state)
    wire_settings(tab.panel, tab.count, services.options.page_image_size)
    wire_viewer(services, tab.viewer, state)
    wire_downloads(services, tab.downloads, tab.viewer, state)
    finished = wire_run(services, tab, state)
    for pictures in tab.photo_tabs:
        wire_photo_pictures(services, pictures, state, finished)
    wire_match_pictures(services, tab.matches, state, finished)
    wire_camera_table(services, tab.cameras, state, finished)


def wire_examples(services: Services, tab: ReconstructTab, examples: Sequence[ExampleSet]) -> None:
    """A click on an example puts its photos in."""
    if tab.inputs.examples is None:
        return

    def choose(event: gr.SelectData) -> list[str]:
        index = event.index if isinstance(event.index, int) else event.index[0]
        return [str(path) for path in examples[index].photos]

    tab.inputs.examples.select(
        choose, None, [tab.inputs.photos], queue=False, show_progress="hidden", api_visibility="private"
    )


def _wire_inputs(services: Services, tab: ReconstructTab, state: gr.State) -> None:
    inputs, limits = tab.inputs, services.limits
    chosen = [tab.panel.controls[name] for name in SETTING_NAMES]

    @guarded
    def look(visit: Visit | None, photos: Sequence[str] | None) -> tuple[Any, ...]:
        visit = services.visits.enter(visit)
        taken = take_photos(visit, photos, limits)
        some = bool(taken.paths)
        return (
            visit,
            gr.update(value=thumbnails(visit, taken), visible=some),
            gr.update(visible=len(taken.paths) > 1),
            len(taken.paths),
        )

    @guarded
    def tell(
        visit: Visit | None, photos: Sequence[str] | None, video: str | None, fps: float, *values: Any
    ) -> tuple[Any, str]:
        visit = services.visits.enter(visit)
        taken = take_photos(visit, photos, limits)
        try:
            settings = settings_from(
                dict(zip(SETTING_NAMES, values, strict=True)),
                retrieval=services.options.retrieval,
                fps=None if video is None else fps,
            )
        except Mast3rError:
            settings = None  # a number is being typed; Run will say what is wrong with it
        return visit, summary(services, taken, settings)

    quick: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
        "trigger_mode": "always_last",
    }
    looked = inputs.photos.change(
        look, [state, inputs.photos], [state, inputs.gallery, inputs.sort, tab.count], **quick
    )
    telling = {
        "fn": tell,
        "inputs": [state, inputs.photos, inputs.video, inputs.fps, *chosen],
        "outputs": [state, inputs.summary],
    }
    looked.then(**telling, **{key: quick[key] for key in ("queue", "show_progress", "api_visibility")})
    # a number that is being typed beside a slider may be out of its range, which gradio takes for an error
    causes: list[Any] = [
        getattr(control, "release" if isinstance(control, gr.Slider) else "change") for control in chosen
    ]
    gr.on(causes, **telling, **quick)
    inputs.sort.click(by_name, [inputs.photos], [inputs.photos], **quick)
    inputs.video.change(
        lambda video: gr.update(visible=video is not None), [inputs.video], [inputs.fps], **quick
    )
