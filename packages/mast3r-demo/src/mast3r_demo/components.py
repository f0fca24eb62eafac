"""Gradio components made from the tables in `controls`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from .controls import Control
from .graph_rules import Bounds, GraphControls


def component(control: Control, **changes: Any) -> gr.components.Component:
    """The component of a control.

    Args:
        control: a row of the tables.
        changes: other values than the row's, such as ``value`` or ``visible``.
    """
    settings: dict[str, Any] = {
        "label": control.label,
        "value": control.default,
        "elem_id": control.elem_id,
        "info": control.info,
        "interactive": True,
    } | changes
    if control.kind in ("slider", "number"):
        settings = {"minimum": control.minimum, "maximum": control.maximum, "step": control.step} | settings
    elif control.kind in ("radio", "dropdown"):
        settings = {"choices": list(control.choices)} | settings
    if control.kind == "number":
        settings["precision"] = 0
    return _COMPONENTS[control.kind](**settings)


def components(
    controls: Sequence[Control], defaults: Mapping[str, object] | None = None
) -> dict[str, gr.components.Component]:
    """The components of several controls, by name, placed where this is called.

    Args:
        controls: rows of the tables.
        defaults: values that the server was started with, by name.
    """
    defaults = defaults or {}
    return {
        control.name: component(
            control,
            **({"value": defaults[control.name]} if control.name in defaults else {}),
            visible=control.shown("sparse", "auto") if control.graphs or control.mappers else True,
        )
        for control in controls
    }


def graph_updates(state: GraphControls) -> dict[str, Any]:
    """What the controls below "Pairs" change to, by name."""
    return {
        "window": _slider(state.window),
        "cyclic": gr.update(visible=state.cyclic),
        "reference": _slider(state.reference),
        "key_images": _slider(state.key_images),
        "neighbours": _slider(state.neighbours),
    }


def _slider(bounds: Bounds | None) -> Any:
    if bounds is None:
        return gr.update(visible=False)
    return gr.update(
        minimum=bounds.minimum,
        maximum=bounds.maximum,
        value=bounds.value,
        interactive=bounds.enabled,
        visible=True,
    )


_COMPONENTS: Mapping[str, Any] = {
    "slider": gr.Slider,
    "number": gr.Number,
    "checkbox": gr.Checkbox,
    "radio": gr.Radio,
    "dropdown": gr.Dropdown,
}
