"""What was matched with what: a square of all photos against all."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from mast3r_model.pages import data_uri, note, text

from .contents import PairRow

CELLS_WITH_NAMES = 40
MAX_SIDE = 1000
"""Of the picture for many images, in pixels; more images share pixels."""
ACCENT, WARNING = (59, 125, 221), (217, 119, 6)
"""Colours that can be seen on white and on black."""


def match_matrix(names: Sequence[str], pairs: Sequence[PairRow]) -> str:
    """A cell for every two photos: stronger colour for more matches, orange where they were not believed.

    Args:
        names: of the photos in the order of rows and columns.
        pairs: those tried; pairs with other photos are left out.
    """
    row = {name: k for k, name in enumerate(names)}
    known = [pair for pair in pairs if pair.image0 in row and pair.image1 in row]
    if not known:
        return ""
    draw = _with_names if len(names) <= CELLS_WITH_NAMES else _as_picture
    legend = (
        '<span class="key tried"></span> no match &nbsp; <span class="key few"></span> few &nbsp; '
        f'<span class="key many"></span> {max(pair.matches for pair in known):,} matches'
    )
    if any(pair.same_place is False for pair in known):
        legend += ' &nbsp; <span class="key refused"></span> matches that fit no common geometry, not used'
    return f'<div><figure class="matrix">{draw(names, row, known)}</figure>{note(legend)}</div>'


def _with_names(names: Sequence[str], row: dict[str, int], pairs: Sequence[PairRow]) -> str:
    most = max([pair.matches for pair in pairs] + [1])
    cells = []
    for pair in pairs:
        i, j = row[pair.image0], row[pair.image1]
        words = f"{pair.image0} – {pair.image1}: {pair.matches} matches"
        if pair.inliers is not None:
            words += f", {pair.inliers} fit one geometry"
        kind = "refused" if pair.same_place is False else "matched" if pair.matches else "tried"
        strength = strength_of(pair.matches, most)
        cells += [
            f'<rect class="{kind}" x="{a}" y="{b}" width="1" height="1" fill-opacity="{strength:.2f}">'
            f"<title>{text(words)}</title></rect>"
            for a, b in ((i, j), (j, i))
        ]
    count = len(names)
    own = "".join(
        f'<rect class="own" x="{k}" y="{k}" width="1" height="1"><title>{k}: {text(name)}</title></rect>'
        f'<text class="middle" x="{k + 0.5}" y="{k + 0.65}">{k}</text>'
        for k, name in enumerate(names)
    )
    return (
        f'<svg viewBox="-0.05 -0.05 {count + 0.1} {count + 0.1}" role="img">'
        f"<title>matches between photos</title>{''.join(cells)}{own}</svg>"
    )


def _as_picture(names: Sequence[str], row: dict[str, int], pairs: Sequence[PairRow]) -> str:
    picture = _picture(len(names), row, pairs)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", optimize=True)
    words = f"matches between {len(names)} photos"
    return f'<img class="pixels" alt="{words}" src="{data_uri(file.getvalue(), "png")}">'


def _picture(count: int, row: dict[str, int], pairs: Sequence[PairRow]) -> UInt8[np.ndarray, "s s 4"]:
    """RGBA; several photos share a pixel where there are too many, which shows the strongest of them."""
    block = -(-count // MAX_SIDE)
    side = -(-count // block)
    matched = np.zeros((side, side))
    refused = np.zeros((side, side))
    i = np.array([row[pair.image0] for pair in pairs]) // block
    j = np.array([row[pair.image1] for pair in pairs]) // block
    counts = np.array([pair.matches for pair in pairs], dtype=np.float64)
    strength = np.array([strength_of(value, max(counts.max(), 1)) for value in counts])
    used = np.array([pair.same_place is not False for pair in pairs])
    for layer, chosen in ((matched, used), (refused, ~used)):
        np.maximum.at(layer, (i[chosen], j[chosen]), strength[chosen])
        np.maximum.at(layer, (j[chosen], i[chosen]), strength[chosen])
    colors = np.where((refused > matched)[..., None], WARNING, ACCENT)
    return _rgba(colors, np.maximum(matched, refused))


def _rgba(colors: np.ndarray, alpha: Float[np.ndarray, "s s"]) -> UInt8[np.ndarray, "s s 4"]:
    return np.concatenate([colors, np.round(255 * alpha)[..., None]], axis=-1).astype(np.uint8)


def strength_of(matches: float, most: float) -> float:
    """Opacity of a cell: 0.08 for a pair without match, 1 for the one with the most."""
    return 0.08 + 0.92 * (matches / most) ** 0.5 if matches else 0.08
