"""`SyntheticScenes`: endless views of random scenes with exact geometry (spec 70)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import ConfigError, resolve_device
from mast3r_train.geometry import (
    reciprocal_pairs,
    reproject,
    sample_correspondences,
    world_points,
)
from mast3r_train.synthetic import (
    Cameras,
    Lens,
    RenderedViews,
    SceneBatch,
    load_bank,
    make_scene,
    photograph,
    render,
    sample_pairs,
)

from .algebra import DatasetAlgebra, Index
from .resolutions import Resolution, resolutions_of

_HOLE_CHANCE = 0.15
"""Share of views in which a patch of the depth is unknown."""

_STREAM_STEP = 1_000_003
"""Keeps the scenes of several SyntheticScenes in one expression apart."""


class SyntheticScenes(DatasetAlgebra):
    """Pairs of views of random scenes, rendered on demand: no files, exact depth, intrinsics and poses.

    An item depends on nothing but (seed, index, resolution). It follows the view contract (spec 40 section
    2); whole batches are rendered at once by :meth:`batch`, which is what the training loop calls.

    Args:
        n: number of pairs.
        seed: of the scenes; test sets use another one than training sets.
        resolution: (width, height) with width >= height, or a list of those; multiples of 16 suit the models.
        textures: folder of photos used as textures beside the procedural ones, or None.
        procedural: number of procedural textures.
        split: accepted for likeness with other datasets; 'train' and other names draw different scenes.
        n_corres: correspondences a pair, matches and negatives together.
        nneg: share of negatives.
        covisibility: least and most wanted overlap of the two views.
        fov: least and most field of view over the long side, in degrees.
        portrait: share of pairs in portrait orientation.
        sky: mark the sky with depth -1; else it is merely unknown.
        holes: leave the depth of some patches unknown.
        effects: exposure, colour, blur and noise of a camera; off gives ideal pictures.
        device: where to render; "cpu", "cuda[:N]", "mps" or "auto".

    Raises:
        ConfigError: an argument is out of range.
        DeviceError: the device is not there.
    """

    is_metric_scale = True
    num_views = 2

    def __init__(
        self,
        n: int = 1_000_000,
        *,
        seed: int = 0,
        resolution: Resolution,
        textures: str | None = None,
        procedural: int = 48,
        split: str | None = None,
        n_corres: int = 0,
        nneg: float = 0.0,
        covisibility: tuple[float, float] = (0.15, 0.9),
        fov: tuple[float, float] = (35.0, 90.0),
        portrait: float = 0.25,
        sky: bool = True,
        holes: bool = True,
        effects: bool = True,
        device: str = "cpu",
    ) -> None:
        if n <= 0 or procedural <= 0:
            raise ConfigError(f"SyntheticScenes needs n > 0 and procedural > 0, got {n} and {procedural}")
        if not 0 <= nneg <= 1 or not 0 <= portrait <= 1:
            raise ConfigError(f"nneg and portrait are shares from 0 to 1, got {nneg} and {portrait}")
        _check_range("covisibility", covisibility, 0, 1)
        _check_range("fov", fov, 1, 170)
        self.n = n
        self.seed = seed
        self.split = split
        self.resolutions = resolutions_of(resolution)
        self.textures = textures
        self.procedural = procedural
        self.n_corres = n_corres
        self.nneg = nneg
        self.covisibility = covisibility
        self.lens = Lens(fov_degrees=fov)
        self.portrait = portrait
        self.sky = sky
        self.holes = holes
        self.effects = effects
        self.device = resolve_device(device)
        for width, height in self.resolutions:
            if not 0 <= n_corres <= width * height:
                raise ConfigError(f"an image of {width}x{height} pixels has no {n_corres} correspondences")

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        sizes = ";".join(f"{w}x{h}" for w, h in self.resolutions)
        return f"SyntheticScenes({self.n} pairs, split={self.split}, seed={self.seed}, resolutions=[{sizes}])"

    def set_epoch(self, epoch: int) -> None:
        """Load the textures now, so that worker processes started after it share them."""
        load_bank(self.textures, 0, self.procedural)

    def __getitem__(self, index: Index) -> list[dict[str, Any]]:
        if isinstance(index, int) and len(self.resolutions) > 1:
            raise ConfigError(f"{self!r} has several resolutions: index it with (index, resolution index)")
        item = index if isinstance(index, tuple) else (index, 0)
        if not 0 <= item[0] < self.n:
            raise IndexError(f"index {item[0]} of {self.n}")
        return [_single(view) for view in self.batch([item])]

    @torch.no_grad()
    def batch(self, items: Sequence[tuple[int, int]]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Views 1 and 2 of these samples, collated; all items have one resolution index."""
        resolution = {ar_index for _, ar_index in items}
        if len(resolution) != 1:
            raise ValueError(f"a batch has one resolution, got indices {sorted(resolution)}")
        width, height = self.resolutions[resolution.pop()]
        rngs = [self._generator(index) for index, _ in items]
        upright = np.array([rng.random() < self.portrait for rng in rngs])
        views: list[dict[str, Any]] = [{}, {}]
        for is_portrait in (False, True):
            rows = np.flatnonzero(upright == is_portrait)
            if len(rows):
                shape = (width, height) if is_portrait else (height, width)
                for view, part in zip(views, self._make([rngs[row] for row in rows], shape), strict=True):
                    for key, value in part.items():
                        view.setdefault(key, torch.empty(len(items), *value.shape[1:], dtype=value.dtype))[
                            torch.from_numpy(rows)
                        ] = value
        for number, view in enumerate(views):
            view |= self._labels(items, number)
            view["rng"] = torch.tensor([int.from_bytes(rng.bytes(4), "big") for rng in rngs])
        return views[0], views[1]

    def _generator(self, index: int) -> np.random.Generator:
        held_out = 0 if self.split in (None, "train") else 1
        return np.random.default_rng([self.seed + _STREAM_STEP * self.stream_index, held_out, int(index)])

    def _labels(self, items: Sequence[tuple[int, int]], number: int) -> dict[str, Any]:
        n = len(items)
        return {
            "is_metric_scale": torch.full((n,), self.is_metric_scale),
            "dataset": ["SyntheticScenes"] * n,
            "label": [f"seed{self.seed}" for _ in items],
            "instance": [f"{index}_{number}" for index, _ in items],
            "idx": [
                torch.tensor([index for index, _ in items]),
                torch.tensor([ar_index for _, ar_index in items]),
                torch.full((n,), number),
            ],
        }

    def _make(self, rngs: Sequence[np.random.Generator], shape: tuple[int, int]) -> list[dict[str, Tensor]]:
        """Both views of some pairs of one orientation, in landscape layout."""
        bank = load_bank(self.textures, 0, self.procedural).to(self.device)
        scenes = [make_scene(rng, bank.count) for rng in rngs]
        stacked = SceneBatch.stack(scenes, self.device)
        cameras = sample_pairs(scenes, stacked, shape, rngs, lens=self.lens, covisibility=self.covisibility)
        rendered = render(stacked, bank, cameras, shape)
        image = (
            photograph(rendered.image, [rng for rng in rngs for _ in range(2)])
            if self.effects
            else rendered.image
        )
        depth = self._depth_as_measured(rendered, rngs)
        tensors = self._tensors(image.cpu(), depth.cpu(), cameras)
        views = [{key: value[number::2] for key, value in tensors.items()} for number in range(2)]
        if self.n_corres:
            self._add_correspondences(views, rngs)
        return [_landscape(view) if shape[0] > shape[1] else view for view in views]

    def _depth_as_measured(self, rendered: RenderedViews, rngs: Sequence[np.random.Generator]) -> Tensor:
        depth = torch.where(rendered.is_sky, -1.0 if self.sky else 0.0, rendered.depth)
        height, width = depth.shape[1:]
        if self.holes:
            for view in range(len(depth)):
                rng = rngs[view // 2]
                if rng.random() < _HOLE_CHANCE:
                    h, w = (rng.uniform(0.05, 0.35, 2) * (height, width)).astype(int)
                    top, left = (rng.random(2) * (height - h, width - w)).astype(int)
                    depth[view, top : top + h, left : left + w] = 0.0
        return depth

    def _tensors(
        self, image: Float[Tensor, "views 3 h w"], depth: Float[Tensor, "views h w"], cameras: Cameras
    ) -> dict[str, Tensor]:
        K, cam2world = cameras.intrinsics.cpu(), cameras.cam2world.cpu()
        return {
            "img": image * 2 - 1,
            "depthmap": depth,
            "camera_pose": cam2world,
            "camera_intrinsics": K,
            "pts3d": world_points(depth, K, cam2world),
            "valid_mask": depth > 0,
            "sky_mask": depth < 0,
            "true_shape": torch.tensor(depth.shape[1:], dtype=torch.int32).expand(len(depth), 2),
        }

    def _add_correspondences(
        self, views: list[dict[str, Tensor]], rngs: Sequence[np.random.Generator]
    ) -> None:
        first, second = views
        shape = (first["img"].shape[2], first["img"].shape[3])
        forward = reproject(first["pts3d"], second["camera_intrinsics"], second["camera_pose"], shape)
        backward = reproject(second["pts3d"], first["camera_intrinsics"], first["camera_pose"], shape)
        valid1, valid2 = first["valid_mask"].flatten(1), second["valid_mask"].flatten(1)
        is_match1 = reciprocal_pairs(forward, backward) & valid1 & valid2.gather(1, forward)
        is_match2 = _partners(forward, is_match1)
        drawn = [
            sample_correspondences(
                forward[i].numpy(),
                is_match1[i].numpy(),
                is_match2[i].numpy(),
                (shape[1], shape[1]),
                self.n_corres,
                self.nneg,
                rng,
            )
            for i, rng in enumerate(rngs)
        ]
        first["corres"] = torch.from_numpy(np.stack([d.xy1 for d in drawn]))
        second["corres"] = torch.from_numpy(np.stack([d.xy2 for d in drawn]))
        for view in views:
            view["valid_corres"] = torch.from_numpy(np.stack([d.valid for d in drawn]))


def _partners(forward: Tensor, is_match: Tensor) -> Tensor:
    """True at the pixels of view 2 that are some match's partner."""
    row, pixel = torch.nonzero(is_match, as_tuple=True)
    partners = torch.zeros_like(is_match)
    partners[row, forward[row, pixel]] = True
    return partners


def _check_range(name: str, value: object, least: float, most: float) -> None:
    pair = value if isinstance(value, (tuple, list)) and len(value) == 2 else (math.nan, math.nan)
    if not all(isinstance(bound, int | float) for bound in pair) or not least <= pair[0] <= pair[1] <= most:
        raise ConfigError(f"{name} is (least, most) between {least} and {most}, got {value!r}")


def _landscape(view: dict[str, Tensor]) -> dict[str, Tensor]:
    """Portrait views laid on their side (spec 40 section 4.9)."""
    turned = dict(view)
    for key in ("depthmap", "pts3d", "valid_mask", "sky_mask"):
        turned[key] = view[key].transpose(1, 2).contiguous()
    turned["img"] = view["img"].transpose(2, 3).contiguous()
    turned["camera_intrinsics"] = view["camera_intrinsics"][:, [1, 0, 2]]
    if "corres" in view:
        turned["corres"] = view["corres"].flip(-1)
    return turned


_ARRAYS = (
    "depthmap",
    "camera_pose",
    "camera_intrinsics",
    "pts3d",
    "valid_mask",
    "sky_mask",
    "true_shape",
    "corres",
    "valid_corres",
)


def _single(view: dict[str, Any]) -> dict[str, Any]:
    """The only sample of a batch, with the types of the view contract (numpy arrays, python scalars)."""
    sample: dict[str, Any] = {}
    for key, value in view.items():
        if key == "idx":
            sample[key] = tuple(int(part[0]) for part in value)
        elif key in _ARRAYS:
            sample[key] = value[0].numpy()
        elif key in ("is_metric_scale", "rng"):
            sample[key] = value[0].item()
        else:
            sample[key] = value[0]
    return sample
