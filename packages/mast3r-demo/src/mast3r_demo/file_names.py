"""Files of visitors in messages."""

from __future__ import annotations

from pathlib import Path


def shown_name(path: Path) -> str:
    """A file's name fit for a message: one line, and not too long."""
    name = "".join(letter if letter.isprintable() else "?" for letter in path.name)
    return name if len(name) <= 80 else f"{name[:60]}...{name[-15:]}"


def megabytes(size: int) -> str:
    """A size in MB (2**20 bytes)."""
    return f"{size / 2**20:.0f} MB"
