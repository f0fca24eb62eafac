"""A conformance suite for datasets: does a dataset keep the view contract? (spec 40 sections 2, 4 and 14).

For ours and for anybody's::

    from mast3r_train.conformance import assert_conforms
    assert_conforms(MyScenes(ROOT=folder, split="train", resolution=(512, 384), n_corres=256))

or from a shell: ``mast3r data check "MyScenes(ROOT='...', split='train', resolution=(512, 384))"``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mast3r_model import Mast3rError
from mast3r_train.errors import SampleError

__all__ = ["ConformanceReport", "assert_conforms", "assert_options_work", "check_dataset"]

REPROJECTION_TOLERANCE = 1e-3
"""Pixels by which a valid point may miss its own pixel."""

REQUIRED = {
    "img": ("float32", 3),
    "depthmap": ("float32", 2),
    "camera_pose": ("float32", 2),
    "camera_intrinsics": ("float32", 2),
    "pts3d": ("float32", 3),
    "valid_mask": ("bool", 2),
    "sky_mask": ("bool", 2),
    "true_shape": ("int32", 1),
}
"""Key of a finished view -> dtype and number of dimensions."""


@dataclass(frozen=True)
class ConformanceReport:
    """What the suite found.

    Attributes:
        checked: samples that were looked at.
        unreadable: samples that the dataset itself refused, with its messages.
        problems: breaches of the contract, one sentence each.
    """

    checked: int
    unreadable: Sequence[str]
    problems: Sequence[str]


def check_dataset(dataset: Any, *, samples: int = 8) -> ConformanceReport:
    """Look at some samples of a dataset, evenly spread, and at every resolution.

    Args:
        dataset: anything with the view contract.
        samples: how many per resolution.
    """
    problems: list[str] = list(_problems_of_class(dataset))
    unreadable: list[str] = []
    checked = 0
    for resolution_number in range(len(getattr(dataset, "resolutions", ()))):
        for number in np.unique(np.linspace(0, len(dataset) - 1, samples).round().astype(int)).tolist():
            item = (number, resolution_number)
            try:
                views = dataset[item]
            except SampleError as error:
                unreadable.append(str(error))
                continue
            except Exception as error:
                problems.append(f"item {item}: {type(error).__name__}: {error}")
                continue
            checked += 1
            problems += [f"item {item}: {text}" for text in _problems_of_pair(dataset, item, views)]
    if checked:
        problems += list(_problems_of_process_transfer(dataset))
    return ConformanceReport(checked, unreadable, list(dict.fromkeys(problems)))


def assert_conforms(dataset: Any, *, samples: int = 8, may_refuse: bool = False) -> None:
    """Raise an AssertionError that lists every breach of the contract.

    Args:
        dataset: anything with the view contract.
        samples: how many per resolution are looked at.
        may_refuse: samples that the dataset refuses (`SampleError`) are no breach.
    """
    report = check_dataset(dataset, samples=samples)
    lines = [*report.problems, *([] if may_refuse else report.unreadable)]
    if not report.checked:
        lines.append("no sample could be made")
    if lines:
        raise AssertionError(f"{dataset!r} breaks the view contract:\n- " + "\n- ".join(lines))


def _problems_of_class(dataset: Any) -> Iterator[str]:
    if not hasattr(dataset, "__len__") or len(dataset) <= 0:
        yield "it has no samples (or no __len__)"
    resolutions = getattr(dataset, "resolutions", None)
    if not resolutions:
        yield "it has no `resolutions`, a list of (width, height)"
    elif any(width < height for width, height in resolutions):
        yield f"resolutions are (width, height) with width >= height, got {list(resolutions)}"


def _problems_of_pair(dataset: Any, item: tuple[int, int], views: Any) -> Iterator[str]:
    if not isinstance(views, list) or len(views) != 2:
        yield f"expected a list of 2 views, got {type(views).__name__}"
        return
    for number, view in enumerate(views):
        for text in _problems_of_view(view, dataset.resolutions[item[1]]):
            yield f"view {number}: {text}"
    if views[0].get("instance") == views[1].get("instance") and not getattr(dataset, "aug_monocular", False):
        yield f"both views have the instance {views[0].get('instance')!r}"
    if views[0].get("is_metric_scale") != views[1].get("is_metric_scale"):
        yield "the views differ in is_metric_scale"
    yield from _problems_of_correspondences(views)
    if getattr(dataset, "seed", None) is not None and _differs(views, dataset[item]):
        yield "two readings differ although a seed is given"


def _problems_of_view(view: Any, resolution: tuple[int, int]) -> Iterator[str]:
    for key, (dtype, dimensions) in REQUIRED.items():
        if key not in view:
            yield f"has no {key}"
            return
        if (found := str(view[key].dtype).removeprefix("torch.")) != dtype:
            yield f"{key} is {found}, expected {dtype}"
        if view[key].ndim != dimensions:
            yield f"{key} has {view[key].ndim} dimensions, expected {dimensions}"
            return
    height, width = view["img"].shape[1:]
    if (width, height) != tuple(resolution):
        yield f"is {width}x{height}, expected the landscape resolution {resolution[0]}x{resolution[1]}"
    if sorted(view["true_shape"].tolist()) != sorted((height, width)):
        yield f"true_shape {view['true_shape'].tolist()} is not that of the image, either way round"
    low, high = float(view["img"].min()), float(view["img"].max())
    if not -1.001 <= low <= high <= 1.001:
        yield f"img lies in [{low:.3g}, {high:.3g}], expected [-1, 1]"
    for key in ("dataset", "label", "instance"):
        if not isinstance(view.get(key), str):
            yield f"{key} is no text"
    for key in ("idx", "rng"):
        if key not in view:
            yield f"has no {key}"
    if not isinstance(view.get("is_metric_scale"), bool):
        yield f"is_metric_scale is {view.get('is_metric_scale')!r}, expected True or False"
    yield from _problems_of_geometry(view)


def _problems_of_geometry(view: Any) -> Iterator[str]:
    pose, K = np.asarray(view["camera_pose"], np.float64), np.asarray(view["camera_intrinsics"], np.float64)
    depth, valid = np.asarray(view["depthmap"]), np.asarray(view["valid_mask"])
    if not np.isfinite(depth).all():
        yield "depthmap is not finite"
    if (valid & ~(depth > 0)).any():
        yield "valid_mask is set where the depth is not above 0"
    if not np.array_equal(np.asarray(view["sky_mask"]), depth < 0):
        yield "sky_mask is not depthmap < 0"
    if np.isnan(pose).all():
        return
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        yield "camera_pose holds no rotation"
    if not np.allclose(pose[3], [0, 0, 0, 1]):
        yield "the last row of camera_pose is not 0 0 0 1"
    if not valid.any():
        return
    points = np.asarray(view["pts3d"], np.float64)[valid]
    local = (points - pose[:3, 3]) @ rotation
    pixels = local @ K.T
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = pixels[:, :2] / pixels[:, 2:]
    own = np.argwhere(valid)[:, ::-1]
    error = float(np.abs(pixels - own).max())
    if not error <= REPROJECTION_TOLERANCE * max(1.0, np.abs(pose[:3, 3]).max() / np.abs(local).max()):
        yield f"valid points project {error:.3g} pixels beside their own pixels"


def _problems_of_correspondences(views: Sequence[Any]) -> Iterator[str]:
    if "valid_corres" not in views[0]:
        return
    if not np.array_equal(views[0]["valid_corres"], views[1]["valid_corres"]):
        yield "valid_corres differs between the views"
        return
    is_match = np.asarray(views[0]["valid_corres"], bool)
    points = []
    for number, view in enumerate(views):
        pixels = np.asarray(view["corres"])
        height, width = view["img"].shape[1:]
        if pixels.dtype != np.int64 or pixels.shape != (len(is_match), 2):
            yield (
                f"view {number}: corres is {pixels.dtype} {pixels.shape}, expected int64 {(len(is_match), 2)}"
            )
            return
        if (pixels < 0).any() or (pixels >= (width, height)).any():
            yield f"view {number}: corres lie outside of the image"
            return
        matched = pixels[is_match]
        points.append(np.asarray(view["pts3d"], np.float64)[matched[:, 1], matched[:, 0]])
    if len(points[0]):
        # Reciprocal pixels: their points are no farther apart than a few pixels' footprint, most of them.
        distance = np.linalg.norm(points[0] - points[1], axis=1)
        scale = np.linalg.norm(points[0] - np.asarray(views[0]["camera_pose"], np.float64)[:3, 3], axis=1)
        share = float((distance < 0.1 * scale + 1e-6).mean())
        if share < 0.5:
            yield f"only {share:.0%} of the matches show about the same point"


def _problems_of_process_transfer(dataset: Any) -> Iterator[str]:
    # Its attributes, not itself: a class of a notebook cannot be found again, nor need it by forked workers.
    try:
        pickle.dumps(vars(dataset))
    except Exception as error:
        yield f"it cannot be sent to a worker process: {type(error).__name__}: {error}"


def _differs(first: Sequence[Any], second: Sequence[Any]) -> bool:
    return any(not _equal(a[key], b[key]) for a, b in zip(first, second, strict=True) for key in a)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return bool(a == b)


MakeDataset = Callable[..., Any]
"""Makes a dataset from the keywords that the suite varies (``resolution``, ``seed``, ``n_corres``, ...)."""


def assert_options_work(make: MakeDataset, *, resolution: tuple[int, int], n_corres: int = 32) -> None:
    """Build a dataset with the options that training uses and check each; see `assert_conforms`.

    Args:
        make: builds the dataset from keywords.
        resolution: (width, height), small enough for the data at hand.
        n_corres: correspondences.

    Raises:
        AssertionError: a combination breaks the contract.
        Mast3rError: a combination is refused.
    """
    variants: Sequence[dict[str, Any]] = (
        {},
        {"n_corres": n_corres, "nneg": 0.5},
        {"n_corres": n_corres, "aug_crop": "auto"},
        {"n_corres": n_corres, "aug_crop": 8, "pre_crop": False},
        {"n_corres": n_corres, "aug_swap": True, "aug_rot90": "diff", "aug_monocular": 0.5},
        {"view_style": "dust3r"},
    )
    for variant in variants:
        try:
            assert_conforms(make(resolution=resolution, seed=0, **variant), samples=3)
        except (AssertionError, Mast3rError) as error:
            raise AssertionError(f"with {variant}: {error}") from error
