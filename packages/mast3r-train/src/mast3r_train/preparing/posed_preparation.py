"""What preparations of posed frames share: the pair file and the end check (spec 41 section 16)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mast3r_model import InputError
from mast3r_train.datasets.posed_frames import PosedFolder

from .framework import Frame, Preparation, PrepareRequest
from .pair_making import make_pair_file, missing_files, settings_of

LOGGER = logging.getLogger("mast3r.train")


def posed_preparation(
    dataset: str,
    folder: PosedFolder,
    pairs_file: str,
    frames: Sequence[Frame],
    make: Callable[[Any], None],
    request: PrepareRequest,
    *,
    lists: Callable[[], None] = lambda: None,
    missing: Callable[[], Iterator[str]] = lambda: iter(()),
) -> Preparation:
    """A plan whose frames get a pair file, unless there is one.

    Args:
        dataset: its name in expressions.
        folder: that the loader will read.
        pairs_file: the name that it will read.
        frames: to make.
        make: makes one of them.
        request: what the user asks for.
        lists: writes what pair making and the loader need besides.
        missing: further files that the loader will look for in vain.
    """
    path = folder.root / pairs_file

    def finish() -> None:
        lists()
        if not path.is_file():
            _make_pairs(folder, path, request.workers)
        elif any(_is_newer(frame.marker, path) for frame in frames):
            LOGGER.warning(
                "%s is older than some frames and does not name new ones; to make it again: "
                "mast3r data pairs %s --root %s",
                path,
                dataset,
                folder.root,
            )

    def check() -> Iterator[str]:
        yield from missing()
        yield from missing_files(folder, path)

    return Preparation(frames, make, finish, check)


def _make_pairs(folder: PosedFolder, path: Path, workers: int) -> None:
    try:
        report = make_pair_file(folder, path, settings_of(folder), workers=workers)
    except InputError as error:  # reported as a missing file at the end
        LOGGER.warning("no pair file: %s", error)
        return
    for problem in (*report.failed.values(), *report.unreadable):
        LOGGER.warning("left out of the pairs: %s", problem)
    LOGGER.info("%s pairs in %s scenes: %s", f"{report.pairs:,}", f"{report.scenes:,}", path)


def _is_newer(file: Path, than: Path) -> bool:
    return file.is_file() and file.stat().st_mtime > than.stat().st_mtime
