"""Pictures of matches: both photos side by side, matches as lines coloured by where they are in photo 0."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from mast3r_model import atomic_write

from .matches import Matches

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Colouring = Literal["position", "score"]
PANEL_HEIGHT = 480
GAP = 12
DPI = 100


def draw_matches(
    matches: Matches,
    image0: UInt8[np.ndarray, "H0 W0 3"],
    image1: UInt8[np.ndarray, "H1 W1 3"],
    *,
    count: int = 50,
    colour: Colouring = "position",
    inliers: Bool[np.ndarray, " n"] | None = None,
) -> Figure:
    """Draw two photos side by side, all matches as faint dots and some, spread over the photo, as lines.

    Args:
        matches: in the photos' pixels.
        image0: (H0, W0, 3) photo 0.
        image1: (H1, W1, 3) photo 1.
        count: how many matches to draw as lines.
        colour: by ``position`` in photo 0, so that order among neighbours can be followed, or by ``score``.
        inliers: (n,) verified matches; lines show these only, and the title says how many there are.

    Returns:
        A matplotlib figure that belongs to no window; `save_match_picture` writes it.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    panel0, scale0 = _panel(image0)
    panel1, scale1 = _panel(image1)
    offset = panel0.shape[1] + GAP
    canvas = np.full((PANEL_HEIGHT, offset + panel1.shape[1], 3), 255, dtype=np.uint8)
    canvas[:, : panel0.shape[1]] = panel0
    canvas[:, offset:] = panel1

    title_height = 34
    width, height = canvas.shape[1], canvas.shape[0] + title_height
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, canvas.shape[0] / height))
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    axes.set_xlim(-0.5, canvas.shape[1] - 0.5)
    axes.set_ylim(canvas.shape[0] - 0.5, -0.5)
    figure.text(
        0.5, 1 - title_height / height / 2, _title(matches, inliers), ha="center", va="center", size=11
    )

    points0 = (matches.keypoints0 + 0.5) * scale0 - 0.5
    points1 = (matches.keypoints1 + 0.5) * scale1 - 0.5 + [offset, 0]
    colours = _colours(matches, colour)
    drawable = matches if inliers is None else matches.select(inliers)
    rows = np.arange(len(matches)) if inliers is None else np.flatnonzero(inliers)
    chosen = rows[_spread_rows(drawable, count)]
    if len(matches) > len(chosen):
        for points in (points0, points1):
            axes.scatter(points[rows, 0], points[rows, 1], s=1.5, c=colours[rows], alpha=0.25, linewidths=0)
    lines = np.stack([points0[chosen], points1[chosen]], axis=1)
    axes.add_collection(LineCollection(list(lines), colors="black", linewidths=1.9, alpha=0.35))
    axes.add_collection(LineCollection(list(lines), colors=colours[chosen], linewidths=1.0, alpha=0.95))
    for points in (points0, points1):
        axes.scatter(
            points[chosen, 0],
            points[chosen, 1],
            s=16,
            c=colours[chosen],
            edgecolors="black",
            linewidths=0.5,
            zorder=3,
        )
    return figure


def save_match_picture(
    path: str | Path,
    matches: Matches,
    image0: UInt8[np.ndarray, "H0 W0 3"],
    image1: UInt8[np.ndarray, "H1 W1 3"],
    *,
    count: int = 50,
    colour: Colouring = "position",
    inliers: Bool[np.ndarray, " n"] | None = None,
) -> None:
    """Write the picture of `draw_matches`; the format goes by the suffix (.png, .jpg, .pdf, .svg).

    Raises:
        OutputError: the file cannot be written.
    """
    figure = draw_matches(matches, image0, image1, count=count, colour=colour, inliers=inliers)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def _panel(image: UInt8[np.ndarray, "H W 3"]) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, " 2"]]:
    """The photo at the panel's height, and the scale along x and y."""
    from PIL import Image

    height, width = image.shape[:2]
    panel_width = max(1, round(width * PANEL_HEIGHT / height))
    resized = Image.fromarray(image).resize((panel_width, PANEL_HEIGHT), Image.Resampling.LANCZOS)
    return np.array(resized), np.array([panel_width / width, PANEL_HEIGHT / height])


def _spread_rows(matches: Matches, count: int) -> np.ndarray:
    from .selection import spread_selection

    return spread_selection(matches.keypoints0, matches.scores, max(count, 1))


def _colours(matches: Matches, colour: Colouring) -> Float[np.ndarray, "n 4"]:
    from matplotlib import colormaps

    if not len(matches):
        return np.empty((0, 4))
    if colour == "score":
        order = matches.scores.argsort().argsort()
        return colormaps["viridis"](order / max(len(matches) - 1, 1))
    height, width = matches.image_shape0
    x, y = (matches.keypoints0 / np.maximum([width, height], 1)).T
    # Hue runs along the diagonal, so that neighbours look alike and distant points do not.
    return colormaps["turbo"](np.clip(0.06 + 0.88 * (0.7 * x + 0.3 * y), 0, 1))


def _title(matches: Matches, inliers: Bool[np.ndarray, " n"] | None) -> str:
    names = " – ".join(Path(name).name for name in (matches.name0, matches.name1) if name)
    counted = f"{len(matches)} matches"
    if inliers is not None:
        counted += f", {int(inliers.sum())} inliers"
    return f"{names}: {counted}" if names else counted
