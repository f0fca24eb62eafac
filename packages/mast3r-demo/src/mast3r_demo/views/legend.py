"""Pictures of maps: colours, and beside them a dark strip that says what they mean.

The strip is dark whatever the page is: it reads well on light and on dark pages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8

STRIP = 92
BAR = 18
PADDING = 12
TEXT_SIZE = 14
BACKGROUND = (24, 27, 34)
FOREGROUND = (226, 230, 238)
UNKNOWN = (90, 94, 102)
"""Of pixels without a value."""
LEAST_SIDE = 448
"""Pictures whose photo is smaller are enlarged by a whole number, so that the strip's text fits."""
STEPS = 256


@dataclass(frozen=True)
class ColourScale:
    """From values to colours.

    Attributes:
        low: gets the colour map's first colour, as does all below it.
        high: likewise its last one.
        colours: name of a colour map of matplotlib.
        unit: written over the bar.
    """

    low: float
    high: float
    colours: str
    unit: str

    def paint(self, values: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
        """The values' colours."""
        from matplotlib import colormaps

        span = max(self.high - self.low, 1e-12)
        share = np.clip((values - self.low) / span, 0, 1)
        table = colormaps[self.colours](np.linspace(0, 1, STEPS), bytes=True)[:, :3]
        painted: np.ndarray = table[np.round(share * (STEPS - 1)).astype(np.int64)]
        return painted

    def ticks(self, count: int) -> list[float]:
        """About so many round numbers from low to high."""
        from matplotlib.ticker import MaxNLocator

        found = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return [float(tick) for tick in found if self.low - slack <= tick <= self.high + slack]


def scale_for(shape: tuple[int, int]) -> int:
    """By which whole number a picture of this (height, width) is enlarged."""
    return max(1, math.ceil(LEAST_SIDE / max(shape)))


def range_of(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """From the 2nd to the 98th percentile: a few wild values do not take all the colours."""
    if not len(values):
        return 0.0, 1.0
    low, high = np.quantile(values, [0.02, 0.98])
    return float(low), float(high if high > low else low + max(abs(low), 1.0) * 1e-3)


def picture_with_bar(
    values: Float[np.ndarray, "h w"],
    known: Bool[np.ndarray, "h w"],
    scale: ColourScale,
    *,
    faint: Bool[np.ndarray, "h w"] | None = None,
    mark: float | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """A map in colours, and to its right a bar with numbers.

    Args:
        values: of the pixels.
        known: False where a pixel has none: it is grey.
        scale: of the colours.
        faint: pixels that are hidden elsewhere: nearly grey.
        mark: a value to be marked on the bar.
    """
    painted = np.where(known[..., None], scale.paint(values), UNKNOWN)
    if faint is not None:
        painted = np.where(faint[..., None], 0.25 * painted + 0.75 * np.array(UNKNOWN), painted)
    picture = enlarged(np.round(painted).astype(np.uint8))
    return np.concatenate([picture, _bar_strip(picture.shape[0], scale, mark)], axis=1)


def enlarged(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The picture by `scale_for`, each pixel a square."""
    times = scale_for(picture.shape[:2])
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def empty_strip(height: int) -> Image.Image:
    """The dark strip without anything on it."""
    return Image.new("RGB", (STRIP, height), BACKGROUND)


def write_on(strip: Image.Image, xy: tuple[float, float], text: str, *, anchor: str = "lm") -> None:
    """Text on a strip, shrunk to its width where it is long."""
    pen = ImageDraw.Draw(strip)
    room = strip.width - xy[0] - 2 if anchor[0] == "l" else strip.width - 4
    size = TEXT_SIZE
    while size > 8 and pen.textlength(text, font=ImageFont.load_default(size)) > room:
        size -= 1
    pen.text(xy, text, fill=FOREGROUND, font=ImageFont.load_default(size), anchor=anchor)


def _bar_strip(height: int, scale: ColourScale, mark: float | None) -> UInt8[np.ndarray, "h w 3"]:
    strip = empty_strip(height)
    top, bottom = 2 * PADDING + TEXT_SIZE, height - 2 * PADDING
    write_on(strip, (STRIP / 2, PADDING + TEXT_SIZE / 2), scale.unit, anchor="mm")
    shades = scale.paint(np.linspace(scale.high, scale.low, bottom - top)[:, None])
    strip.paste(Image.fromarray(np.ascontiguousarray(shades.repeat(BAR, axis=1))), (PADDING, top))
    pen = ImageDraw.Draw(strip)

    def row(value: float) -> float:
        return bottom - 1 - (value - scale.low) / (scale.high - scale.low) * (bottom - 1 - top)

    for tick in scale.ticks(max(2, (bottom - top) // 60)):
        y = row(tick)
        pen.line([(PADDING + BAR, y), (PADDING + BAR + 4, y)], fill=FOREGROUND)
        write_on(strip, (PADDING + BAR + 8, y), f"{tick:.6g}")
    if mark is not None:
        y = row(min(max(mark, scale.low), scale.high))
        pen.polygon([(1, y - 5), (1, y + 5), (PADDING - 1, y)], fill=FOREGROUND)
    return np.array(strip)
