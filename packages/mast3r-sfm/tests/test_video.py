"""Frames from videos: sharp ones, well spread."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mast3r_model import InputError
from mast3r_sfm.photos import open_images
from mast3r_sfm.video import FrameChoice, extract_frames

WALL = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (96, 700, 3), dtype=np.uint8), (0, 0), 1.5)


def write_video(path: Path, offsets: list[int], blurred: set[int] = frozenset()) -> Path:
    """A camera that slides along a wall, `offsets` pixels from its start; some frames are blurred."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (128, 96))
    for index, offset in enumerate(offsets):
        picture = np.ascontiguousarray(WALL[:, offset : offset + 128])
        writer.write(cv2.GaussianBlur(picture, (0, 0), 4) if index in blurred else picture)
    writer.release()
    return path


def numbers(paths: list[Path]) -> list[int]:
    return [int(path.stem.rsplit("_", 1)[1]) for path in paths]


def test_sharp_frames_are_taken_evenly(tmp_path: Path) -> None:
    blurred = set(range(60)) - set(range(3, 60, 6))
    video = write_video(tmp_path / "walk.avi", [9 * index for index in range(60)], blurred)
    paths = extract_frames(video, tmp_path / "frames", FrameChoice(count=10))
    assert len(paths) == 10
    assert not set(numbers(paths)) & blurred
    gaps = np.diff(numbers(paths))
    assert gaps.min() >= 3
    assert gaps.max() <= 9
    assert all(Image.open(path).size == (128, 96) for path in paths)


def test_a_standing_camera_gives_one_frame_for_its_stop(tmp_path: Path) -> None:
    offsets = [9 * min(index, 20) for index in range(60)]
    video = write_video(tmp_path / "stop.avi", offsets)
    taken = numbers(extract_frames(video, tmp_path, FrameChoice(count=12)))
    assert sum(number > 20 for number in taken) <= 1
    assert len(taken) >= 5
    by_time = numbers(extract_frames(video, tmp_path, FrameChoice(fps=2)))
    assert sum(number > 20 for number in by_time) <= 1


def test_frames_per_second_and_the_bound(tmp_path: Path) -> None:
    video = write_video(tmp_path / "walk.avi", [9 * index for index in range(60)])  # 6 seconds
    assert len(extract_frames(video, tmp_path, FrameChoice(fps=3))) == 18
    assert len(extract_frames(video, tmp_path)) == 12
    assert len(extract_frames(video, tmp_path, FrameChoice(fps=3, max_count=4))) == 4


def test_a_video_among_the_inputs(tmp_path: Path) -> None:
    video = write_video(tmp_path / "walk.avi", [9 * index for index in range(30)])
    images = open_images([video], size=64, frames=FrameChoice(count=4), frames_folder=tmp_path / "scene")
    assert len(images) == 4
    assert images[0].path.parent == tmp_path / "scene" / "walk"
    assert images.names[0].startswith("walk_")


def test_what_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such video"):
        extract_frames(tmp_path / "none.mp4", tmp_path)
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    with pytest.raises(InputError, match="cannot decode"):
        extract_frames(tmp_path / "bad.mp4", tmp_path)
    with pytest.raises(InputError, match="not both"):
        FrameChoice(count=3, fps=1)
    with pytest.raises(InputError, match="must be above 0"):
        FrameChoice(count=0)
