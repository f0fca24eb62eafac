"""Textures of the quickstart's still life, all painted here: 512 x 512 pixels, nothing of them repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, zoom

SIZE = 512

Rng = np.random.Generator
Paint = Callable[[Rng], Image.Image]
Color = tuple[int, int, int]


def fractal(rng: Rng, octaves: Sequence[int], stretch: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Smooth noise in [0, 1], (SIZE, SIZE): a lattice of 2^k cells for every octave, finer ones weaker."""
    total = np.zeros((SIZE, SIZE))
    for rank, octave in enumerate(octaves):
        rows, columns = 2**octave // stretch[0] + 2, 2**octave // stretch[1] + 2
        lattice = rng.normal(size=(rows, columns))
        total += (
            zoom(lattice, (SIZE / rows, SIZE / columns), order=3, grid_mode=True, mode="nearest") * 0.6**rank
        )
    low, high = np.quantile(total, [0.01, 0.99])
    return np.clip((total - low) / (high - low), 0, 1)


def mixed(values: np.ndarray, *colors: Color) -> np.ndarray:
    """Colours along a ramp, (h, w, 3) in 0..255, for values in [0, 1]."""
    at = np.linspace(0, 1, len(colors))
    return np.stack([np.interp(values, at, channel) for channel in np.array(colors, float).T], axis=-1)


def picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def grain(rng: Rng, pixels: np.ndarray, strength: float = 10.0) -> np.ndarray:
    """Fine spots, which give every place something to hold on to."""
    spots = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 1.2)
    return pixels + (spots / spots.std() * strength)[..., None]


def lettering(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface."""
    return ImageFont.load_default(size)


def bricks(rng: Rng) -> Image.Image:
    """A wall of bricks of which no two are alike, whitewashed in places."""
    mortar = mixed(fractal(rng, (4, 6, 7)), (150, 140, 128), (190, 180, 165))
    rows, columns = 13, 6
    high, wide = SIZE / rows, SIZE / columns
    for row in range(rows):
        for column in range(-1, columns + 1):
            shift = (row % 2) * wide / 2 + rng.normal(0, 2)
            left, right = int(column * wide + shift + 3), int((column + 1) * wide + shift - 2)
            top, bottom = int(row * high + 3), int((row + 1) * high - 2)
            left, right = max(left, 0), min(right, SIZE)
            if right - left < 4:
                continue
            base = np.array([172, 92, 66]) * rng.uniform(0.55, 1.15) + rng.normal(0, 12, 3)
            mortar[top:bottom, left:right] = base
    worn = fractal(rng, (2, 4, 5, 6))
    wash = np.clip((worn - 0.62) * 6, 0, 0.85)[..., None]
    stained = mortar * (0.75 + 0.45 * fractal(rng, (3, 5, 6, 7)))[..., None]
    return picture(grain(rng, stained * (1 - wash) + np.array([226, 218, 200]) * wash, 9))


def plaster(rng: Rng) -> Image.Image:
    """A painted wall with patches of older paint."""
    layers = fractal(rng, (2, 4, 5, 6))
    pixels = mixed(fractal(rng, (3, 5, 6)), (88, 128, 132), (128, 164, 160))
    pixels[layers > 0.66] = mixed(fractal(rng, (4, 6)), (206, 196, 170), (178, 168, 140))[layers > 0.66]
    pixels[layers > 0.86] = (150, 96, 72)
    return picture(grain(rng, pixels, 9))


def planks(rng: Rng) -> Image.Image:
    """Boards of a table."""
    pixels, edges = np.zeros((SIZE, SIZE, 3)), np.linspace(0, SIZE, 7).astype(int)
    for top, bottom in pairwise(edges):
        veins = fractal(rng, (3, 5, 6, 7), stretch=(1, 12))[: bottom - top]
        rings = np.abs(np.sin(9 * veins + rng.uniform(0, 6)))
        tone = rng.uniform(0.75, 1.1)
        pixels[top:bottom] = mixed(0.6 * rings + 0.4 * veins, (92, 58, 34), (196, 142, 88)) * tone
        pixels[bottom - 3 : bottom] *= 0.35
    for x, y in rng.uniform(20, SIZE - 20, (9, 2)):
        draw_spot(pixels, x, y, rng.uniform(5, 12), (58, 36, 22))
    return picture(grain(rng, pixels, 7))


def draw_spot(pixels: np.ndarray, x: float, y: float, radius: float, color: Color) -> None:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    weight = np.exp(-(((columns - x) / 1.6) ** 2 + (rows - y) ** 2) / radius**2)[..., None]
    pixels[:] = pixels * (1 - weight) + np.array(color) * weight


def landscape(rng: Rng) -> Image.Image:
    """A framed painting: hills before a sunset."""
    rows = np.linspace(0, 1, SIZE)[:, None] * np.ones((1, SIZE))
    pixels = mixed(
        rows + 0.25 * (fractal(rng, (2, 3, 4, 5)) - 0.5), (60, 88, 150), (236, 178, 120), (250, 226, 160)
    )
    draw_spot(pixels, 350, 190, 34, (255, 246, 214))
    shades: tuple[Color, ...] = ((120, 104, 140), (84, 96, 112), (66, 104, 78), (44, 78, 46))
    for rank, shade in enumerate(shades):
        profile = fractal(rng, (2, 3, 5))[100 * rank + 10] * (120 - 12 * rank) + 190 + 72 * rank
        below = np.arange(SIZE)[:, None] > profile[None]
        pixels[below] = (np.array(shade) * (0.7 + 0.6 * fractal(rng, (4, 5, 6, 7)))[..., None])[below]
    return framed(rng, pixels, (70, 46, 28))


def rectangles(rng: Rng) -> Image.Image:
    """A framed painting of coloured fields."""
    image = Image.new("RGB", (SIZE, SIZE), (238, 232, 216))
    draw = ImageDraw.Draw(image)
    colors = [(196, 44, 36), (32, 68, 140), (240, 196, 48), (24, 24, 28), (64, 140, 112), (226, 122, 48)]
    for number in range(26):
        x, y = rng.integers(0, SIZE, 2)
        w, h = rng.integers(30, 170, 2)
        draw.rectangle((x, y, x + w, y + h), fill=colors[number % len(colors)], outline=(20, 20, 22), width=5)
    for _ in range(7):
        x, y, r = *rng.integers(0, SIZE, 2), rng.integers(14, 60)
        draw.ellipse(
            (x - r, y - r, x + r, y + r),
            fill=colors[rng.integers(len(colors))],
            outline=(20, 20, 22),
            width=4,
        )
    return framed(rng, np.asarray(image, float), (206, 174, 96))


def framed(rng: Rng, pixels: np.ndarray, frame: Color) -> Image.Image:
    canvas = pixels * (0.88 + 0.24 * fractal(rng, (5, 6, 7)))[..., None]
    border = 34
    inside = np.zeros((SIZE, SIZE), bool)
    inside[border:-border, border:-border] = True
    wood = mixed(fractal(rng, (4, 6, 7)), frame, tuple(int(c * 0.55) for c in frame))  # type: ignore[arg-type]
    return picture(grain(rng, np.where(inside[..., None], canvas, wood), 6))


def globe(rng: Rng) -> Image.Image:
    """Land and sea with a grid of degrees."""
    height = fractal(rng, (2, 3, 4, 5, 6))
    sea = mixed(height * 1.6, (18, 52, 108), (70, 150, 190))
    land = mixed(
        np.clip(height * 2 - 1, 0, 1), (206, 190, 120), (110, 150, 74), (140, 104, 70), (240, 240, 236)
    )
    pixels = np.where((height > 0.54)[..., None], land, sea)
    pixels[(height > 0.53) & (height < 0.55)] = (40, 48, 44)
    pixels[::64] = pixels[::64] * 0.6
    pixels[:, ::64] = pixels[:, ::64] * 0.6
    return picture(grain(rng, pixels, 6))


def printed(words: str, paper: Color, ink: Color, second: Color) -> Paint:
    """Printed matter: lines of words, stamps and stripes on a paper that is not quite even."""

    def paint(rng: Rng) -> Image.Image:
        sheet = mixed(fractal(rng, (3, 5, 6, 7)), tuple(int(c * 0.82) for c in paper), paper)  # type: ignore[arg-type]
        image = picture(grain(rng, sheet, 6))
        draw = ImageDraw.Draw(image)
        y = 16
        while y < SIZE - 30:
            size = int(rng.integers(22, 74))
            draw.text(
                (rng.integers(-60, 60), y),
                scrambled(rng, words),
                fill=ink if rng.random() < 0.7 else second,
                font=lettering(size),
            )
            y += int(size * 1.1)
            if rng.random() < 0.35:
                draw.rectangle((0, y, SIZE, y + 14), fill=second)
                y += 22
        for _ in range(5):
            x, y, r = *rng.integers(40, SIZE - 40, 2), int(rng.integers(20, 52))
            draw.ellipse((x - r, y - r, x + r, y + r), outline=second, width=7)
            draw.text((x - r // 2, y - r // 2), scrambled(rng, words)[:2], fill=ink, font=lettering(r))
        return image

    return paint


def scrambled(rng: Rng, words: str) -> str:
    pieces = words.split()
    return " ".join(pieces[i] for i in rng.permutation(len(pieces)))


def carpet(rng: Rng) -> Image.Image:
    """What lies on the floor."""
    waves = fractal(rng, (3, 4, 5))
    pixels = mixed(np.abs(np.sin(14 * waves)), (120, 40, 44), (214, 178, 122), (46, 54, 84))
    return picture(grain(rng, pixels, 12))


PAINTS: dict[str, Paint] = {
    "bricks": bricks,
    "plaster": plaster,
    "planks": planks,
    "landscape": landscape,
    "rectangles": rectangles,
    "globe": globe,
    "carpet": carpet,
    "cardboard": printed(
        "FRAGILE this side up 3D No. 27 MATCH", (206, 164, 112), (60, 36, 20), (168, 40, 30)
    ),
    "tin": printed("tomato SUGO pelati 400 g NANO", (236, 226, 196), (150, 24, 22), (34, 96, 52)),
    "red book": printed("STRUCTURE from motion vol. II", (172, 48, 44), (246, 226, 170), (30, 22, 26)),
    "blue book": printed("CAMERAS & rays in 3 space", (44, 78, 142), (236, 236, 226), (236, 170, 60)),
    "green book": printed("a PAIR of photos and points", (60, 116, 78), (240, 232, 200), (22, 34, 28)),
    "toys": printed("A B C 1 2 3 D 7 E", (240, 196, 60), (40, 70, 150), (196, 44, 40)),
}
"""Every texture by its name."""


def paint_all(seed: int = 0) -> tuple[dict[str, int], list[Image.Image]]:
    """All textures, and the number of each."""
    images = [paint(np.random.default_rng([seed, number])) for number, paint in enumerate(PAINTS.values())]
    return {name: number for number, name in enumerate(PAINTS)}, images
