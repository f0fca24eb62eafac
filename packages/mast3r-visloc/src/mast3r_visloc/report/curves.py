"""Recall curves: which share of the queries has an error below what."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mast3r_visloc.evaluation.aggregate import Summary
from mast3r_visloc.evaluation.errors import PoseError

SIZE_INCHES = (10.0, 3.6)
MAX_STEPS = 500


def recall_curves(summary: Summary, errors: Sequence[PoseError]) -> bytes:
    """Two plots: the share of queries with a position error, and a rotation error, below each value.

    Failures are in no curve's rise: one that ends at 90 % has 10 % of failures, or of errors beyond its end.
    The summary's thresholds are marked, with the share below that single threshold.

    Args:
        summary: for the thresholds.
        errors: of all evaluated queries, at least one.

    Returns:
        An SVG picture on white.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "mast3r", "font.size": 9}):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        positions = np.array([error.position for error in errors])
        rotations = np.array([error.rotation for error in errors])
        _plot(left, positions, [pair[0] for pair in summary.thresholds], "position error, m")
        _plot(right, rotations, [pair[1] for pair in summary.thresholds], "rotation error, degrees")
        left.set_ylabel("queries, %")
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def curve_points(values: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Finite errors in rising order, and the percentage of all values at or below each."""
    finite = np.sort(values[np.isfinite(values)])
    share = 100.0 * np.arange(1, len(finite) + 1) / max(len(values), 1)
    if len(finite) > MAX_STEPS:
        chosen = np.linspace(0, len(finite) - 1, MAX_STEPS).round().astype(int)
        finite, share = finite[chosen], share[chosen]
    return finite, share


def _plot(axes, values: Float[np.ndarray, " n"], thresholds: Sequence[float], label: str) -> None:  # type: ignore[no-untyped-def]
    errors, share = curve_points(values)
    low, high = _range(errors, thresholds)
    steps = np.concatenate([[low], np.clip(errors, low, None), [max(high, *errors, low)]])
    levels = np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]])
    axes.step(steps, levels, where="post", color="#2f6fd0", linewidth=2)
    for threshold in sorted(set(thresholds)):
        below = 100.0 * float(np.mean(values < threshold))
        axes.axvline(threshold, color="#7c8794", linewidth=1, linestyle=":")
        axes.plot([threshold], [below], marker="o", color="#2f6fd0", markersize=4)
        above_middle = below > 50
        axes.annotate(
            f"{threshold:.12g}: {below:.0f} %",
            (threshold, below),
            # Along its line, towards the middle: side by side, labels of near thresholds would overlap.
            xytext=(0, -8 if above_middle else 8),
            textcoords="offset points",
            rotation=90,
            horizontalalignment="center",
            verticalalignment="top" if above_middle else "bottom",
            fontsize=8,
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        )
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(0, 103)
    axes.set_xlabel(label)
    axes.grid(True, color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)


def _range(errors: np.ndarray, thresholds: Sequence[float]) -> tuple[float, float]:
    """From a tenth of the smallest threshold, or the best error, to twice the largest threshold."""
    high = 2.0 * max(thresholds)
    low = min(thresholds) / 10
    positive = errors[errors > 0]
    if len(positive):
        low = min(low, max(float(positive[0]), high * 1e-6))
    return low, high
