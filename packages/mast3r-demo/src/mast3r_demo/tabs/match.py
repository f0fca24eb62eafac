"""Tab "Match two photos": what matches, drawn and as files; and `/match` (spec 60 D1)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from mast3r_demo.handlers import error_text, guarded, page_error
from mast3r_demo.jobs import Cancelled, JobControl, said_of
from mast3r_demo.services import Services
from mast3r_demo.showing import save_picture
from mast3r_demo.status import StatusLine, status_html
from mast3r_demo.uploads import PHOTO_TYPES, Taken, take_photos
from mast3r_demo.visits import Visit
from mast3r_model import InputError

from .cancelling import wire_cancel
from .run_inputs import DEVICE

IDLE = "Add two photos of the same thing, and press Match."


def build_match(services: Services, state: gr.State) -> None:
    """Place the tab here, and wire it."""
    found = gr.State(None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            first = gr.File(
                label="First photo", file_types=list(PHOTO_TYPES), height=110, elem_id="mast3r-match-first"
            )
            second = gr.File(
                label="Second photo", file_types=list(PHOTO_TYPES), height=110, elem_id="mast3r-match-second"
            )
            fine = gr.Checkbox(
                False,
                label="Fine",
                elem_id="mast3r-match-fine",
                info="Large photos are matched again in pieces, at their full size",
            )
            size = gr.Slider(
                96,
                1024,
                services.options.page_image_size,
                step=16,
                label="Image size",
                elem_id="mast3r-match-size",
            )
            with gr.Row():
                run = gr.Button("Match", variant="primary", min_width=90, elem_id="mast3r-match-run")
                cancel = gr.Button("Cancel", variant="stop", min_width=90, elem_id="mast3r-match-cancel")
        with gr.Column(scale=4, min_width=300):
            status = gr.HTML(status_html(IDLE), elem_id="mast3r-match-status")
            picture = gr.Image(
                label="Matches",
                interactive=False,
                height=460,
                elem_id="mast3r-match-picture",
                buttons=["download", "fullscreen"],
            )
            confidence = gr.Slider(
                0, 1, 0, step=0.01, label="Confidence above", visible=False, elem_id="mast3r-match-confidence"
            )
            with gr.Row():
                csv = gr.DownloadButton("CSV", size="sm", visible=False, elem_id="mast3r-match-csv")
                npz = gr.DownloadButton("NPZ", size="sm", visible=False, elem_id="mast3r-match-npz")
    with gr.Column(visible=False):
        count, api_confidence = gr.Number(label="Number of matches"), gr.Number(0, label="Confidence above")
        api_csv, api_npz, api_run = gr.File(label="CSV"), gr.File(label="NPZ"), gr.Button()

    def start(
        visit: Visit | None, photo0: str | None, photo1: str | None, fine: bool, size: float
    ) -> Iterator[dict[Any, Any]]:
        visit = services.visits.enter(visit)
        visit.stopped = False
        yield {state: visit, status: status_html("Starting", mood="busy")}
        try:
            for html, matches in match_photos(services, visit, photo0, photo1, fine=fine, size=size):
                yield {status: html}
                if matches is not None:
                    low, high = matches.confidence_range()
                    low, high = math.floor(100 * low) / 100, math.ceil(100 * high) / 100
                    slider = gr.update(minimum=low, maximum=high, value=low, step=0.01, visible=True)
                    yield {found: matches, confidence: slider, **shown(visit, matches, low)}
        except Exception as error:
            text = error_text(error)
            yield {status: status_html(text, mood="error")}
            raise page_error(text) from error

    def shown(visit: Visit, matches: Any, above: float) -> dict[Any, Any]:
        files = save_matches(visit, matches, above)
        return {
            picture: str(save_picture(visit, "two-photos", matches.picture(above))),
            csv: gr.update(value=files[".csv"], visible=True),
            npz: gr.update(value=files[".npz"], visible=True),
        }

    @guarded
    def filter_matches(visit: Visit | None, matches: Any, above: float) -> dict[Any, Any]:
        if visit is None or matches is None:
            return {picture: gr.skip()}
        visit = services.visits.enter(visit)
        left = len(matches.above(above))
        told = status_html(f"{left} of {len(matches.matches)} matches are above {above:.2f}", mood="done")
        return {status: told, **shown(visit, matches, above)}

    def match(
        visit: Visit | None,
        photo0: str | None,
        photo1: str | None,
        fine: bool,
        size: float,
        min_confidence: float,
    ) -> Iterator[Any]:
        """Match two photos: how many matches, and all of them as CSV and NPZ."""
        visit = services.visits.enter(visit)
        yield visit, None, None, None
        for _, matches in match_photos(services, visit, photo0, photo1, fine=fine, size=size):
            if matches is not None:
                files = save_matches(visit, matches, min_confidence)
                yield visit, len(matches.above(min_confidence)), files[".csv"], files[".npz"]

    device: dict[str, Any] = {"concurrency_id": DEVICE, "concurrency_limit": 1}
    outputs = [found, status, picture, confidence, csv, npz]
    started = run.click(
        guarded(start),
        [state, first, second, fine, size],
        [state, *outputs],
        show_progress="minimal",
        show_progress_on=[status],
        api_visibility="private",
        **device,
    )
    wire_cancel(cancel, started, state, status)
    confidence.release(
        filter_matches,
        [state, found, confidence],
        outputs[1:],
        queue=False,
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    )
    api_run.click(
        guarded(match),
        [state, first, second, fine, size, api_confidence],
        [state, count, api_csv, api_npz],
        api_name="match",
        api_description="Match two photos: how many matches, and all of them as CSV and NPZ.",
        **device,
    )


def match_photos(
    services: Services, visit: Visit, photo0: str | None, photo1: str | None, *, fine: bool, size: float
) -> Iterator[tuple[str, Any]]:
    """Match two photos; yields the status line, and in the end the matches too.

    Raises:
        InputError: not two photos.
        Error: of gradio: the job failed; its text may be shown.
    """
    from mast3r_demo.matching import TwoPhotoMatches, match_two

    taken = _two_photos(services, visit, photo0, photo1)
    line = StatusLine()

    def work(control: JobControl) -> TwoPhotoMatches:
        if not services.network.loaded:
            control.note("loading the network")
        model = services.network.get()
        names = (taken.names[0], taken.names[1])
        return match_two(model, *taken.paths, fine=fine, control=control, size=int(size), names=names)

    job = visit.session.run(work, seconds=services.limits.seconds)
    try:
        for event in job.events():
            yield line.show(event), None
        try:
            matches = job.result()
        except Cancelled as error:
            yield status_html(said_of(error, job.id)), None
            return
        except Exception as error:
            raise page_error(said_of(error, job.id)) from error
        yield line.finish(f"{len(matches.matches)} matches", mood="done"), matches
    finally:
        job.cancel()


def save_matches(visit: Visit, matches: Any, above: float) -> dict[str, str]:
    """Files of the matches that are sure enough, where the browser may fetch them, by suffix."""
    files = {}
    for suffix in (".csv", ".npz"):
        name = f"matches{suffix}"
        with visit.session.new_export(name) as temporary:
            made = Path(f"{temporary}{suffix}")
            matches.save(made, above)
            made.replace(temporary)
        files[suffix] = str(visit.publish(visit.session.exports / name, f"matches{suffix[1:]}"))
    return files


def _two_photos(services: Services, visit: Visit, photo0: str | None, photo1: str | None) -> Taken:
    if photo0 is None or photo1 is None:
        raise InputError("a photo is missing", "add two")
    if photo0 == photo1:
        raise InputError("both photos are the same file", "add two different ones")
    taken = take_photos(visit, [photo0, photo1], services.limits)
    if taken.refused:
        raise InputError(taken.refused[0].rstrip("."), "add another photo")
    return taken
