"""Loss curves of the solvers as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mast3r_model.pages import note, text
from mast3r_sfm.quantities import compact, duration

from .contents import LossCurve

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30
MAX_POINTS = 200
MAX_CURVES = 24
LOG_RATIO = 20
"""From this ratio of the largest loss to the smallest on, the scale is logarithmic."""


def loss_curves(curves: Sequence[LossCurve]) -> str:
    """One plot for each stage of each group of photos; empty without curves."""
    if not curves:
        return ""
    several = len({curve.component for curve in curves}) > 1
    figures = "\n".join(_figure(curve, several) for curve in curves[:MAX_CURVES])
    more = len(curves) - MAX_CURVES
    rest = note(f"{more} more curves are in report.json.") if more > 0 else ""
    return f'<div class="plots">\n{figures}\n</div>{rest}'


def _figure(curve: LossCurve, several: bool) -> str:
    title = f"{curve.name}, group {curve.component}" if several else curve.name
    facts = f"{len(curve.steps)} values, {compact(curve.losses[0])} → {compact(curve.losses[-1])}"
    if curve.seconds is not None:
        facts += f", {duration(curve.seconds)}"
    return (
        f"<figure><figcaption><b>{text(title)}</b> <small>{text(curve.solver)}: {text(facts)}</small>"
        f"</figcaption>{_plot(curve)}</figure>"
    )


def _plot(curve: LossCurve) -> str:
    chosen = np.unique(np.linspace(0, len(curve.steps) - 1, MAX_POINTS).round().astype(int))
    steps, losses = np.array(curve.steps)[chosen], np.array(curve.losses)[chosen]
    logarithmic = losses.min() > 0 and losses.max() / losses.min() > LOG_RATIO
    values = np.log10(losses) if logarithmic else losses
    low, high = _padded(float(values.min()), float(values.max()))
    last = max(int(steps[-1]), 1)
    x = LEFT + (WIDTH - LEFT - RIGHT) * steps / last
    y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (values - low) / (high - low)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    dots = "".join(
        f'<circle class="hit" cx="{a:.1f}" cy="{b:.1f}" r="5"><title>step {step}: {loss:.5g}</title></circle>'
        for a, b, step, loss in zip(x, y, steps, losses, strict=True)
    )
    grid = "".join(_y_tick(tick, low, high, logarithmic) for tick in ticks(low, high, logarithmic))
    scale = "loss, logarithmic" if logarithmic else "loss"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{text(curve.name)}: {scale} by step</title>'
        f'{grid}<text x="{LEFT}" y="{HEIGHT - 8}">step 0</text>'
        f'<text class="end" x="{WIDTH - RIGHT}" y="{HEIGHT - 8}">{last}</text>'
        f'<text class="middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}">{scale}</text>'
        f'<polyline class="line" points="{line}"/>'
        f'<circle class="dot" cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="3"/>{dots}</svg>'
    )


def _y_tick(tick: float, low: float, high: float, logarithmic: bool) -> str:
    y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (tick - low) / (high - low)
    label = compact(10**tick if logarithmic else tick)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="end" x="{LEFT - 5}" y="{y + 4:.1f}">{label}</text>'
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty, with some air."""
    air = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - air, high + air


def ticks(low: float, high: float, logarithmic: bool = False) -> list[float]:
    """Three to seven round values in a range; powers of ten where there are enough, given logarithms."""
    if logarithmic and math.floor(high) - math.ceil(low) >= 1:
        every = max(1, round((high - low) / 5))
        return [float(power) for power in range(math.ceil(low), math.floor(high) + 1, every)]
    step = round_step((high - low) / 4)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [round((first + k) * step, 12) for k in range(count)]


def round_step(about: float) -> float:
    """The number 1, 2 or 5 times a power of ten nearest below."""
    power = 10.0 ** math.floor(math.log10(about))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= about * (1 + 1e-9))
