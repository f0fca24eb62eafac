"""``report.html``: one file that shows what a run did; it opens from disk and loads nothing (spec 50 D7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from mast3r_model import atomic_write
from mast3r_model.pages import data_uri, note, section, self_contained_page, table, text
from mast3r_visloc.evaluation.aggregate import Summary
from mast3r_visloc.evaluation.records import QueryRecord

from .curves import recall_curves
from .query_table import picture_figures, query_table

PAGE, PICTURES = "report.html", "pictures"
BAR_LIMIT = 100.0


def write_page(
    folder: Path,
    summary: Summary,
    records: Sequence[QueryRecord],
    *,
    options: Mapping[str, Any],
    versions: Mapping[str, str],
) -> None:
    """Write the page of a run, with the match pictures that lie in its folder.

    Args:
        folder: of the run.
        summary: over all its queries.
        records: of all its queries.
        options: that it was started with.
        versions: of the packages.

    Raises:
        OutputError: the page cannot be written.
    """
    page = report_page(summary, records, options=options, versions=versions, pictures=folder / PICTURES)
    with atomic_write(folder / PAGE) as temporary:
        # Names of files may hold bytes that are no UTF-8; Python carries them as lone surrogates.
        temporary.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))


def report_page(
    summary: Summary,
    records: Sequence[QueryRecord],
    *,
    options: Mapping[str, Any],
    versions: Mapping[str, str],
    pictures: Path | None = None,
) -> str:
    """The page of a run as HTML; everything else as for `write_page`.

    Args:
        summary: over all its queries.
        records: of all its queries.
        options: that it was started with.
        versions: of the packages.
        pictures: folder of match pictures; None for a page without.
    """
    parts = files(__package__)
    return self_contained_page(
        summary.name,
        _sections(summary, records, options, versions, pictures),
        style=parts.joinpath("page.css").read_text("utf-8"),
        script=parts.joinpath("page.js").read_text("utf-8"),
    )


def _sections(
    summary: Summary,
    records: Sequence[QueryRecord],
    options: Mapping[str, Any],
    versions: Mapping[str, str],
    pictures: Path | None,
) -> Iterator[str]:
    shown, figures = picture_figures(records, pictures)
    yield _tiles(summary, records)
    yield section("Accuracy", *_accuracy(summary, records))
    yield section("Photos", query_table(records, shown))
    yield section("Matches", figures)
    facts = [(key.replace("_", " "), _plain(value)) for key, value in options.items()]
    facts.append(("versions", ", ".join(f"{package} {number}" for package, number in versions.items())))
    rows = "".join(f"<dt>{text(what)}</dt><dd>{text(value)}</dd>" for what, value in facts)
    yield section("Options", f"<dl>{rows}</dl>")


def _tiles(summary: Summary, records: Sequence[QueryRecord]) -> str:
    values = [("photos localised", f"{summary.localised} of {summary.queries}")]
    if summary.median_position is not None and summary.median_rotation is not None:
        values.append(("median position error", _measure(summary.median_position, "m")))
        values.append(("median rotation error", _measure(summary.median_rotation, "°")))
    found = [record for record in records if record.success]
    if found:
        values.append(("inliers, median", f"{np.median([record.num_inliers for record in found]):,.0f}"))
    if any(record.seconds for record in records):
        values.append(
            ("time per photo, median", f"{np.median([record.seconds for record in records]):.2f} s")
        )
    tiles = "".join(f"<div><b>{text(value)}</b><span>{text(what)}</span></div>" for what, value in values)
    return f'<div class="tiles">{tiles}</div>'


def _accuracy(summary: Summary, records: Sequence[QueryRecord]) -> Iterator[str]:
    errors = [record.error for record in records if record.error is not None]
    if not errors:
        return
    rows = [
        [f"{position:.12g} m, {rotation:.12g}°", f"{percent:.1f} %", _bar(percent)]
        for (position, rotation), percent in zip(summary.thresholds, summary.recalls, strict=True)
    ]
    yield table(["both errors below", "#photos", ""], rows, kind="plain")
    words = f"Of {len(errors)} photos with a known pose; failures count as infinite errors."
    if summary.without_truth:
        words += f" {summary.without_truth} photos have none and are left out."
    yield note(text(words))
    picture = data_uri(recall_curves(summary, errors), "svg+xml")
    yield f'<img class="curves" alt="recall by position error and by rotation error" src="{picture}">'


def _bar(percent: float) -> str:
    return f'<span class="track"><span style="width:{min(percent, BAR_LIMIT):.1f}%"></span></span>'


def _measure(value: float, unit: str) -> str:
    if not np.isfinite(value):
        return "infinite"
    gap = "" if unit == "°" else " "
    return f"{value:.3g}{gap}{unit}"


def _plain(value: object) -> str:
    """A value of the options in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return "–" if value is None else str(value)
