"""Tab "3D": the scene, and how it is shown; applies without a new run (spec 60 D2, D9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from mast3r_demo.components import component
from mast3r_demo.controls import VIEW
from mast3r_demo.handlers import guarded
from mast3r_demo.request import view_from
from mast3r_demo.services import Services
from mast3r_demo.showing import write_view
from mast3r_demo.visits import Visit

ALL_PHOTOS = -1
"""Value of "Show points of" for all photos."""
VIEW_NAMES = tuple(control.name for control in VIEW)


@dataclass(frozen=True)
class Viewer:
    """Components of the tab.

    Attributes:
        model: the 3D view.
        controls: all of `VIEW`, by name.
        only_photo: whose points are shown.
        threshold: the confidence that the percentile stands for.
    """

    model: gr.Model3D
    controls: Mapping[str, gr.components.Component]
    only_photo: gr.Dropdown
    threshold: gr.Markdown

    @property
    def inputs(self) -> list[gr.components.Component]:
        """What handlers take: the controls in the order of `VIEW_NAMES`, then ``only_photo``."""
        return [*(self.controls[name] for name in VIEW_NAMES), self.only_photo]


def build_viewer() -> Viewer:
    """Place it here."""
    model = gr.Model3D(
        label="3D view",
        height=520,
        clear_color=(0.11, 0.12, 0.14, 1.0),
        interactive=False,
        elem_id="mast3r-view3d",
    )
    gr.Markdown("Drag to turn, wheel to zoom, Ctrl and drag to move.", elem_classes="mast3r-hint")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=240):
            controls = {control.name: component(control) for control in VIEW[:2]}
            controls["min_confidence"] = component(VIEW[2], visible=False)
            threshold = gr.Markdown("", elem_id="mast3r-threshold", elem_classes="mast3r-hint")
        with gr.Column(min_width=240):
            only_photo = gr.Dropdown(
                [("All photos", ALL_PHOTOS)],
                value=ALL_PHOTOS,
                label="Show points of",
                elem_id="mast3r-only-photo",
            )
            controls |= {control.name: component(control) for control in VIEW[4:6]}
        with gr.Column(min_width=240):
            controls["max_points"] = component(VIEW[3])
            controls |= {control.name: component(control) for control in VIEW[6:9]}
    with gr.Accordion("Cameras and surface", open=False, elem_id="mast3r-view-more"), gr.Row():
        for control in VIEW[9:]:
            with gr.Column(min_width=200):
                controls[control.name] = component(control)
    return Viewer(model, controls, only_photo, threshold)


def split_view_values(values: tuple[Any, ...]) -> tuple[dict[str, Any], int | None]:
    """What handlers get for `Viewer.inputs`, as values by name and the one photo, or None for all."""
    *view, only_photo = values
    chosen = None if only_photo in (None, ALL_PHOTOS) else int(only_photo)
    return dict(zip(VIEW_NAMES, view, strict=True)), chosen


def threshold_text(visit: Visit, values: Mapping[str, Any], only_photo: int | None = None) -> str:
    """How many points are shown, above which confidence; nothing without a result."""
    from mast3r_demo.views import shown_scene, view_note

    result = visit.session.result
    if result is None:
        return ""
    return view_note(shown_scene(result.scene, view_from(values, only_photo)))


def wire_viewer(services: Services, viewer: Viewer, state: gr.State) -> None:
    """Show the scene anew when a control is let go; the last one wins."""

    @guarded
    def update(visit: Visit | None, *given: Any) -> tuple[Any, Any]:
        values, only_photo = split_view_values(given)
        result = None if visit is None else services.visits.enter(visit).session.result
        if visit is None or result is None:
            return gr.skip(), ""
        view = write_view(visit, result, view_from(values, only_photo), services.limits)
        return str(view), threshold_text(visit, values, only_photo)

    causes = []
    for control in VIEW:
        made: Any = viewer.controls[control.name]
        causes.append(made.release if control.kind == "slider" else made.input)
    gr.on(
        [*causes, viewer.only_photo.input],
        update,
        [state, *viewer.inputs],
        [viewer.model, viewer.threshold],
        queue=False,
        trigger_mode="always_last",
        show_progress="minimal",
        show_progress_on=[viewer.threshold],
        api_visibility="private",
    )
    viewer.controls["absolute"].change(  # type: ignore[attr-defined]
        lambda absolute: (gr.update(visible=not absolute), gr.update(visible=absolute)),
        [viewer.controls["absolute"]],
        [viewer.controls["percentile"], viewer.controls["min_confidence"]],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
