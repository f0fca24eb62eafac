"""What is chosen before a run: presets, the basic controls, the closed accordion (spec 60 A2, A3, D2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from mast3r_demo.components import component, graph_updates
from mast3r_demo.controls import ADVANCED, BASIC, CONTROLS, PRESETS, Control, preset_values
from mast3r_demo.graph_rules import graph_controls
from mast3r_demo.known_inputs import INTRINSICS_TYPES
from mast3r_demo.uploads import PHOTO_TYPES

GRAPH_NAMES = ("window", "cyclic", "reference", "key_images", "neighbours")


@dataclass(frozen=True)
class SettingsPanel:
    """Components of the settings.

    Attributes:
        controls: all of `BASIC` and `ADVANCED`, by name.
        presets: a button each, by name.
        hint: why a graph has nothing to choose.
        focal: a known focal length.
        intrinsics: a file of known intrinsics.
        masks: pictures, black where nothing may match.
    """

    controls: Mapping[str, gr.components.Component]
    presets: Mapping[str, gr.Button]
    hint: gr.Markdown
    focal: gr.Number
    intrinsics: gr.File
    masks: gr.File


def build_settings(defaults: Mapping[str, object]) -> SettingsPanel:
    """Place them here.

    Args:
        defaults: what the server was started with, by the controls' names.
    """
    mapper = str(defaults.get("mapper", "sparse"))
    with gr.Row(elem_id="mast3r-presets"):
        presets = {
            name: gr.Button(preset.label, size="sm", min_width=60, elem_id=f"mast3r-preset-{name}")
            for name, preset in PRESETS.items()
        }
    controls = {control.name: _place(control, defaults, mapper) for control in BASIC}
    hint = gr.Markdown("", visible=False, elem_id="mast3r-graph-hint", elem_classes="mast3r-hint")
    with gr.Accordion("Advanced", open=False, elem_id="mast3r-advanced"):
        controls |= {control.name: _place(control, defaults, mapper) for control in ADVANCED}
    with gr.Accordion("Known cameras and masks", open=False, elem_id="mast3r-known"):
        focal = gr.Number(
            None,
            label="Focal length (pixels)",
            minimum=0,
            elem_id="mast3r-focal",
            info="Of all photos, in their own pixels; empty or 0: found by the reconstruction",
        )
        intrinsics = gr.File(
            label="Intrinsics: 3x3 matrix (.txt), transforms.json, or a COLMAP model (.zip)",
            height=150,
            file_types=list(INTRINSICS_TYPES),
            elem_id="mast3r-intrinsics",
        )
        masks = gr.File(
            label="Masks: black may not match; one for all photos, one for each, or named like them",
            file_count="multiple",
            file_types=list(PHOTO_TYPES),
            height=150,
            elem_id="mast3r-masks",
        )
    return SettingsPanel(controls, presets, hint, focal, intrinsics, masks)


def _place(control: Control, defaults: Mapping[str, object], mapper: str) -> gr.components.Component:
    changes: dict[str, Any] = {"visible": control.shown(mapper, "auto")}
    if control.name in defaults:
        changes["value"] = defaults[control.name]
    return component(control, **changes)


def visibility(mapper: str, graph: str, count: int, cyclic: bool) -> dict[str, Any]:
    """What every control of the panel changes to, by name; ``hint`` too.

    Args:
        mapper: chosen.
        graph: chosen.
        count: number of photos.
        cyclic: chosen.
    """
    state = graph_controls(graph, count, cyclic=cyclic, mapper=mapper)
    updates = graph_updates(state)
    for control in (*BASIC, *ADVANCED):
        if control.name not in GRAPH_NAMES:
            updates[control.name] = gr.update(visible=control.shown(mapper, graph))
    updates["hint"] = gr.update(value=state.hint, visible=bool(state.hint))
    return updates


def wire_settings(panel: SettingsPanel, count: gr.State, image_size: int) -> None:
    """Let the controls follow each other and the number of photos.

    Args:
        panel: the components.
        count: number of photos.
        image_size: of the server, for the presets.
    """
    names = [control.name for control in (*BASIC, *ADVANCED)]
    followers = [panel.controls[name] for name in names] + [panel.hint]

    def follow(mapper: str, graph: str, photos: int, cyclic: bool) -> list[Any]:
        updates = visibility(mapper, graph, photos, cyclic)
        return [updates[name] for name in (*names, "hint")]

    causes = [panel.controls["mapper"], panel.controls["pairs"], panel.controls["cyclic"]]
    gr.on(
        [*(cause.change for cause in causes), count.change],  # type: ignore[attr-defined]
        follow,
        [panel.controls["mapper"], panel.controls["pairs"], count, panel.controls["cyclic"]],
        followers,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
        trigger_mode="always_last",
    )
    for name, button in panel.presets.items():
        values = preset_values(name, image_size)
        button.click(
            lambda values=values: list(values.values()),
            None,
            [panel.controls[key] for key in values],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )


def default_values(mapper: str, image_size: int) -> dict[str, object]:
    """What the page is set to when it opens, beyond the tables' defaults."""
    known = [value for _, value in CONTROLS["mapper"].choices]
    return {"mapper": mapper if mapper in known else "sparse", "image_size": image_size}
