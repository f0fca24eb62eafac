"""Pieces of HTML; whatever comes from outside goes through `text`."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence


def text(value: object) -> str:
    """Escaped, for element content and quoted attributes."""
    return html.escape(str(value))


def name(value: object) -> str:
    """A file's name, escaped, and kept apart from the direction of writing around it."""
    return f'<bdi class="name">{text(value)}</bdi>'


def section(title: str, *parts: str) -> str:
    """A part of the page; empty if all parts are."""
    content = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{text(title)}</h2>\n{content}\n</section>" if content else ""


def note(words: str) -> str:
    """A small paragraph, of escaped words."""
    return f'<p class="note">{words}</p>'


def folded(summary: str, content: str, *, opened: bool) -> str:
    """Content below a line that opens and closes it."""
    return f"<details{' open' if opened else ''}><summary>{text(summary)}</summary>\n{content}\n</details>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "sortable") -> str:
    """A table that scrolls sideways where the window is narrow.

    Args:
        heads: plain words; one that starts with ``#`` stands over numbers, and loses that sign.
        rows: cells, already escaped.
        kind: its class; rows of a ``sortable`` one are sorted by a click on a head.
    """
    numeric = [head.startswith("#") for head in heads]
    top = "".join(
        f"<th{_numeric(is_number)}>{text(head.removeprefix('#'))}</th>"
        for head, is_number in zip(heads, numeric, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            f"<td{_numeric(is_number)}>{cell}</td>" for cell, is_number in zip(row, numeric, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table class="{text(kind)}"><thead><tr>{top}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def data_uri(content: bytes, kind: str) -> str:
    """A picture inside of the page; ``kind`` is ``png``, ``jpeg`` or ``svg+xml``."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _numeric(is_number: bool) -> str:
    return ' class="n"' if is_number else ""
