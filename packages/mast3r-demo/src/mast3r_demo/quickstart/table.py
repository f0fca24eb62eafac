"""What a person reads: the results and how near to the truth they are."""

from __future__ import annotations

from collections.abc import Iterator

from mast3r_match import Matches
from mast3r_sfm import Scene

from .example import Example
from .measures import RIGHT_DEPTH, RIGHT_PIXELS, Comparison


def rows(
    example: Example, matches: Matches, scene: Scene, comparison: Comparison, seconds: dict[str, float]
) -> Iterator[tuple[str, str, str]]:
    """What, its value, and the same against the truth."""
    (height, width), names = example.shape, [photo.name for photo in example.photos]
    found, cameras, depth = comparison.matches, comparison.cameras, comparison.depth
    yield "", "found", "against the truth"
    yield "photos", f"{len(names)} of {width} x {height}", ""
    yield (
        f"{names[0]} - {names[1]}",
        f"{len(matches)} matches",
        f"{_percent(found.right)} within {RIGHT_PIXELS:g} px (median {found.median_error:.1f} px)",
    )
    yield "photos placed", f"{len(scene.images)} of {len(names)}", ""
    yield (
        "camera rotations",
        "",
        f"{cameras.rotation_error_mean:.1f} degrees off on average, {cameras.rotation_error_max:.1f} at most",
    )
    yield "camera positions", "", f"{_percent(cameras.ate_relative)} of the cameras' spread off"
    yield "focal length", f"{_focal(scene):.0f} px", f"{_percent(cameras.focal_error_mean)} off"
    yield (
        "depth",
        f"{_percent(depth.covered)} of pixels",
        f"{_percent(depth.median_error)} off (median), {_percent(depth.right)} below {100 * RIGHT_DEPTH:g} %",
    )
    yield "points", f"{len(scene.points):,}", ""
    yield "time", f"{sum(seconds.values()):.1f} s", ", ".join(f"{k} {v:.1f} s" for k, v in seconds.items())


def lines(table: Iterator[tuple[str, str, str]]) -> Iterator[str]:
    """The table in columns."""
    cells = list(table)
    widths = [max(len(row[column]) for row in cells) for column in (0, 1)]
    for name, value, beside in cells:
        yield f"{name:<{widths[0]}}  {value:<{widths[1]}}  {beside}".rstrip()


def _focal(scene: Scene) -> float:
    """The photos are of one camera: the mean of what was found for each."""
    return sum(float(image.intrinsics[0, 0]) for image in scene.images) / len(scene.images)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"
