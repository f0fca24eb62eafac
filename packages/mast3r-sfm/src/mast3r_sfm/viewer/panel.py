"""The controls beside the viewer's 3D scene."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .content import ViewedGroup, ViewedScene, one_line
from .selection import PointFilter, SelectedPoints

if TYPE_CHECKING:
    import viser

ALL_PHOTOS = "all photos"
BY_SHARE, BY_VALUE = "least certain percent", "confidence value"
WAITING = "waiting"
DROPPED_SHOWN = 50
"""Photos that were left out and are named one by one."""


class Panel:
    """All controls; what they do is for others to say, see `on_change`.

    Attributes:
        group: which group of photos.
        photo: whose camera is looked through next.
        points_of: whose points are shown.
    """

    def __init__(self, gui: viser.GuiApi) -> None:
        self._bounded = False
        self.progress = gui.add_progress_bar(0.0, visible=False, animated=True)
        self.about = gui.add_html("")
        self.group = gui.add_dropdown("Group", (WAITING,), hint="Groups of photos that no match connects")
        with gui.add_folder("Walk"):
            self.photo = gui.add_dropdown("Photo", (WAITING,), hint="Look through its camera")
            self.steps = gui.add_button_group("Go", ("Previous", "Next", "Overview"))
            self.play = gui.add_button("Play", hint="From photo to photo, until it is clicked again")
            self.pace = gui.add_slider("Seconds each", 0.5, 10.0, 0.5, 2.0)
        with gui.add_folder("Points"):
            self.show_points = gui.add_checkbox("Show", True)
            self.points_of = gui.add_dropdown("Points of", (ALL_PHOTOS,))
            self.point_size = gui.add_slider(
                "Size", 0.2, 5.0, 0.1, 1.0, hint="1: as wide as the gap between neighbouring points"
            )
            self.hide_by = gui.add_dropdown("Hide by", (BY_SHARE, BY_VALUE))
            self.percentile = gui.add_slider("Hide %", 0, 95, 1, 20, hint="The least certain points")
            self.min_confidence = gui.add_slider("Above", 0.0, 1.0, 0.001, 0.0, visible=False)
            self.show_tracks = gui.add_checkbox("Tracks", False, hint="Sparse points that several photos see")
        with gui.add_folder("Cameras"):
            self.show_cameras = gui.add_checkbox("Show", True)
            self.show_photos = gui.add_checkbox("Photos", True)
            self.camera_size = gui.add_slider(
                "Size %", 0.5, 20.0, 0.5, 4.0, hint="Height, in percent of the scene's size"
            )
        self._dropped = gui.add_folder("Left out", visible=False, expand_by_default=False)
        with self._dropped:
            self.dropped = gui.add_html("")

    def fit_scene(self, scene: ViewedScene) -> None:
        """Offer what this scene has; choices that are still possible stay."""
        self.group.options = tuple(group.label for group in scene.groups)
        self.group.visible = len(scene.groups) > 1
        count = len(scene.dropped)
        self._dropped.visible = count > 0
        self._dropped.label = f"Left out: {count} photo{'s' if count != 1 else ''}"
        self.dropped.content = _dropped_list(scene)

    def fit_group(self, group: ViewedGroup, min_confidence: float) -> None:
        """Offer what this group has.

        Args:
            group: to be shown.
            min_confidence: what the scene itself shows points above.
        """
        labels = tuple(photo.label for photo in group.photos)
        self.photo.options = labels
        self.points_of.options = (ALL_PHOTOS, *labels)
        sure = [photo.points.confidence for photo in group.photos if len(photo.points)]
        self.show_tracks.disabled = not len(group.sparse.positions)
        for control in (
            self.point_size,
            self.show_points,
            self.hide_by,
            self.percentile,
            self.min_confidence,
        ):
            control.disabled = not sure and (control is not self.point_size)
        if sure:
            low = float(min(values[-1] for values in sure))
            high = float(max(np.quantile(values, 0.999) for values in sure))
            self._bound_confidence(low, max(high, low * (1 + 1e-6) + 1e-6), min_confidence)

    def point_filter(self, group: ViewedGroup, max_points: int) -> PointFilter:
        """What the controls ask for."""
        by_share = self.hide_by.value == BY_SHARE
        return PointFilter(
            percentile=float(self.percentile.value) if by_share else None,
            min_confidence=float(self.min_confidence.value),
            photo=self.chosen_points_of(group),
            max_points=max_points,
        )

    def chosen_points_of(self, group: ViewedGroup) -> int | None:
        """The number of the photo whose points are shown; None: of all."""
        return self._number(group, self.points_of.value)

    def chosen_photo(self, group: ViewedGroup) -> int:
        """The number of the photo that is walked to."""
        return self._number(group, self.photo.value) or 0

    def tell(self, group: ViewedGroup, selected: SelectedPoints) -> None:
        """Say how many points are shown."""
        tracks = len(group.sparse.positions)
        lines = [f"{len(group.photos):,} photos, {tracks:,} tracks"]
        if group.count:
            lines.append(f"{len(selected):,} points of confidence above {selected.threshold:.4g}")
        if selected.passed > len(selected):
            lines.append(f"of {selected.passed:,}: --max-points shows more")
        self.about.content = _small("<br>".join(lines))

    def wait_for(self, stage: str, percent: float | None) -> None:
        """Say what is being computed; percent None: nobody knows how much of it is done."""
        self.progress.visible = True
        put(self.progress, 100.0 if percent is None else min(max(percent, 0.0), 100.0))
        self.about.content = _small(html.escape(stage))

    def on_change(self, action: Callable[[], None], *controls: viser.GuiInputHandle[Any]) -> None:
        """Do something whenever one of the controls was changed, by whomever."""
        for control in controls:
            control.on_update(lambda _: action())

    def _number(self, group: ViewedGroup, label: str) -> int | None:
        labels = [photo.label for photo in group.photos]
        return labels.index(label) if label in labels else None

    def _bound_confidence(self, low: float, high: float, preferred: float) -> None:
        """Give the slider its range; what the user chose stays, if it is inside."""
        slider = self.min_confidence
        value = float(slider.value) if self._bounded else preferred
        slider.min, slider.max, slider.step = low, high, (high - low) / 500
        put(slider, float(np.clip(value, low, high)))
        self._bounded = True


def put(control: Any, value: object) -> None:
    """Set a control; whoever listens is told, with no client."""
    control.value = value


def _small(text: str) -> str:
    return f'<div style="padding: 0 0.75em 0.4em; font-size: 0.85em; line-height: 1.4">{text}</div>'


def _dropped_list(scene: ViewedScene) -> str:
    """Names and reasons as HTML; both hold file names, which may be anything."""
    named = scene.dropped[:DROPPED_SHOWN]
    lines = [
        f"<b>{html.escape(one_line(drop.name))}</b>: {html.escape(one_line(drop.reason))}" for drop in named
    ]
    if len(scene.dropped) > len(named):
        lines.append(f"and {len(scene.dropped) - len(named)} more")
    return _small("<br>".join(lines))
