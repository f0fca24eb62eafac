"""What a run of the page is told: the values of the tab's components, in one order for page and HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mast3r_demo.controls import ADVANCED, BASIC
from mast3r_demo.running import RunRequest

from .viewer import split_view_values

DEVICE = "device"
"""Events of this id run one after another."""
SETTING_NAMES = tuple(control.name for control in (*BASIC, *ADVANCED))


def request_of(given: Sequence[Any]) -> RunRequest:
    """The values of `ReconstructTab.run_inputs` as a request."""
    settings = given[6 : 6 + len(SETTING_NAMES)]
    view, _ = split_view_values(tuple(given[6 + len(SETTING_NAMES) :]))
    photos, video, fps, focal, intrinsics, masks = given[:6]
    chosen = dict(zip(SETTING_NAMES, settings, strict=True))
    return RunRequest(photos, video, fps, focal, intrinsics, masks, chosen, view)
