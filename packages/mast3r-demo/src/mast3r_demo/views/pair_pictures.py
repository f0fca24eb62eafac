"""Which photos were matched, and how: lines between two of them, and all pairs at once (spec 60 D2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mast3r_match import Matches, draw_matches

from .camera_table import shown_name
from .legend import BACKGROUND, FOREGROUND, UNKNOWN, ColourScale

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from matplotlib.figure import Figure

    from mast3r_demo.reconstruction import Reconstruction

LINES = 80
NUMBERED_CELLS = 14
"""With more photos the cells are too small for their counts."""
NAMED_ROWS = 40


def pair_choices(
    result: Reconstruction, names: Mapping[str, str] | None = None
) -> list[tuple[str, tuple[int, int]]]:
    """The pairs for a list, those with most matches first.

    Args:
        result: of a run.
        names: what the visitor calls files, by our names for them.

    Returns:
        Label and (i, j), numbers of photos in ``result.images``.
    """
    counts = sorted(result.pair_counts().items(), key=lambda pair: (-pair[1], pair[0]))
    called = [shown_name(image.name, names) for image in result.images]
    return [(f"{called[i]} – {called[j]}: {count} matches agree", (i, j)) for (i, j), count in counts]


def pair_picture(
    result: Reconstruction,
    i: int,
    j: int,
    *,
    names: Mapping[str, str] | None = None,
    min_confidence: float = 0.0,
    count: int = LINES,
) -> UInt8[np.ndarray, "H W 3"]:
    """Two photos side by side with lines between what matches.

    Args:
        result: of a run.
        i: number of a photo in ``result.images``.
        j: of another.
        names: what the visitor calls files, by our names for them.
        min_confidence: matches below it are left out.
        count: matches that are drawn as lines, spread over the photo.

    Raises:
        InputError: the two were not matched.
    """
    found = result.matches(i, j)
    image0, image1 = result.images[i], result.images[j]
    matches = Matches(
        keypoints0=found.xy0.cpu().numpy(),
        keypoints1=found.xy1.cpu().numpy(),
        scores=found.confidence.cpu().numpy(),
        image_shape0=image0.shape,
        image_shape1=image1.shape,
        name0=shown_name(image0.name, names),
        name1=shown_name(image1.name, names),
    )
    matches = matches.select(matches.scores >= min_confidence)
    return picture_of_matches(matches, image0.pixels, image1.pixels, count=count)


def picture_of_matches(
    matches: Matches,
    image0: UInt8[np.ndarray, "h0 w0 3"],
    image1: UInt8[np.ndarray, "h1 w1 3"],
    *,
    count: int = LINES,
) -> UInt8[np.ndarray, "H W 3"]:
    """`draw_matches` on the dark ground of all pictures of the page.

    Args:
        matches: in the photos' pixels.
        image0: photo 0, of the size that the matches speak of or of another with the same proportions.
        image1: photo 1.
        count: matches that are drawn as lines.
    """
    figure = draw_matches(_resized(matches, image0.shape[:2], image1.shape[:2]), image0, image1, count=count)
    _darken(figure)
    return _rendered(figure)


def similarity_picture(result: Reconstruction) -> UInt8[np.ndarray, "H W 3"]:
    """All photos against all: the brighter, the more matches; grey where no match was looked for.

    Rows and columns are the photos by their numbers in ``result.images``, from 1.
    """
    from matplotlib.figure import Figure

    size = len(result.images)
    counts = np.full((size, size), np.nan)
    for (i, j), found in result.pair_counts().items():
        counts[i, j] = counts[j, i] = found
    most = max(1.0, float(np.nanmax(counts, initial=0.0)))
    cells = np.full((size, size, 3), UNKNOWN, np.uint8)
    tried = np.isfinite(counts)
    # counts differ by orders of magnitude: colours go by their roots
    cells[tried] = ColourScale(0, 1, "viridis", "").paint(np.sqrt(np.nan_to_num(counts) / most))[tried]
    cells[np.arange(size), np.arange(size)] = BACKGROUND
    figure = Figure(figsize=(6.4, 6.4), dpi=100)
    axes = figure.add_axes((0.1, 0.03, 0.87, 0.87))
    axes.imshow(cells, interpolation="nearest", extent=(0.5, size + 0.5, size + 0.5, 0.5))
    axes.xaxis.tick_top()
    if size <= NAMED_ROWS:
        axes.set_xticks(range(1, size + 1))
        axes.set_yticks(range(1, size + 1))
        axes.tick_params(length=0, labelsize=10 if size <= NUMBERED_CELLS else 7)
    if size <= NUMBERED_CELLS:
        for i, j in np.argwhere(tried):
            bright = counts[i, j] > 0.3 * most
            axes.text(
                j + 1, i + 1, f"{counts[i, j]:.0f}", ha="center", va="center", size=min(10, 60 / size + 3),
                color="black" if bright else "white",
            )  # fmt: skip
    figure.text(0.535, 0.97, "matches between photos", ha="center", va="center", size=11)
    _darken(figure)
    return _rendered(figure)


def _resized(matches: Matches, shape0: tuple[int, int], shape1: tuple[int, int]) -> Matches:
    """Matches for photos of other sizes."""
    moved = []
    for points, old, new in (
        (matches.keypoints0, matches.image_shape0, shape0),
        (matches.keypoints1, matches.image_shape1, shape1),
    ):
        factor = np.array([new[1] / old[1], new[0] / old[0]])
        moved.append((points + 0.5) * factor - 0.5)
    return replace(
        matches, keypoints0=moved[0], keypoints1=moved[1], image_shape0=shape0, image_shape1=shape1
    )


def _darken(figure: Figure) -> None:
    """Light text on a dark ground, outside of the photos."""
    ground, ink = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in (BACKGROUND, FOREGROUND))
    figure.set_facecolor(ground)
    for text in figure.texts:
        text.set_color(ink)
    for axes in figure.axes:
        axes.set_facecolor(ground)
        axes.tick_params(colors=ink)
        for spine in axes.spines.values():
            spine.set_visible(False)


def _rendered(figure: Figure) -> UInt8[np.ndarray, "H W 3"]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
