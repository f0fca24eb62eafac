"""Procedural textures: noise, checkers, stripes, bricks, glyphs, rings, cracked cells.

Each pattern is a function ``(size, rng) -> uint8 (size, size, 3)``, tileable up to its seams.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

Pattern = Callable[[int, np.random.Generator], np.ndarray]


def _value_noise(size: int, rng: np.random.Generator, octaves: tuple[int, int] = (2, 8)) -> np.ndarray:
    """Smooth noise in [0, 1]: random lattices of 2^k cells, each octave with less weight."""
    total = np.zeros((size, size), dtype=np.float32)
    decay = rng.uniform(0.45, 0.85)
    for k in range(*octaves):
        cells = min(2**k, size)
        lattice = rng.random((cells, cells)).astype(np.float32)
        coordinates = (np.arange(size) + 0.5) * cells / size
        grid = np.meshgrid(coordinates, coordinates, indexing="ij")
        total += decay**k * map_coordinates(lattice, grid, order=1, mode="grid-wrap")
    total -= total.min()
    return total / max(float(total.max()), 1e-6)


def _colors(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 3) colours that differ in brightness, mostly muted as real materials are."""
    brightness = rng.permutation(np.linspace(0.15, 0.95, n))[:, None]
    hue = rng.random((n, 3))
    saturation = rng.beta(1.2, 2.0, (n, 1))
    tone = 1 - saturation * (1 - hue / hue.max(axis=1, keepdims=True))
    return (tone * brightness * 255).astype(np.float32)


def _ramp(values: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Map values in [0, 1] to a piecewise linear ramp of colours."""
    stops = np.linspace(0, 1, len(colors))
    return np.stack([np.interp(values, stops, colors[:, c]) for c in range(3)], axis=-1)


def _finish(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add fine grain, so that no texture is flat anywhere, and quantise."""
    size = image.shape[0]
    stain = _value_noise(size, rng, (3, 10))[..., None] - 0.5
    return np.clip(np.rint(image + stain * rng.uniform(20, 90)), 0, 255).astype(np.uint8)


def noise(size: int, rng: np.random.Generator) -> np.ndarray:
    """Coloured noise over several octaves."""
    return _finish(_ramp(_value_noise(size, rng), _colors(rng, int(rng.integers(3, 7)))), rng)


def checkers(size: int, rng: np.random.Generator) -> np.ndarray:
    """A board whose squares have individual colours."""
    cells = int(rng.integers(4, 24))
    board = _colors(rng, 2)[np.indices((cells, cells)).sum(axis=0) % 2]
    board = board + rng.normal(0, 35, (cells, cells, 1))
    index = np.arange(size) * cells // size
    return _finish(board[index][:, index], rng)


def stripes(size: int, rng: np.random.Generator) -> np.ndarray:
    """Stripes of irregular width, slightly bent."""
    bend = (_value_noise(size, rng, (1, 4)) - 0.5) * size * 0.15
    angle = rng.uniform(0, np.pi)
    y, x = np.indices((size, size))
    position = (x * np.cos(angle) + y * np.sin(angle) + bend) % size
    count = int(rng.integers(6, 40))
    edges = np.sort(rng.uniform(0, size, count))
    return _finish(_colors(rng, count + 1)[np.searchsorted(edges, position)], rng)


def bricks(size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of bricks with mortar, every brick of its own shade."""
    rows, columns = int(rng.integers(6, 20)), int(rng.integers(3, 10))
    y, x = np.indices((size, size)) / size
    row = np.floor(y * rows).astype(int)
    shifted = x * columns + 0.5 * (row % 2)
    column = np.floor(shifted).astype(int) % columns
    joint = rng.uniform(0.05, 0.15)
    mortar = ((y * rows) % 1 < joint) | (shifted % 1 < joint * columns / rows)
    brick, gray = _colors(rng, 2)
    shade = rng.normal(0, 30, (rows, columns, 1)) + rng.normal(0, 12, (rows, columns, 3))
    return _finish(np.where(mortar[..., None], gray, (brick + shade)[row, column]), rng)


def rings(size: int, rng: np.random.Generator) -> np.ndarray:
    """Rings as in cut wood."""
    cx, cy = rng.uniform(-0.5, 1.5, 2) * size
    y, x = np.indices((size, size))
    radius = np.hypot((x - cx) * rng.uniform(0.3, 1.0), y - cy)
    radius += _value_noise(size, rng, (1, 6)) * size * rng.uniform(0.1, 0.4)
    wave = 0.5 + 0.5 * np.sin(radius * 2 * np.pi * rng.uniform(6, 30) / size)
    return _finish(_ramp(wave, _colors(rng, int(rng.integers(2, 5)))), rng)


def cells(size: int, rng: np.random.Generator) -> np.ndarray:
    """Cracked cells: the nearest of random seeds, dark where two are equally near."""
    seeds = rng.random((int(rng.integers(20, 300)), 2)) * size
    tree = cKDTree(seeds, boxsize=size)
    y, x = np.indices((size, size)) + 0.5
    jitter = (_value_noise(size, rng, (3, 7)) - 0.5) * size * 0.05
    points = np.stack([x + jitter, y + jitter], axis=-1).reshape(-1, 2) % size
    distance, nearest = tree.query(points, k=2)
    colors = _colors(rng, 6)[rng.integers(0, 6, len(seeds))] + rng.normal(0, 20, (len(seeds), 3))
    crack = (distance[:, 1] - distance[:, 0] < rng.uniform(0, 6))[:, None]
    return _finish(np.where(crack, 20.0, colors[nearest[:, 0]]).reshape(size, size, 3), rng)


def glyphs(size: int, rng: np.random.Generator) -> np.ndarray:
    """Lines of random letters of several sizes on a plain or noisy ground."""
    background, *inks = _colors(rng, 4)
    page = Image.new("RGB", (size, size), tuple(int(c) for c in background))
    draw = ImageDraw.Draw(page)
    y = 0
    alphabet = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789&%#?!"))
    while y < size:
        height = int(rng.integers(10, 90))
        text = "".join(rng.choice(alphabet, size=3 * size // height))
        ink = tuple(int(c) for c in inks[int(rng.integers(len(inks)))])
        draw.text((-int(rng.integers(height)), y), text, fill=ink, font=ImageFont.load_default(height))
        y += int(height * rng.uniform(1.0, 1.4))
    return _finish(np.asarray(page).astype(np.float32), rng)


def patches(size: int, rng: np.random.Generator) -> np.ndarray:
    """Overlapping rectangles and ellipses of many sizes: a clutter with corners everywhere."""
    page = Image.new("RGB", (size, size), tuple(int(c) for c in _colors(rng, 1)[0]))
    draw = ImageDraw.Draw(page)
    colors = _colors(rng, 12)
    for _ in range(int(rng.integers(40, 250))):
        w, h = size * rng.uniform(0.01, 0.25, 2)
        x, y = rng.uniform(-0.1, 1.0, 2) * size
        fill = tuple(int(c) for c in colors[int(rng.integers(len(colors)))])
        shape = draw.rectangle if rng.random() < 0.6 else draw.ellipse
        shape((x, y, x + w, y + h), fill=fill)
    return _finish(np.asarray(page).astype(np.float32), rng)


PATTERNS: tuple[Pattern, ...] = (noise, checkers, stripes, bricks, rings, cells, glyphs, patches)
"""All patterns; a bank takes them in turn."""
