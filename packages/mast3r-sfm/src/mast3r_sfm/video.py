"""Frames of a video that are sharp and far enough apart to reconstruct from."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mast3r_model import InputError, atomic_write

from .progress import Progress, shown

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".wmv", ".3gp")

LOGGER = logging.getLogger("mast3r.sfm.video")

_LOOKED_AT_PER_FRAME = 10
"""So many frames are judged for each one wanted: more would cost time and hardly be sharper."""

_JUDGED_WIDTH = 320
_THUMBNAIL_WH = (32, 18)
_INNER = 0.8
"""Part of a slot's length, about its middle, where its frame is looked for first, so that frames of
neighbouring slots do not lie side by side."""


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a video to take.

    Attributes:
        count: so many at most; they lie closer where the picture changes quickly.
        fps: so many a second instead, evenly in time; 2 where neither is given.
        max_count: bound on what `fps` gives.
        min_change: mean change of grey (0 to 1) since the frame taken before, below which a frame is left
            out: a standing camera gives one frame.
        quality: of the JPEG files, 1 to 100.
    """

    count: int | None = None
    fps: float | None = None
    max_count: int = 300
    min_change: float = 0.01
    quality: int = 95

    def __post_init__(self) -> None:
        """Refuse choices that mean nothing.

        Raises:
            InputError: a number out of range, or both of `count` and `fps`.
        """
        if self.count is not None and self.fps is not None:
            raise InputError("give a number of frames or frames per second, not both")
        for name in ("count", "fps", "max_count"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"{name} of a video's frames must be above 0, got {value}")


@dataclass(frozen=True, eq=False)
class _Judged:
    """A frame that was looked at.

    Attributes:
        index: of the frame in the video.
        sharpness: variance of the Laplacian of its small grey picture.
        thumbnail: grey, 0 to 1.
    """

    index: int
    sharpness: float
    thumbnail: Float[np.ndarray, "height width"]


def is_video(path: str | Path) -> bool:
    """Whether a file's name is that of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def extract_frames(
    video: Path, folder: Path, choice: FrameChoice | None = None, *, progress: Progress | None = None
) -> list[Path]:
    """Write a video's sharp, well-spread frames as JPEG files.

    The video is cut into as many slots as frames are wanted: slots of equal time for `fps`, else of equal
    time and change taken together. Each slot gives its sharpest frame, unless hardly anything has changed.

    Args:
        video: the file.
        folder: for ``<video>_<frame number>.jpg``; made if missing, other files in it stay.
        choice: how many.
        progress: shows bars; what is raised from one ends the reading, and whole frames stay.

    Returns:
        The files, in the video's order.

    Raises:
        InputError: no such video, or it cannot be decoded.
        OutputError: a frame cannot be written.
    """
    choice = choice or FrameChoice()
    judged, rate = _judge(video, choice, progress)
    wanted = _wanted(choice, judged[-1].index + 1, rate)
    chosen = {frame.index for frame in choose_frames(judged, wanted, choice)}
    paths: list[Path] = []
    with (
        shown(progress, "writing frames", len(chosen)) as advance,
        closing(_decoded(video, chosen)) as frames,
    ):
        for index, picture in frames:
            path = folder / f"{video.stem}_{index:06d}.jpg"
            encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, choice.quality])[1]
            with atomic_write(path) as temporary:
                temporary.write_bytes(encoded.tobytes())
            paths.append(path)
            advance(1)
    LOGGER.info("%s: took %d frames", video, len(paths))
    return paths


def choose_frames(judged: list[_Judged], wanted: int, choice: FrameChoice) -> list[_Judged]:
    """The sharpest frame of every slot, without those that show no change."""
    positions = _positions(judged, by_time=choice.fps is not None)
    slots = np.minimum((positions * wanted).astype(np.int64), wanted - 1)
    inner = np.abs(positions * wanted - slots - 0.5) <= _INNER / 2
    kept: list[_Judged] = []
    for slot in np.unique(slots):
        members = np.flatnonzero(slots == slot)
        preferred = members[inner[members]] if inner[members].any() else members
        best = max((judged[member] for member in preferred), key=lambda frame: frame.sharpness)
        if not kept or _change(kept[-1], best) >= choice.min_change:
            kept.append(best)
    return kept


def _wanted(choice: FrameChoice, frames: int, rate: float) -> int:
    if choice.count is not None:
        return min(choice.count, frames)
    return max(1, min(round(frames / rate * (choice.fps or 2.0)), choice.max_count, frames))


def _positions(judged: list[_Judged], *, by_time: bool) -> Float[np.ndarray, " frames"]:
    """Where each frame lies between 0 and 1, by time or by time and change in equal parts."""
    index = np.array([frame.index for frame in judged], dtype=np.float64)
    time = (index - index[0]) / max(index[-1] - index[0], 1.0)
    if by_time:
        return time
    steps = [_change(before, after) for before, after in itertools.pairwise(judged)]
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    return (time + travelled / travelled[-1]) / 2 if travelled[-1] > 0 else time


def _change(before: _Judged, after: _Judged) -> float:
    return float(np.abs(after.thumbnail - before.thumbnail).mean())


def _judge(video: Path, choice: FrameChoice, progress: Progress | None) -> tuple[list[_Judged], float]:
    """Look at the frames, or at every so many of them; also the video's frames per second."""
    if not video.is_file():
        raise InputError(f"no such video: {video}")
    capture = cv2.VideoCapture(str(video))
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if 0 < rate < 1000 else 30.0
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    step = 1
    if frames > 0:  # some containers do not say
        step = max(1, frames // (_LOOKED_AT_PER_FRAME * _wanted(choice, frames, rate)))
    judged: list[_Judged] = []
    with (
        shown(progress, "looking at frames", frames // step or None) as advance,
        closing(_decoded(video, step)) as pictures,
    ):
        for index, picture in pictures:
            judged.append(_look_at(index, picture))
            advance(1)
    if not judged:
        raise InputError(f"cannot decode any frame of {video}", "convert it to MP4 (H.264) with another tool")
    return judged, rate


def _look_at(index: int, picture: UInt8[np.ndarray, "height width 3"]) -> _Judged:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    height = max(1, round(grey.shape[0] * _JUDGED_WIDTH / grey.shape[1]))
    small = cv2.resize(grey, (_JUDGED_WIDTH, height), interpolation=cv2.INTER_AREA)
    thumbnail = cv2.resize(small, _THUMBNAIL_WH, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return _Judged(index, float(cv2.Laplacian(small, cv2.CV_64F).var()), thumbnail)


def _decoded(
    video: Path, wanted: int | set[int]
) -> Generator[tuple[int, UInt8[np.ndarray, "height width 3"]], None, None]:
    """(number, BGR picture) of every so many frames, or of those listed."""
    capture = cv2.VideoCapture(str(video))
    try:
        last = max(wanted) if isinstance(wanted, set) else None
        index = 0
        # Frames are decoded in sequence: seeking is inexact in many formats.
        while (last is None or index <= last) and capture.grab():
            if index in wanted if isinstance(wanted, set) else index % wanted == 0:
                decoded, picture = capture.retrieve()
                if decoded:
                    yield index, picture
            index += 1
    finally:
        capture.release()
