"""Tab "Reconstruct": photos or a video in, cameras and geometry out (spec 60 D2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from mast3r_demo.controls import ADVANCED, BASIC
from mast3r_demo.example_sets import ExampleSet
from mast3r_demo.handlers import error_text, guarded, page_error
from mast3r_demo.jobs import Cancelled, said_of
from mast3r_demo.request import settings_from
from mast3r_demo.running import RunFailed, RunRequest, run, summary
from mast3r_demo.services import Services
from mast3r_demo.status import IDLE_TEXT, Mood, status_html
from mast3r_demo.uploads import take_photos, thumbnails
from mast3r_demo.visits import Visit
from mast3r_model import Mast3rError

from .downloads import Downloads, build_downloads, wire_downloads
from .inputs import Inputs, build_inputs, natural_key
from .pictures import (
    KINDS,
    CameraTable,
    MatchPictures,
    PhotoPictures,
    build_camera_table,
    build_match_pictures,
    build_photo_pictures,
    pair_list,
    photo_choices,
    wire_camera_table,
    wire_match_pictures,
    wire_photo_pictures,
)
from .settings_panel import SettingsPanel, build_settings, default_values, wire_settings
from .viewer import ALL_PHOTOS, Viewer, build_viewer, split_view_values, threshold_text, wire_viewer

DEVICE = "device"
"""Events of this id run one after another."""
SETTING_NAMES = tuple(control.name for control in (*BASIC, *ADVANCED))


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


def request_of(given: Sequence[Any]) -> RunRequest:
    """The values of `ReconstructTab.run_inputs` as a request."""
    settings = given[6 : 6 + len(SETTING_NAMES)]
    view, _ = split_view_values(tuple(given[6 + len(SETTING_NAMES) :]))
    photos, video, fps, focal, intrinsics, masks = given[:6]
    chosen = dict(zip(SETTING_NAMES, settings, strict=True))
    return RunRequest(photos, video, fps, focal, intrinsics, masks, chosen, view)


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
    finished = _wire_run(services, tab, state)
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
    gr.on([control.change for control in chosen], **telling, **quick)  # type: ignore[attr-defined]
    inputs.sort.click(
        lambda photos: sorted(photos or [], key=natural_key), [inputs.photos], [inputs.photos], **quick
    )
    inputs.video.change(
        lambda video: gr.update(visible=video is not None), [inputs.video], [inputs.fps], **quick
    )


def _wire_run(services: Services, tab: ReconstructTab, state: gr.State) -> Any:
    """Run, Cancel, Clear; returns the event after which there is a result."""
    running = {tab.run: gr.update(interactive=False), tab.cancel: gr.update(interactive=True)}
    idle = {tab.run: gr.update(interactive=True), tab.cancel: gr.update(interactive=False)}

    def start(visit: Visit | None, *given: Any) -> Iterator[dict[Any, Any]]:
        failed: gr.Error | None = None
        said = ""
        try:
            visit = services.visits.enter(visit)
            yield {state: visit, tab.status: status_html("Starting", mood="busy"), **running}
            for news in run(services, visit, request_of(given)):
                said = news.log
                shown = {} if news.view is None else {tab.viewer.model: _model_update(news)}
                yield {tab.status: news.status, tab.log: news.log, **shown}
        except RunFailed as error:
            mood: Mood = "idle" if error.cancelled else "error"
            yield {tab.status: status_html(error.text, mood=mood), tab.log: f"{said}\n{error.text}"}
            failed = None if error.cancelled else page_error(error.text)
        except Exception as error:
            text = error_text(error)
            failed = page_error(text)
            yield {tab.status: status_html(text, mood="error")}
        yield idle
        if failed is not None:
            raise failed

    @guarded
    def finish(visit: Visit | None, *given: Any) -> dict[Any, Any]:
        values, _ = split_view_values(given)
        return {**idle, **_filled(services, tab, visit, values)}

    @guarded
    def cancel(visit: Visit | None) -> dict[Any, Any]:
        if visit is not None and visit.session.job is not None:
            visit.session.job.cancel()
        return {tab.status: status_html(said_of(Cancelled(), "")), **idle}

    @guarded
    def clear(visit: Visit | None) -> dict[Any, Any]:
        if visit is not None:
            job = visit.session.job
            if job is not None and job.active:
                job.cancel()
                job.wait(10)
            visit.session.clear()
            visit.uploaded.clear()
            visit.forget("view")
        return {
            tab.inputs.photos: None,
            tab.inputs.video: None,
            tab.viewer.model: None,
            tab.log: "",
            tab.status: status_html(IDLE_TEXT),
            **{pictures.picture: None for pictures in tab.photo_tabs},
            tab.matches.picture: None,
            tab.matches.similarity: None,
            **idle,
            **_filled(services, tab, visit, {}),
        }

    filled = _filled_components(tab)
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    started = tab.run.click(
        start,
        [state, *tab.run_inputs],
        [state, tab.status, tab.log, tab.viewer.model, tab.run, tab.cancel],
        concurrency_id=DEVICE,
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=[tab.status],
        api_visibility="private",
    )
    finished = started.then(finish, [state, *tab.viewer.inputs], [tab.run, tab.cancel, *filled], **quick)
    tab.cancel.click(cancel, [state], [tab.status, tab.run, tab.cancel], cancels=[started], **quick)
    tab.clear.click(
        clear,
        [state],
        [
            tab.inputs.photos,
            tab.inputs.video,
            tab.viewer.model,
            tab.log,
            tab.status,
            tab.run,
            tab.cancel,
            *(pictures.picture for pictures in tab.photo_tabs),
            tab.matches.picture,
            tab.matches.similarity,
            *filled,
        ],
        cancels=[started],
        **quick,
    )
    return finished


def _model_update(news: Any) -> Any:
    if news.camera is None:
        return str(news.view)
    return gr.update(value=str(news.view), camera_position=tuple(news.camera))


def _filled_components(tab: ReconstructTab) -> list[Any]:
    return [
        tab.viewer.only_photo,
        tab.viewer.threshold,
        *(pictures.photo for pictures in tab.photo_tabs),
        tab.matches.pair,
        tab.downloads.row,
        tab.downloads.command,
    ]


def _filled(services: Services, tab: ReconstructTab, visit: Visit | None, values: Any) -> dict[Any, Any]:
    """What depends on the result: lists of photos and pairs, the downloads, the command."""
    result = None if visit is None else visit.session.result
    if visit is None or result is None:
        nothing = gr.update(choices=[], value=None)
        return {
            tab.viewer.only_photo: gr.update(choices=[("All photos", ALL_PHOTOS)], value=ALL_PHOTOS),
            tab.viewer.threshold: "",
            **{pictures.photo: nothing for pictures in tab.photo_tabs},
            tab.matches.pair: nothing,
            tab.downloads.row: gr.update(visible=False),
            tab.downloads.command: "",
        }
    photos, pairs = photo_choices(visit, result), pair_list(visit, result)
    return {
        tab.viewer.only_photo: gr.update(choices=[("All photos", ALL_PHOTOS), *photos], value=ALL_PHOTOS),
        tab.viewer.threshold: threshold_text(services, visit, values),
        **{pictures.photo: gr.update(choices=photos, value=0) for pictures in tab.photo_tabs},
        tab.matches.pair: gr.update(choices=pairs, value=pairs[0][1] if pairs else None),
        tab.downloads.row: gr.update(visible=True),
        tab.downloads.command: _command(services, visit, result),
    }


def _command(services: Services, visit: Visit, result: Any) -> str:
    names = visit.session.photo_names
    inputs = list(dict.fromkeys(names.get(image.name, image.name) for image in result.images))
    return str(
        result.settings.command(inputs, "scene", count=len(result.images), model=services.network.name)
    )
