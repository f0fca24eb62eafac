"""A picture of a run's numbers over time, from its two log files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mast3r_model import atomic_write

NOT_DRAWN = ("epoch", "step", "pairs_per_second", "pairs_seen", "hours", "best_so_far")
MAX_POINTS = 400


def plot_curves(steps_file: Path, log_file: Path, picture: Path) -> None:
    """Draw every quantity of training (a line, thinned by averaging) and of testing (dots).

    Args:
        steps_file: JSON lines with ``epoch``, ``step`` and numbers, in order of writing.
        log_file: JSON lines with ``epoch``, ``train_<name>`` and ``<test>_<name>_med``.
        picture: the PNG to write; nothing is written if there are no numbers.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps, log = read_lines(steps_file), read_lines(log_file)
    train = _train_curves(steps)
    tests = _test_curves(log)
    names = list(dict.fromkeys([*train, *tests]))
    if not names:
        return
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(5 * columns, 3 * rows))
    FigureCanvasAgg(figure)
    # Given margins: matplotlib's automatic layouts draw everything twice.
    edge = 0.5 / (3 * rows)
    figure.subplots_adjust(0.2 / columns, edge, 0.99, 1 - edge / 2, wspace=0.2, hspace=0.35)
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(rows, columns, place)
        if name in train:
            axes.plot(*train[name], linewidth=0.8, label="train")
        for test, (epochs, values) in tests.get(name, {}).items():
            axes.plot(epochs, values, "o-", markersize=3, label=test)
        axes.set_title(name, fontsize="medium")
        axes.set_xlabel("epoch", fontsize="small")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    with atomic_write(picture) as temporary:
        figure.savefig(temporary, dpi=100)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; a line cut off by a kill is skipped, no file is no lines."""
    if not path.exists():
        return []
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


Curve = tuple[Sequence[float], Sequence[float]]


def _train_curves(steps: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """Quantity -> (fractional epochs, values), thinned by averaging neighbours."""
    # A resumed run writes the steps after its checkpoint again: the last writing counts.
    latest = {(line["epoch"], line["step"]): line for line in steps}
    ordered = [latest[key] for key in sorted(latest)]
    longest = {line["epoch"]: line["step"] + 1 for line in ordered}
    typical = max(longest.values(), default=1)
    curves: dict[str, Curve] = {}
    for name in dict.fromkeys(key for line in ordered for key in line if key not in NOT_DRAWN):
        points = [
            (line["epoch"] + line["step"] / typical, line[name])
            for line in ordered
            if isinstance(line.get(name), int | float)
        ]
        blocks = np.array_split(np.array(points, dtype=float), max(1, min(MAX_POINTS, len(points))))
        means = np.array([block.mean(axis=0) for block in blocks if len(block)])
        if len(means):
            curves[name] = (means[:, 0].tolist(), means[:, 1].tolist())
    return curves


def _test_curves(log: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Quantity -> test set -> (epochs, lower medians)."""
    latest = {line["epoch"]: line for line in log}
    curves: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for epoch in sorted(latest):
        for key, value in latest[epoch].items():
            if not key.endswith("_med") or key.startswith("train_") or not isinstance(value, int | float):
                continue
            test, name = _split_test_key(key.removesuffix("_med"), latest[epoch])
            epochs, values = curves.setdefault(name, {}).setdefault(test, ([], []))
            epochs.append(float(epoch))
            values.append(float(value))
    return {name: dict(tests) for name, tests in curves.items()}


def _split_test_key(key: str, line: Mapping[str, Any]) -> tuple[str, str]:
    """Split ``<test>_<quantity>``: the tests are known by their ``<test>_loss_med``."""
    endings = (name.removesuffix("_loss_med") for name in line if name.endswith("_loss_med"))
    # "Scenes_matching_conf_loss_med" looks like a test named "Scenes_matching_conf": the shortest is.
    for test in sorted(endings, key=len):
        if key.startswith(test + "_"):
            return test, key.removeprefix(test + "_")
    return "test", key
