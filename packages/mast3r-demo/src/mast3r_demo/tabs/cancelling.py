"""The Cancel buttons of the tabs "Match two photos" and "Localize a photo"."""

from __future__ import annotations

from typing import Any

import gradio as gr

from mast3r_demo.handlers import guarded
from mast3r_demo.status import status_html
from mast3r_demo.visits import Visit

STOPPING = status_html("Stopping at the next step", mood="busy")
CANCELLED = status_html("Cancelled.")


def wire_cancel(cancel: gr.Button, started: Any, state: gr.State, status: gr.HTML) -> None:
    """Let the button stop what was started.

    Args:
        cancel: the button.
        started: the event that runs until then.
        state: the visit.
        status: says that it was cancelled when it has stopped, and nothing can overwrite it any more.
    """

    @guarded
    def stop(visit: Visit | None) -> str:
        if visit is not None:
            visit.stop()
        return STOPPING

    @guarded
    def settle(visit: Visit | None) -> Any:
        if visit is None or not visit.stopped:
            return gr.skip()
        visit.wait_for_stop()
        return CANCELLED

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    cancel.click(stop, [state], [status], cancels=[started], **quick)
    started.then(settle, [state], [status], **quick)
