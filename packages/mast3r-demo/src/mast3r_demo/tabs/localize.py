"""Tab "Localize a photo": where it was taken, in the reconstruction or in a map; and `/localize` (60 D1)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from mast3r_demo.handlers import error_text, guarded, page_error
from mast3r_demo.jobs import Cancelled, JobControl, said_of
from mast3r_demo.localizing import localize_photo, localizer_names, map_of_result, map_of_upload
from mast3r_demo.services import Services
from mast3r_demo.status import StatusLine, status_html
from mast3r_demo.uploads import PHOTO_TYPES, take_photos
from mast3r_demo.visits import Visit
from mast3r_model import InputError

from .cancelling import wire_cancel

if TYPE_CHECKING:
    from mast3r_demo.localizing import LocalizedPhoto

from .run_inputs import DEVICE

IDLE = "Reconstruct a place in the first tab, or add a map; then add a photo of the place."
OF_RESULT, OF_UPLOAD = "result", "upload"
MAPS = [("The reconstruction of the first tab", OF_RESULT), ("A zip", OF_UPLOAD)]


def build_localize(services: Services, state: gr.State) -> None:
    """Place the tab here, and wire it."""
    names = list(localizer_names())
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            source = gr.Radio(MAPS, value=OF_RESULT, label="Map", elem_id="mast3r-localize-map")
            archive = gr.File(
                label="Zip of a COLMAP model with its photos, or what the first tab saves as Everything",
                file_types=[".zip"],
                height=110,
                visible=False,
                elem_id="mast3r-localize-zip",
            )
            photo = gr.File(
                label="Photo", file_types=list(PHOTO_TYPES), height=110, elem_id="mast3r-localize-photo"
            )
            localizer = gr.Dropdown(
                names, value=names[0], label="By", visible=len(names) > 1, elem_id="mast3r-localize-by"
            )
            with gr.Row():
                run = gr.Button("Localize", variant="primary", min_width=90, elem_id="mast3r-localize-run")
                cancel = gr.Button("Cancel", variant="stop", min_width=90, elem_id="mast3r-localize-cancel")
        with gr.Column(scale=4, min_width=300):
            status = gr.HTML(status_html(IDLE), elem_id="mast3r-localize-status")
            view = gr.Model3D(
                label="The map, and the photo in it",
                height=460,
                interactive=False,
                clear_color=(0.11, 0.12, 0.14, 1.0),
                elem_id="mast3r-localize-view3d",
            )
            pose = gr.JSON(label="Pose", elem_id="mast3r-localize-pose")

    def start(
        visit: Visit | None, source: str, archive: str | None, photo: str | None, localizer: str | None
    ) -> Iterator[dict[Any, Any]]:
        visit = services.visits.enter(visit)
        visit.stopped = False
        yield {state: visit, status: status_html("Starting", mood="busy"), view: None, pose: None}
        try:
            for html, glb, found in localized(services, visit, source, archive, photo, localizer):
                shown = {} if glb is None or found is None else {view: glb, pose: pose_of(found)}
                yield {status: html, **shown}
        except Exception as error:
            text = error_text(error)
            yield {status: status_html(text, mood="error")}
            raise page_error(text) from error
        # Gradio sends the last values twice, at which its 3D view, while it is loaded, would stay empty.
        yield {state: visit}

    def localize(
        visit: Visit | None,
        source: str = OF_RESULT,
        archive: str | None = None,
        photo: str | None = None,
        localizer: str | None = None,
    ) -> Iterator[Any]:
        """Where a photo was taken: a line about it, the map with the photo in it as GLB, and the pose."""
        visit = services.visits.enter(visit)
        yield visit, status_html("Starting", mood="busy"), None, None
        for html, glb, found in localized(services, visit, source, archive, photo, localizer):
            yield visit, html, glb, None if found is None else pose_of(found)

    source.change(
        lambda chosen: gr.update(visible=chosen == OF_UPLOAD),
        [source],
        [archive],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    device: dict[str, Any] = {"concurrency_id": DEVICE, "concurrency_limit": 1}
    asked, told = [state, source, archive, photo, localizer], [state, status, view, pose]
    started = run.click(
        guarded(start),
        asked,
        told,
        show_progress="minimal",
        show_progress_on=[status],
        api_visibility="private",
        **device,
    )
    gr.Button(visible=False).click(
        guarded(localize),
        asked,
        told,
        api_name="localize",
        api_description="Where a photo was taken, in this session's reconstruction or in a zip: "
        "a line about it (HTML), the map with the photo in it (GLB), and the pose.",
        **device,
    )
    wire_cancel(cancel, started, state, status)


def localized(
    services: Services,
    visit: Visit,
    source: str,
    archive: str | None,
    photo: str | None,
    localizer: str | None,
) -> Iterator[tuple[str, str | None, LocalizedPhoto | None]]:
    """Localize; yields the status line, in the end with the GLB and what was found.

    Raises:
        InputError: the photo or the map is missing.
        Error: of gradio: the job failed; its text may be shown.
    """
    if photo is None:
        raise InputError("there is no photo to localize", "add one")
    taken = take_photos(visit, [photo], services.limits)
    if taken.refused:
        raise InputError(taken.refused[0].rstrip("."), "add another photo")
    zipped = _zip(visit, archive) if source == OF_UPLOAD else None
    if zipped is None and visit.session.result is None:
        raise InputError("there is no reconstruction yet", "press Run in the first tab, or give a zip")
    line = StatusLine()

    def work(control: JobControl) -> tuple[LocalizedPhoto, Path]:
        result = visit.session.result
        if zipped is not None:
            place = map_of_upload(zipped, visit.session, services.limits)
        else:
            assert result is not None
            place = map_of_result(result, visit.session)
        found = localize_photo(place, taken.paths[0], services.network.get(), control, localizer=localizer)
        return found, _glb(services, visit, place, found)

    job = visit.session.run(work, seconds=services.limits.seconds)
    try:
        for event in job.events():
            yield line.show(event), None, None
        try:
            found, glb = job.result()
        except Cancelled as error:
            yield status_html(said_of(error, job.id)), None, None
            return
        except Exception as error:
            raise page_error(said_of(error, job.id)) from error
        yield line.finish(found.sentence(), mood="done" if found.success else "error"), str(glb), found
    finally:
        job.cancel()


def pose_of(found: LocalizedPhoto) -> dict[str, Any]:
    """What was found, ready for JSON."""
    return {
        "success": found.success,
        "cam2world": None if found.cam2world is None else found.cam2world.tolist(),
        "intrinsics": None if found.intrinsics is None else found.intrinsics.tolist(),
        "inliers": found.num_inliers,
        "reason": found.reason,
    }


def _glb(services: Services, visit: Visit, place: Path, found: LocalizedPhoto) -> Path:
    from mast3r_demo.views import write_localized_glb

    with visit.session.new_export("localized.glb") as temporary:
        write_localized_glb(place, found, temporary, services.limits)
    return visit.publish(visit.session.exports / "localized.glb", "localized")


def _zip(visit: Visit, archive: str | None) -> Path:
    if archive is None:
        raise InputError("there is no zip", "add one, or choose the reconstruction as the map")
    return visit.take([archive], [".zip"])[0]
