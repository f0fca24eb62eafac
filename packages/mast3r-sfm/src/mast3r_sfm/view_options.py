"""The options of commands that show a scene: declared once, for ``mast3r sfm`` and ``mast3r export``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mast3r_model.cli import option, with_flags

from .appearance import ViewFilters

Function = TypeVar("Function", bound=Callable[..., object])
SECTION = "View"


class CameraSize(click.FloatRange):
    """A height in world units, or "auto" (None)."""

    name = "float|auto"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value == "auto" else super().convert(value, param, ctx)

    def _describe_range(self) -> str:
        return ""


_FLAGS = [
    option("--min-confidence", type=float, metavar="X", section=SECTION, show_default="by the network",
           help="Show pixels above this confidence."),
    option("--percentile", type=click.FloatRange(min=0, max=100, max_open=True), metavar="P", section=SECTION,
           help="Hide the least certain P percent of all pixels."),
    option("--max-points", type=click.IntRange(min=1), metavar="N", section=SECTION,
           show_default="by the format",
           help="Show at most N points: the most certain ones, spread over all photos."),
    option("--mesh", "as_mesh", is_flag=True, section=SECTION, help="Triangles instead of points."),
    option("--mask-sky", is_flag=True, section=SECTION, help="Hide what has the colours of sky."),
    option("--drop-black", is_flag=True, section=SECTION, help="Hide black pixels: a plain background."),
    option("--drop-white", is_flag=True, section=SECTION, help="Hide white pixels: a plain background."),
    option("--tsdf", type=click.FloatRange(min=0), default=0.0, metavar="X", section=SECTION,
           help="Move depths by at most X (world units) to where the photos agree; 0: off."),
    option("--cam-size", "camera_size", type=CameraSize(), metavar="X|auto", section=SECTION,
           show_default="auto", help="Height of drawn cameras in world units; 0: none."),
    option("--transparent-cams", "transparent_cameras", is_flag=True, section=SECTION,
           help="Cameras without their photos."),
]  # fmt: skip

_NAMES = (
    "min_confidence",
    "percentile",
    "max_points",
    "as_mesh",
    "mask_sky",
    "drop_black",
    "drop_white",
    "tsdf",
    "camera_size",
    "transparent_cameras",
)


def view_options(function: Function) -> Callable[..., object]:
    """Add the options of a view, from ``--min-confidence`` to ``--transparent-cams``.

    The function gets them as one keyword ``view: ViewFilters``.
    """

    @functools.wraps(function)
    def gathered(*positional: Any, **keywords: Any) -> object:
        view = ViewFilters(**{name: keywords.pop(name) for name in _NAMES})
        return function(*positional, view=view, **keywords)

    return with_flags(_FLAGS)(gathered)
