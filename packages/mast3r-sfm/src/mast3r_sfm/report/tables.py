"""Tables of the page: stages, pairs, photos."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mast3r_model.pages import folded, name, note, table, text
from mast3r_sfm.quantities import compact, duration, memory
from mast3r_sfm.scene import Scene, SceneImage

from .contents import PairRow, StageRow
from .thumbnails import Thumbnail, thumbnails

MAX_PAIRS = 3000
FOLDED_FROM = 300


def stage_bars(stages: Sequence[StageRow]) -> str:
    """Time and memory of every stage as bars."""
    if not stages:
        return ""
    columns = [
        _bars([stage.seconds for stage in stages], duration),
        _bars([stage.peak_bytes for stage in stages], memory),
    ]
    heads = ["stage", "time", "most memory"]
    if any(stage.gpu_peak_bytes for stage in stages):
        columns.append(_bars([stage.gpu_peak_bytes for stage in stages], memory))
        heads.append("of the GPU")
    rows = zip((text(stage.name) for stage in stages), *columns, strict=True)
    total = duration(sum(stage.seconds for stage in stages))
    return table(heads, rows, kind="bars") + note(
        f"Together {total}. Memory is what was resident in this process, worker processes not counted."
    )


def _bars(values: Sequence[float], in_words: Callable[[float], str]) -> list[str]:
    return [_bar(value / (max(values) or 1), in_words(value)) for value in values]


def _bar(share: float, label: str) -> str:
    return (
        f'<span class="track"><span style="width:{100 * share:.1f}%"></span></span>'
        f'<span class="value">{text(label)}</span>'
    )


def pair_table(pairs: Sequence[PairRow]) -> str:
    """All pairs that were tried, most matches first; folded where they are many."""
    if not pairs:
        return ""
    shown = sorted(pairs, key=lambda pair: -pair.matches)[:MAX_PAIRS]
    checked = any(pair.inliers is not None for pair in pairs)
    heads = ["photo", "photo", "#matches"] + (["#fit one geometry", "used"] if checked else [])
    rows = [
        [name(pair.image0), name(pair.image1), f"{pair.matches:,}"] + (_check(pair) if checked else [])
        for pair in shown
    ]
    content = table(heads, rows)
    if len(shown) < len(pairs):
        content += note(f"The other {len(pairs) - len(shown):,} pairs are in report.json.")
    return folded(f"{len(pairs):,} pairs with their matches", content, opened=len(pairs) < FOLDED_FROM)


def _check(pair: PairRow) -> list[str]:
    used = "" if pair.same_place is None else "yes" if pair.same_place and pair.matches else "no"
    return ["" if pair.inliers is None else f"{pair.inliers:,}", used]


def dropped_table(dropped: Mapping[str, str]) -> str:
    """Photos that are not in the scene, and why."""
    rows = [[name(photo), text(reason)] for photo, reason in dropped.items()]
    return table(["photo", "why it is left out"], rows) if rows else ""


@dataclass(frozen=True)
class _Seen:
    """What an image's tracks are like.

    Attributes:
        tracks: number.
        error: mean reprojection error in original pixels; NaN without tracks.
    """

    tracks: int
    error: float


def image_table(scene: Scene) -> str:
    """The placed photos: numbers, sizes, focals, tracks, small pictures."""
    if not scene.images:
        return ""
    several = len({image.component for image in scene.images}) > 1
    pictures = thumbnails(scene.images)
    group = ["#group"] if several else []
    heads = ["#no.", "photo", "colour and depth", *group, "size", "#focal, px", "#field of view"]
    heads += ["#tracks", "#error, px"]
    rows = [
        [str(k), name(image.name), _picture(pictures, k)]
        + ([str(image.component)] if several else [])
        + _camera_cells(image)
        + [f"{seen.tracks:,}", "" if math.isnan(seen.error) else f"{seen.error:.2f}"]
        for k, (image, seen) in enumerate(zip(scene.images, _seen(scene), strict=True))
    ]
    words = (
        "Sizes, focals and errors are in pixels of the photo; the field of view is horizontal. "
        "Depth: yellow is near, violet is far (each photo for itself), grey is unknown."
    )
    missing = len(scene.images) - len(pictures)
    if missing:
        words += f" To keep this page small, the last {missing:,} photos have no picture here."
    return note(words) + table(heads, rows)


def _camera_cells(image: SceneImage) -> list[str]:
    (height, width), K = image.original_shape, image.intrinsics
    focal = compact(float(K[0, 0]))
    if abs(K[1, 1] / K[0, 0] - 1) > 5e-3:
        focal += f" × {compact(float(K[1, 1]))}"
    left, right = np.arctan(np.array([K[0, 2] + 0.5, width - 0.5 - K[0, 2]]) / K[0, 0])
    return [f"{width} × {height}", focal, f"{math.degrees(left + right):.1f}°"]


def _picture(pictures: Sequence[Thumbnail], index: int) -> str:
    if index >= len(pictures):
        return ""
    found = pictures[index]
    size = f'width="{found.width}" height="{found.height}"'
    return (
        f'<span class="thumbs"><img alt="" {size} src="{found.color}">'
        f'<img alt="depth" {size} src="{found.depth}"></span>'
    )


def _seen(scene: Scene) -> list[_Seen]:
    count = len(scene.images)
    tracks = np.bincount(scene.tracks.image, minlength=count)
    errors = np.bincount(scene.tracks.image, scene.tracks.reprojection_error, minlength=count)
    return [
        _Seen(int(number), float(error / number) if number else math.nan)
        for number, error in zip(tracks, errors, strict=True)
    ]
