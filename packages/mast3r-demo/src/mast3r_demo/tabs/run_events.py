"""Run, Cancel and Clear, and what of the page depends on the result (spec 60 D5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from mast3r_demo.handlers import error_text, guarded, page_error
from mast3r_demo.jobs import Cancelled, said_of
from mast3r_demo.running import RunFailed, run
from mast3r_demo.services import Services
from mast3r_demo.status import IDLE_TEXT, Mood, status_html
from mast3r_demo.visits import Visit

from .pictures import pair_list, photo_choices
from .run_inputs import DEVICE, request_of
from .viewer import ALL_PHOTOS, split_view_values, threshold_text

if TYPE_CHECKING:
    from .reconstruct import ReconstructTab

WAITING = "Waiting for the jobs of others"
STOPPING = "Stopping at the next step"


def wire_run(services: Services, tab: ReconstructTab, state: gr.State) -> Any:
    """Run, Cancel, Clear; returns the event after which there is a result."""
    running = {tab.run: gr.update(interactive=False), tab.cancel: gr.update(interactive=True)}
    idle = {tab.run: gr.update(interactive=True), tab.cancel: gr.update(interactive=False)}

    @guarded
    def press(visit: Visit | None) -> dict[Any, Any]:
        visit = services.visits.enter(visit)
        visit.stopped = False
        return {state: visit, tab.status: status_html(WAITING, mood="busy"), **running}

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
        said = {}
        if visit is not None and visit.stopped:
            visit.wait_for_stop()
            said = {tab.status: status_html(said_of(Cancelled(), ""))}
        return {**said, **idle, **_filled(services, tab, visit, values)}

    @guarded
    def cancel(visit: Visit | None) -> dict[Any, Any]:
        if visit is not None:
            visit.stop()
        # Run can be pressed again when `finish` has seen the end of the work
        return {tab.status: status_html(STOPPING, mood="busy"), tab.cancel: gr.update(interactive=False)}

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
    pressed = tab.run.click(press, [state], [state, tab.status, tab.run, tab.cancel], **quick)
    started = pressed.then(
        start,
        [state, *tab.run_inputs],
        [state, tab.status, tab.log, tab.viewer.model, tab.run, tab.cancel],
        concurrency_id=DEVICE,
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=[tab.status],
        api_visibility="private",
    )
    finished = started.then(
        finish, [state, *tab.viewer.inputs], [tab.status, tab.run, tab.cancel, *filled], **quick
    )
    tab.cancel.click(cancel, [state], [tab.status, tab.cancel], cancels=[started], **quick)
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
        tab.viewer.threshold: threshold_text(visit, values),
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
