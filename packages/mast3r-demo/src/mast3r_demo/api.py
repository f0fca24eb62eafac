"""The HTTP API: `/reconstruct` and `/export`; `/match` and `/localize` are beside their tabs (spec 60 D1).

Each takes what the page's controls take, under the same names, with the same defaults::

    from gradio_client import Client, handle_file
    client = Client("http://127.0.0.1:7860")
    photos = [handle_file(path) for path in paths]
    report, glb = client.predict(photos, quality="refine", api_name="/reconstruct")
    zip_file = client.predict("colmap", api_name="/export")

A client is a session: `/export` saves what its last `/reconstruct` made. Cancelling the client's job stops
the work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from .handlers import guarded, page_error
from .request import view_from
from .running import RunFailed, run
from .services import Services
from .tabs.downloads import build_file
from .tabs.run_inputs import DEVICE, SETTING_NAMES, request_of
from .tabs.viewer import ALL_PHOTOS, VIEW_NAMES, split_view_values
from .visits import Visit

if TYPE_CHECKING:
    from .tabs.reconstruct import ReconstructTab

RECONSTRUCT_NAMES = ("photos", "video", "fps", "focal", "intrinsics", "masks", *SETTING_NAMES, *VIEW_NAMES)
EXPORT_NAMES = ("format", "with_photos", *VIEW_NAMES)


def named(handler: Callable[..., Any], names: Sequence[str]) -> Callable[..., Any]:
    """A handler of ``(visit, *values)`` whose values have names in the API's documentation."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    # A default of None makes a parameter optional whose component is empty at first.
    parameters = [inspect.Parameter(name, kind, default=None) for name in ("visit", *names)]
    handler.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    handler.__annotations__ = {}
    return handler


def report_of(visit: Visit) -> dict[str, Any]:
    """What `/reconstruct` says of the result, ready for JSON."""
    from mast3r_model.cli import json_ready

    result = visit.session.result
    assert result is not None
    names = visit.session.photo_names
    scene = result.scene
    report = {
        "photos": [names.get(image.name, image.name) for image in scene.images],
        "dropped": [
            {"photo": names.get(drop.name, drop.name), "reason": drop.reason} for drop in scene.dropped
        ],
        "pairs": len(result.pairs),
        "points": len(scene.points),
        "metric": result.metric,
        "cameras": [
            {
                "photo": names.get(image.name, image.name),
                "cam2world": image.cam2world,
                "intrinsics": image.intrinsics,
                "height": image.original_shape[0],
                "width": image.original_shape[1],
            }
            for image in scene.images
        ],
    }
    ready: dict[str, Any] = json_ready(report)
    return ready


def wire_api(services: Services, tab: ReconstructTab, state: gr.State) -> None:
    """Put `/reconstruct` and `/export` beside the page's own events."""

    def reconstruct(visit: Visit | None, *given: Any) -> Iterator[Any]:
        """Photos or a video to cameras and geometry: a report, and the scene as a GLB file."""
        visit = services.visits.enter(visit)
        yield visit, None, None
        try:
            for news in run(services, visit, request_of((*given, ALL_PHOTOS))):
                done = news.mood == "done"
                yield visit, report_of(visit) if done else None, str(news.view) if done else None
        except RunFailed as error:
            raise page_error(error.text) from error

    def export(visit: Visit | None, name: str, with_photos: bool, *given: Any) -> str:
        """Save this session's reconstruction: a file of the format."""
        values, _ = split_view_values((*given, ALL_PHOTOS))
        return str(build_file(services, visit, name, view_from(values), with_photos=with_photos))

    from .downloads import DOWNLOADS

    with gr.Column(visible=False):
        report, glb = gr.JSON(label="Report"), gr.File(label="Scene (GLB)")
        format_name = gr.Dropdown(list(DOWNLOADS), value="glb", label="Format")
        with_photos = gr.Checkbox(False, label="Photos in the zips")
        exported = gr.File(label="The file")
        trigger, export_trigger = gr.Button(), gr.Button()
    trigger.click(
        named(guarded(reconstruct), RECONSTRUCT_NAMES),
        [state, *tab.run_inputs[:-1]],
        [state, report, glb],
        api_name="reconstruct",
        api_description="Photos or a video to cameras and geometry: a report, and the scene as a GLB file.",
        concurrency_id=DEVICE,
        concurrency_limit=1,
    )
    export_trigger.click(
        named(guarded(export), EXPORT_NAMES),
        [state, format_name, with_photos, *tab.viewer.inputs[:-1]],
        [exported],
        api_name="export",
        api_description="Save this session's last reconstruction in a format.",
    )
