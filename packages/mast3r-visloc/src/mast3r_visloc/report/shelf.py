"""Match pictures of a run, made while it goes on: a limited number, failures first."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mast3r_model import ImageError
from mast3r_visloc.poses import Pose

from .match_picture import save_localization_picture

logger = logging.getLogger("mast3r.visloc")


def picture_path(folder: Path, index: int) -> Path:
    """The picture of query number `index` in the folder of pictures."""
    return folder / f"{index:04d}.jpg"


class PictureShelf:
    """Holds at most so many pictures, as files; nothing of them stays in memory.

    The first queries get one. Once it is full, a failure takes the place of the latest success; a success
    gets none.

    Args:
        folder: made with the first picture.
        limit: how many.
        done: whether they were localised, by number of the queries that are done.
    """

    def __init__(self, folder: Path, limit: int, done: Mapping[int, bool]) -> None:
        self._folder, self._limit = folder, limit
        held = [index for index in sorted(done) if picture_path(folder, index).is_file()]
        self._successes = [index for index in held if done[index]]
        self._failures = len(held) - len(self._successes)

    def offer(self, index: int, pose: Pose, query_path: Path, map_paths: Mapping[str, Path]) -> bool:
        """Make the picture of a query if there is place for it.

        A photo that cannot be read is a warning: a picture is not worth a run.

        Returns:
            Whether there is one now.

        Raises:
            OutputError: the file cannot be written.
        """
        full = len(self._successes) + self._failures >= self._limit
        if self._limit < 1 or (full and (pose.success or not self._successes)):
            return False
        try:
            save_localization_picture(picture_path(self._folder, index), pose, query_path, map_paths)
        except ImageError as error:
            logger.warning("no match picture of %s: %s", pose.name, error)
            return False
        if full:
            with suppress(OSError):
                picture_path(self._folder, self._successes.pop()).unlink()
        if pose.success:
            self._successes.append(index)
        else:
            self._failures += 1
        return True
