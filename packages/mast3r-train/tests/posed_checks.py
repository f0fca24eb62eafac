"""What the tests of the datasets of posed frames share (spec 41 sections 10 to 14)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_model import InputError, parse_expression
from mast3r_train.conformance import assert_conforms, assert_options_work
from mast3r_train.errors import SampleError
from mast3r_train.preparing import Preparation, PrepareReport, PrepareRequest, run_preparation

from .prepared_checks import run_mast3r

Plan = Callable[[PrepareRequest], Preparation]
Views = list[dict[str, Any]]


def prepare(plan: Plan, raw: Path, out: Path, *, workers: int = 1, **options: Any) -> PrepareReport:
    """Run a preparation in this process."""
    return run_preparation(plan(PrepareRequest(raw, out, options=options)), workers=workers)


def mast3r(*words: str | Path) -> tuple[int, dict[str, Any], str]:
    """Run the program with ``--json``: exit code, document, stderr."""
    ended = run_mast3r(*words, "--json")
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else {}, ended.stderr


def build(text: str) -> Any:
    """A dataset from an expression, as ``mast3r train`` builds it."""
    return parse_expression(text).build(("datasets", "transforms"))


def agreement(views: Views) -> tuple[float, float, float, float]:
    """Project the points of view 1 into view 2.

    Returns:
        Of the points inside view 2, where depth is known: the share whose depth is within 2 % of what is there
        (others may be hidden), the share that lies in front of that (which cannot be), the median relative
        difference of depth, and the median difference of colours in [0, 2].
    """
    first, second = views
    points = first["pts3d"][first["valid_mask"]].astype(np.float64)
    colors = first["img"].numpy().transpose(1, 2, 0)[first["valid_mask"]]
    world2cam = np.linalg.inv(second["camera_pose"].astype(np.float64))
    local = points @ world2cam[:3, :3].T + world2cam[:3, 3]
    ahead = local[:, 2] > 0
    pixels = local @ second["camera_intrinsics"].astype(np.float64).T
    pixels = np.rint(pixels[:, :2] / np.where(ahead, pixels[:, 2], 1)[:, None])
    height, width = second["depthmap"].shape
    inside = ahead & (pixels >= 0).all(1) & (pixels < (width, height)).all(1)
    x, y = pixels[inside].astype(int).T
    known = second["valid_mask"][y, x]
    there, z = second["depthmap"][y, x][known], local[inside, 2][known]
    assert known.sum() > 200, "the views hardly see the same"
    difference = (there - z) / z
    seen = second["img"].numpy().transpose(1, 2, 0)[y, x][known]
    color = np.abs(colors[inside][known] - seen).mean(1)
    agrees, is_in_front = np.abs(difference) < 0.02, difference > 0.02
    medians = float(np.median(np.abs(difference))), float(np.median(color))
    return float(agrees.mean()), float(is_in_front.mean()), *medians


def assert_same_world(views: Views, *, color: float = 0.12) -> None:
    """The points of both views are one surface, in one world, with one colour; and so are the matches.

    Args:
        color: largest median difference of colours in [0, 2].
    """
    for ordered in (views, views[::-1]):
        share, in_front, median, colors = agreement(ordered)
        assert share > 0.75, f"{share:.0%} of the points agree, median difference {median:.2%}"
        assert in_front < 0.08, f"{in_front:.0%} of the points are in front of what the other view sees"
        assert median < 0.005
        assert colors < color
    first = views[0]
    if "valid_corres" not in first:
        return
    matches = [view["corres"][view["valid_corres"]] for view in views]
    assert len(matches[0]) > 10
    a, b = (
        view["pts3d"][xy[:, 1], xy[:, 0]].astype(np.float64) for view, xy in zip(views, matches, strict=True)
    )
    distance = np.linalg.norm(a - b, axis=1) / np.linalg.norm(a - first["camera_pose"][:3, 3], axis=1)
    assert np.median(distance) < 0.02, f"matches are {np.median(distance):.1%} of their distance apart"
    pixels = [view["img"].numpy()[:, xy[:, 1], xy[:, 0]] for view, xy in zip(views, matches, strict=True)]
    assert np.median(np.abs(pixels[0] - pixels[1])) < color


def assert_dataset_is_sound(make: Callable[..., Any], resolution: tuple[int, int] = (96, 64)) -> None:
    """The conformance suite, and that true geometry comes out of every pair, with and without crops."""
    assert_options_work(make, resolution=resolution)
    for more in ({}, {"aug_crop": 8}):
        dataset = make(resolution=resolution, seed=0, n_corres=64, **more)
        assert_conforms(dataset)
        for index in range(min(len(dataset), 8)):
            assert_same_world(dataset[index])


def assert_resumable(
    plan: Plan,
    raw: Path,
    out: Path,
    marker: Path,
    corrupt: Path,
    failing: list[str],
    *,
    lists: Sequence[str] = (),
    **options: Any,
) -> None:
    """A finished preparation keeps what is there; a frame without marker, and only it, is made again; a broken
    raw file is named and the rest is done.

    Args:
        marker: of one frame, in ``out``.
        corrupt: a raw file of the same frame, in a copy of the release that may be damaged.
        failing: names of the frames that fail without it.
        lists: names of files that each run writes again.
    """
    others = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path != marker}
    total = prepare(plan, raw, out, **options)
    assert (total.made, total.failed) == (0, {})
    assert total.complete
    marker.unlink()
    again = prepare(plan, raw, out, **options)
    assert (again.made, again.kept) == (1, total.kept - 1)
    assert marker.is_file()
    touched = {path.name for path, time in others.items() if path.stat().st_mtime_ns != time}
    own_name = marker.name.split("_cam")[0].split(".")[0]
    assert {name for name in touched if not name.startswith(own_name)} <= set(lists)

    content = corrupt.read_bytes()
    marker.unlink()
    corrupt.write_bytes(content[: len(content) // 2])
    try:
        broken = prepare(plan, raw, out, **options)
    finally:
        corrupt.write_bytes(content)
    assert list(broken.failed) == failing
    assert corrupt.name in next(iter(broken.failed.values()))
    assert broken.kept == total.kept - 1
    assert prepare(plan, raw, out, **options).complete


def assert_refuses_broken_image(make: Callable[..., Any], image: Path) -> None:
    """A truncated photo is an error of the samples it is in, which names it.

    Args:
        image: photo of the first pair.
    """
    content = image.read_bytes()
    image.write_bytes(content[:50])
    try:
        with pytest.raises(SampleError, match=image.name):
            make(resolution=(96, 64), seed=0)[0]
    finally:
        image.write_bytes(content)


def assert_names_missing_pairs(make: Callable[..., Any], pairs_file: Path) -> None:
    """Without its pair file, the dataset says which one it looks for, and how it is made."""
    hidden = pairs_file.with_suffix(".hidden")
    pairs_file.rename(hidden)
    try:
        with pytest.raises(InputError, match=pairs_file.name) as caught:
            make(resolution=(96, 64))
        assert "mast3r data pairs" in str(caught.value.hint)
    finally:
        hidden.rename(pairs_file)
