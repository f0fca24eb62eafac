"""The page's table of queries, and their match pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from mast3r_model.pages import data_uri, name, note, table, text
from mast3r_visloc.evaluation.records import QueryRecord

from .shelf import picture_path

MAX_ROWS = 5000
MAX_PICTURE_BYTES = 16 * 2**20
FOLDED_FROM = 24
REASONS = {
    "no_candidates": "no photo of the map to try",
    "few_matches": "too few matches",
    "few_inliers": "too few inliers",
    "chance": "inliers may be chance",
}


def query_table(records: Sequence[QueryRecord], pictured: set[int]) -> str:
    """All queries; a number links to the match picture.

    Args:
        records: of the queries; beyond `MAX_ROWS` successes are left out, and the page says how many.
        pictured: numbers of those that have a picture in the page.
    """
    shown = list(records)
    if len(shown) > MAX_ROWS:
        chosen = sorted(shown, key=lambda record: record.success)[:MAX_ROWS]
        shown = sorted(chosen, key=lambda record: record.index)
    evaluated = any(record.error is not None for record in shown)
    heads = ["#no.", "photo", "result", "#inliers", "#points", "#matches", "#share", "best photo of the map"]
    heads += ["#m off", "#° off"] if evaluated else []
    heads += ["#seconds", "camera", "remarks"]
    rows = [_cells(record, record.index in pictured, evaluated) for record in shown]
    words = "A click on a head sorts. A 3D point that several photos of the map show is several inliers."
    if len(shown) < len(records):
        words += f" {len(records) - len(shown):,} localised photos more are in report.json."
    search = '<input type="search" placeholder="filter, such as: failed" aria-label="filter" hidden>'
    return search + table(heads, rows, kind="sortable") + note(text(words))


def _cells(record: QueryRecord, pictured: bool, evaluated: bool) -> list[str]:
    number = str(record.index)
    if record.success:
        result = '<span class="good">localised</span>' + (
            " <small>(pointmap)</small>" if record.method == "pointmap" else ""
        )
    else:
        result = f'<span class="bad">failed</span>: {text(REASONS.get(record.reason or "", record.reason))}'
    share = record.num_inliers / record.num_matches if record.num_matches else 0.0
    cells = [
        f'<a href="#q{number}">{number}</a>' if pictured else number,
        name(record.name),
        result,
        f"{record.num_inliers:,}",
        "" if record.num_points is None else f"{record.num_points:,}",
        f"{record.num_matches:,}",
        f"{100 * share:.0f} %" if record.num_matches else "",
        name(record.best_image) if record.best_image is not None else "",
    ]
    if evaluated:
        cells += (
            [_error(record.error.position, 3), _error(record.error.rotation, 2)] if record.error else ["", ""]
        )
    cells += [f"{record.seconds:.2f}" if record.seconds else "", text(record.camera_source)]
    return [*cells, text("; ".join(record.warnings))]


def _error(value: float, digits: int) -> str:
    """Empty for failures and for what has no truth: the column of results says which."""
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def picture_figures(records: Sequence[QueryRecord], pictures: Path | None) -> tuple[set[int], str]:
    """Match pictures, failures first.

    Args:
        records: of the queries.
        pictures: folder of the pictures; None for none.

    Returns:
        Numbers of the queries that are shown, and the HTML; both empty without pictures.
    """
    if pictures is None or not pictures.is_dir():
        return set(), ""
    there = [record for record in records if picture_path(pictures, record.index).is_file()]
    shown: set[int] = set()
    figures, budget = [], MAX_PICTURE_BYTES
    for record in sorted(there, key=lambda record: (record.success, record.index)):
        content = picture_path(pictures, record.index).read_bytes()
        budget -= len(content)
        if budget < 0:
            break
        shown.add(record.index)
        figures.append(_figure(record, content))
    if not figures:
        return set(), ""
    words = "Left the photo, right the photo of the map with most inliers; inliers are green, outliers red."
    if len(shown) < len(records):
        words += f" To keep the page small, {len(shown)} of {len(records)} photos are shown, failures first."
    opened = " open" if len(shown) < FOLDED_FROM else ""
    summary = f"<summary>{len(shown)} match pictures</summary>"
    grid = '<div class="pictures">\n' + "\n".join(figures) + "\n</div>"
    return shown, note(text(words)) + f"<details{opened}>{summary}\n{grid}\n</details>"


def _figure(record: QueryRecord, content: bytes) -> str:
    state = "good" if record.success else "bad"
    words = f"{record.num_inliers} of {record.num_matches} inliers in all"
    beside = f" – {name(record.best_image)}" if record.best_image is not None else ""
    return (
        f'<figure id="q{record.index}"><img loading="lazy" decoding="async" '
        f'alt="matches of {text(record.name)}" src="{data_uri(content, "jpeg")}">'
        f"<figcaption>{record.index}: {name(record.name)}{beside}"
        f'<small><span class="{state}">{record.status}</span>, {words}</small></figcaption></figure>'
    )
