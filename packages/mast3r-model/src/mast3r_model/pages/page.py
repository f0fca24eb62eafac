"""A page that needs nothing but itself: style, script and pictures are inside, and nothing else may load."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files
from string import Template

from .markup import text


def self_contained_page(title: str, sections: Iterable[str], *, style: str, script: str) -> str:
    """A whole HTML document.

    Its content security policy lets it run this script and show pictures of its own, and load nothing.

    Args:
        title: plain words.
        sections: HTML; empty ones are left out.
        style: CSS.
        script: JavaScript, at most one.

    Returns:
        HTML, to be written as UTF-8.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = Template(files(__package__).joinpath("page.html").read_text("utf-8")).substitute(
        title=text(title),
        style=style,
        script=script,
        script_digest=f"sha256-{digest}",
        sections="\n".join(part for part in sections if part),
    )
    # Names of files may hold bytes that are no UTF-8; Python carries them as lone surrogates.
    return page.encode("utf-8", "xmlcharrefreplace").decode("utf-8")
