"""Suggestions for a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_names(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """The known names that look most like ``name``, best first; case and punctuation count little."""
    by_key: dict[str, str] = {}
    for candidate in known:
        by_key.setdefault(_key(candidate), candidate)
    keys = difflib.get_close_matches(_key(name), by_key, n=count, cutoff=0.6)
    return [by_key[key] for key in keys]


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """A hint for an unknown ``name``: the nearest names, else all of them if they are few, else None."""
    known = sorted(known)
    near = nearest_names(name, known)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    if not known:
        return "none is registered; `mast3r plugins` shows what is"
    if len(known) <= 12:
        return "known: " + ", ".join(known)
    return None


def _key(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum()) or name
