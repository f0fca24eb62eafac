"""Published pair lists: finding them, checking what they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mast3r_model import InputError

from .framework import PrepareRequest


def published_list(request: PrepareRequest, names: Sequence[str]) -> Path:
    """The file that ``--pairs`` gives: itself, or a folder with a file of one of these names.

    Raises:
        InputError: it is neither.
    """
    given = request.pairs
    if given is None:
        raise InputError(f"the pair list {' or '.join(names)} is not given", "--pairs FILE")
    if given.is_file():
        return given
    for name in names:
        if (given / name).is_file():
            return given / name
    raise InputError(f"--pairs {given} is neither a file nor a folder with {' or '.join(names)}")


def missing_files(out: Path, stems: Iterable[str], suffixes: Sequence[str]) -> Iterator[str]:
    """Files ``<stem><suffix>`` that are not in the prepared folder.

    Args:
        out: the prepared folder.
        stems: relative to it, with ``/``; repeated ones are looked up once.
        suffixes: such as ``.jpg``, ``_depth.exr``.
    """
    folders: dict[str, frozenset[str]] = {}
    for stem in dict.fromkeys(stems):
        folder, _, name = stem.rpartition("/")
        if folder not in folders:
            folders[folder] = _names(out / folder)
        for suffix in suffixes:
            if f"{name}{suffix}" not in folders[folder]:
                yield f"{stem}{suffix}"


def _names(folder: Path) -> frozenset[str]:
    """One listing instead of a question for each file: those are slow on network disks."""
    return frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()
