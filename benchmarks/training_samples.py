"""Training samples per second and core, and where the time goes; beside a straightforward pipeline.

    python benchmarks/training_samples.py

The photos (920x690 JPEG, 16-bit depth PNG) are like ScanNet++'s; the options are those of upstream's
published training: 512x384, aug_crop='auto', ColorJitter, 8,192 correspondences, half of them negatives. The
plain pipeline does the same steps as the specification lists them: it resizes every image in both passes,
computes points whenever a step says so, multiplies through BLAS and tests membership by broadcasting. Both
take turns, and their samples are equal.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measure import machine_line, say
from PIL import Image

from mast3r_train.datasets.files import read_depth_png, read_rgb
from mast3r_train.geometry import choose_orientation, crop_homography, random_crops, sample_correspondences
from mast3r_train.geometry.homography import warp_image
from mast3r_train.synthetic import render_scene_views
from mast3r_train.views import PairDataset
from mast3r_train.views.overlap_crops import crop_amount

VIEWS = 8
STAGES = {
    "photo: decode": "read_rgb",
    "depth: decode": "read_depth_png",
    "scale and crop": "crop_resize",
    "points": "world_points_of_map",
    "correspondences": "reciprocal_pixels",
    "virtual cameras": "look_through",
    "colours": "__call__",
    "drawing matches": "sample_correspondences",
}
"""Stage -> the function whose cumulative time it is."""


def make_frames(folder: Path, size_wh: tuple[int, int]) -> None:
    """Views of one synthetic scene as files."""
    views = render_scene_views(3, VIEWS, path="orbit", shape=size_wh[::-1], procedural=24)
    for number in range(VIEWS):
        Image.fromarray(views.images[number]).save(folder / f"{number}.jpg", quality=90)
        depth = (views.depth[number] * 1000).clip(0, 65535).astype(np.uint16)
        cv2.imwrite(str(folder / f"{number}.png"), depth)
        np.savez(folder / f"{number}.npz", K=views.intrinsics[number], pose=views.cam2world[number])


class Frames(PairDataset):
    """Neighbouring views of the folder."""

    is_metric_scale = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.cameras = [dict(np.load(self.root / f"{number}.npz")) for number in range(VIEWS)]

    def __len__(self) -> int:
        return VIEWS

    def _get_views(
        self, index: int, resolution: tuple[int, int], rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        views = []
        for number in (index, (index + 1) % VIEWS):
            camera = self.cameras[number]
            image = read_rgb(self.root / f"{number}.jpg")
            depth = read_depth_png(self.root / f"{number}.png") / 1000
            image, depth, K = self._crop_resize_if_necessary(image, depth, camera["K"], resolution, rng)
            views.append(
                {
                    "img": image,
                    "depthmap": depth,
                    "camera_pose": camera["pose"].astype(np.float32),
                    "camera_intrinsics": K,
                    "dataset": "frames",
                    "label": "frames",
                    "instance": str(number),
                }
            )
        return views


class PlainFrames(Frames):
    """The same samples, every step written down as the specification has it."""

    def __getitem__(self, index: Any) -> Any:
        rng = np.random.default_rng(self.seed + index)
        resolution = self.resolutions[0]
        views = self._get_views(index, resolution, rng)
        for view in views:
            add_plain_points(view)
        pixels1, pixels2 = plain_matches(views)[1:]
        boxes, inside, sizes = [], [], []
        for view, pixels in zip(views, (pixels1, pixels2), strict=True):
            size = choose_orientation(view["img"].size, resolution, rng)
            own = random_crops(
                view["img"].size, 4, size, crop_amount(view["img"].size, resolution, "auto"), rng
            )
            at = pixels[:, None]
            inside.append(((at >= own[:, :2]) & (at < own[:, 2:])).all(axis=-1))
            boxes.append(own)
            sizes.append(size)
        shared = (inside[0][:, :, None] & inside[1][:, None, :]).sum(axis=0)
        chosen = np.unravel_index(shared.argmax(), shared.shape)
        for view, own, number, size in zip(views, boxes, chosen, sizes, strict=True):
            camera = crop_homography(view["camera_intrinsics"], own[number], size)
            depth = plain_camera_points(view) @ camera.rotation[:, 2]
            view["img"] = warp_image(camera, view["img"], Image.Resampling.BICUBIC)
            view["depthmap"] = np.array(
                warp_image(camera, Image.fromarray(depth.astype(np.float32)), Image.Resampling.NEAREST)
            )
            view["camera_intrinsics"] = camera.intrinsics.astype(np.float32)
            view["camera_pose"] = view["camera_pose"].copy()
            view["camera_pose"][:3, :3] = view["camera_pose"][:3, :3] @ camera.rotation
            add_plain_points(view)
            view["img"] = self.transform(view["img"])
        forward, pixels1, pixels2 = plain_matches(views, only_valid=True)
        masks = []
        for view, pixels in zip(views, (pixels1, pixels2), strict=True):
            mask = np.zeros(view["depthmap"].shape, dtype=bool)
            mask[pixels[:, 1], pixels[:, 0]] = True
            masks.append(mask.ravel())
        widths = tuple(view["depthmap"].shape[1] for view in views)
        drawn = sample_correspondences(forward, *masks, widths, self.n_corres, self.nneg, rng)
        for view, xy in zip(views, (drawn.xy1, drawn.xy2), strict=True):
            view["corres"] = xy
        return views


def plain_camera_points(view: dict[str, Any]) -> np.ndarray:
    """Points in the camera's frame."""
    height, width = view["depthmap"].shape
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    K, z = view["camera_intrinsics"].astype(np.float64), view["depthmap"].astype(np.float64)
    points = np.stack([(u - K[0, 2]) * z / K[0, 0], (v - K[1, 2]) * z / K[1, 1], z], axis=-1)
    return points.astype(np.float32)


def add_plain_points(view: dict[str, Any]) -> None:
    """World points and validity."""
    pose = view["camera_pose"]
    view["pts3d"] = plain_camera_points(view) @ pose[:3, :3].T + pose[:3, 3]
    view["valid_mask"] = (view["depthmap"] > 0) & np.isfinite(view["pts3d"]).all(axis=-1)


def plain_matches(
    views: list[dict[str, Any]], *, only_valid: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest pixels of view 2, and the reciprocal pixels (x, y) of both."""
    nearest = []
    for source, target in (views, views[::-1]):
        height, width = target["depthmap"].shape
        projection = target["camera_intrinsics"] @ np.linalg.inv(target["camera_pose"])[:3]
        homogeneous = source["pts3d"].reshape(-1, 3) @ projection[:, :3].T + projection[:, 3]
        with np.errstate(all="ignore"):
            pixel = np.round(homogeneous[:, :2] / homogeneous[:, 2:])
        pixel = np.where(np.abs(pixel) < 2.0**31, pixel, 0).astype(np.int32).clip(0, (width - 1, height - 1))
        nearest.append(pixel[:, 0] + width * pixel[:, 1])
    forward, backward = nearest
    is_match = backward[forward] == np.arange(len(forward))
    if only_valid:
        is_match &= views[0]["valid_mask"].ravel() & views[1]["valid_mask"].ravel()[forward]
    linear1 = np.flatnonzero(is_match)
    widths = [view["depthmap"].shape[1] for view in views]
    pixels = [
        np.stack([linear % width, linear // width], axis=-1)
        for linear, width in zip((linear1, forward[linear1]), widths, strict=True)
    ]
    return forward, pixels[0], pixels[1]


def seconds_per_sample(dataset: Any, samples: int) -> float:
    """Processor time of one sample, all threads together."""
    start = time.process_time()
    for number in range(samples):
        dataset[number % VIEWS]
    return (time.process_time() - start) / samples


def stage_times(dataset: Any, samples: int) -> dict[str, float]:
    """Seconds per sample in each stage, by a profiler (which itself costs a little)."""
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    for number in range(samples):
        dataset[number % VIEWS]
    profile.disable()
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(entry[2] for entry in stats.values()) / samples
    times = {
        stage: sum(entry[3] for key, entry in stats.items() if key[2] == name and "mast3r" in key[0])
        / samples
        for stage, name in STAGES.items()
    }
    times["the rest"] = total - sum(times.values())
    return times


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    say(machine_line(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as folder:
        make_frames(Path(folder), (920, 690))
        options: dict[str, Any] = {
            "ROOT": folder,
            "resolution": (512, 384),
            "aug_crop": "auto",
            "transform": "ColorJitter",
            "n_corres": 8192,
            "nneg": 0.5,
            "seed": 0,
        }
        ours, plain = Frames(**options), PlainFrames(**options)
        for dataset in (ours, plain):
            torch.manual_seed(0)
            dataset.first = dataset[0]
        for a, b in zip(ours.first, plain.first, strict=True):
            assert torch.equal(a["img"], b["img"])
            assert np.array_equal(a["corres"], b["corres"])
        times: dict[str, list[float]] = {"ours": [], "plain": []}
        measure: list[tuple[str, Callable[..., Any]]] = [("ours", ours), ("plain", plain)]  # type: ignore[list-item]
        for _ in range(arguments.rounds):
            for name, dataset in measure:
                times[name].append(seconds_per_sample(dataset, arguments.samples))
        best = {name: min(values) for name, values in times.items()}
        for name, seconds in best.items():
            say(f"{name}: {1 / seconds:.2f} samples/s per core ({1000 * seconds:.0f} ms)")
        say(f"ratio: {best['plain'] / best['ours']:.2f}")
        for stage, seconds in stage_times(ours, arguments.samples).items():
            say(f"  {stage:<20} {1000 * seconds:6.1f} ms")


if __name__ == "__main__":
    main()
