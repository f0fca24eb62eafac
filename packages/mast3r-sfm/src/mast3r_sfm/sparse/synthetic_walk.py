"""Alignment problems of any size with known cameras: a walk over a relief, without a network.

What a network would predict is the truth with errors of its kind: depth with a smooth relative error and a
wrong scale per image, a slightly wrong focal, matches with noise and outliers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mast3r_model import InputError

from .problem import SparseProblem
from .rotations import exp_rotation

_STEP, _ROW_SPACING, _HEIGHT = 0.35, 1.1, 3.0
#: Amplitude, frequency in x and y, and phase of the waves of the relief.
_WAVES = ((0.25, 1.1, 0.3, 0.0), (0.2, 0.7, -1.3, 1.0), (0.08, 2.3, 1.9, 2.0))
_RAY_ROUNDS = 30
_PIXELS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class WalkOptions:
    """What a walk is like.

    Attributes:
        images: N.
        neighbors: matched with each image, half of them before it and half after.
        long_range: share of images that are matched with their neighbour in the next row of the walk too.
        matches: per pair, at most.
        shape: (height, width) of the images in pixels.
        pixel_noise: standard deviation of matches, before they are rounded to whole pixels.
        outliers: share of matches that are wrong.
        smooth_noise: relative depth error, the same over large parts of an image.
        white_noise: relative depth error of every anchor by itself.
        scale_noise: standard deviation of an image's log scale.
        focal_noise: standard deviation of the log of canonical focals around the true ones.
        principal_point_noise: standard deviation of true principal points around the image's centre, as a
            fraction of the width.
        seed: of all of it.
    """

    images: int
    neighbors: int = 10
    long_range: float = 0.2
    matches: int = 500
    shape: tuple[int, int] = (384, 512)
    pixel_noise: float = 0.4
    outliers: float = 0.1
    smooth_noise: float = 0.015
    white_noise: float = 0.006
    scale_noise: float = 0.03
    focal_noise: float = 0.01
    principal_point_noise: float = 0.003
    seed: int = 0


@dataclass(frozen=True)
class Walk:
    """A problem and the cameras behind it.

    Attributes:
        problem: to be aligned.
        cam2world: (N, 4, 4) true poses.
        intrinsics: (N, 3, 3) true calibration in pixels.
        anchor_depth: (A,) true camera z of the anchors.
    """

    problem: SparseProblem
    cam2world: Float[Tensor, "N 4 4"]
    intrinsics: Float[Tensor, "N 3 3"]
    anchor_depth: Float[Tensor, " A"]


def synthetic_walk(options: WalkOptions, *, subsample: int = 8) -> Walk:
    """Make a walk.

    Args:
        options: what it is like.
        subsample: side of an anchor's block in pixels; image sides must be multiples of it.

    Raises:
        InputError: fewer than two images, or sides that are no multiples of ``subsample``.
    """
    height, width = options.shape
    if options.images < 2 or height % subsample or width % subsample:
        raise InputError(
            f"a walk of {options.images} images of {width}x{height} with blocks of {subsample}",
            "two images or more, and sides that are multiples of the block",
        )
    generator = torch.Generator().manual_seed(options.seed)
    scene = _Scene(options, generator)
    anchors = _anchor_pixels(options.shape, subsample)
    image = torch.arange(options.images).repeat_interleave(len(anchors))
    depth = scene.depth(image, anchors.repeat(options.images, 1))
    anchor_start = torch.arange(options.images + 1) * len(anchors)
    pairs = _pairs(scene.cam2world[:, :3, 3], scene.row, options, generator)
    match_pair, xy, wrong = _matches(scene, pairs, options, generator)
    ends = pairs[match_pair].T
    block = (xy // subsample).long()
    anchor = anchor_start[ends] + block[..., 1] * (width // subsample) + block[..., 0]
    own = torch.stack([scene.depth(ends[end], xy[end]) for end in (0, 1)])
    conf = 1 + 9 * torch.rand(len(match_pair), generator=generator)
    none = torch.zeros(0)
    problem = SparseProblem(
        shapes=torch.tensor(options.shape).repeat(options.images, 1),
        subsample=subsample,
        principal_point=torch.tensor([width / 2, height / 2]).repeat(options.images, 1),
        focal=scene.canonical_focal.float(),
        focal_log_std=torch.full((options.images,), options.focal_noise),
        mean_conf=torch.full((options.images,), 5.0),
        anchor_start=anchor_start,
        core_depth=(depth * _depth_errors(image, anchors, options, generator)).float(),
        anchor_conf=torch.full_like(depth, 5.0, dtype=torch.float32),
        pairs=pairs,
        pair_is_matched=torch.ones(len(pairs), dtype=torch.bool),
        match_pair=match_pair,
        xy=xy.float(),
        anchor=anchor,
        offset=(own / depth[anchor]).float(),
        conf=torch.where(wrong, 1 + (conf - 1) / 4, conf),
        fallback_end=none.long(),
        fallback_frame=none.long(),
        fallback_pts3d=none.reshape(0, 3),
        fallback_conf=none,
    )
    return Walk(problem, scene.cam2world, scene.intrinsics, depth)


class _Scene:
    """Cameras on rows to and fro over the relief, looking at it with tilts and turns."""

    def __init__(self, options: WalkOptions, generator: torch.Generator) -> None:
        count = options.images
        per_row = max(math.ceil(math.sqrt(count)), 8)
        number = torch.arange(count)
        self.row = number // per_row
        along = torch.where(self.row % 2 == 0, number % per_row, per_row - 1 - number % per_row)
        noise = torch.randn(count, 3, generator=generator, dtype=torch.float64)
        place = torch.stack((_STEP * along, _ROW_SPACING * self.row, torch.full((count,), -_HEIGHT)), -1)
        center = place + torch.tensor([0.05, 0.1, 0.3]) * noise
        turn = torch.randn(count, 3, generator=generator, dtype=torch.float64) * torch.tensor(
            [0.15, 0.15, 0.2]
        )
        self.cam2world = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
        self.cam2world[:, :3, :3] = exp_rotation(turn)
        self.cam2world[:, :3, 3] = center
        height, width = options.shape
        random = torch.randn(count, 4, generator=generator, dtype=torch.float64)
        focal = width * (0.1 * random[:, 0]).exp()
        self.canonical_focal = focal * (options.focal_noise * random[:, 1]).exp()
        self.intrinsics = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
        self.intrinsics[:, 0, 0] = self.intrinsics[:, 1, 1] = focal
        middle = torch.tensor([width / 2, height / 2], dtype=torch.float64)
        self.intrinsics[:, :2, 2] = middle + options.principal_point_noise * width * random[:, 2:]

    def depth(self, image: Int[Tensor, " n"], xy: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Camera z where the rays of pixels meet the relief."""
        pieces = zip(torch.split(image, _PIXELS_AT_ONCE), torch.split(xy, _PIXELS_AT_ONCE), strict=True)
        return torch.cat([self._depth(*piece) for piece in pieces])

    def _depth(self, image: Tensor, xy: Tensor) -> Tensor:
        direction, center = self._rays(image, xy), self.cam2world[image, :3, 3]
        depth = -center[:, 2] / direction[:, 2]
        for _ in range(_RAY_ROUNDS):
            ground = center[:, :2] + depth[:, None] * direction[:, :2]
            depth = (_relief(ground) - center[:, 2]) / direction[:, 2]
        return depth

    def _rays(self, image: Tensor, xy: Tensor) -> Tensor:
        K = self.intrinsics[image]
        in_camera = torch.cat(((xy - K[:, :2, 2]) / K[:, 0, :1], torch.ones_like(K[:, 0, :1])), -1)
        return (self.cam2world[image, :3, :3] * in_camera[:, None]).sum(-1)

    def seen(self, image: Tensor, xy: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
        """Where other images see what some pixels show: (n, 2) pixels, and (n,) depths."""
        points = self.cam2world[image, :3, 3] + self.depth(image, xy)[:, None] * self._rays(image, xy)
        local = (self.cam2world[by, :3, :3] * (points - self.cam2world[by, :3, 3])[:, :, None]).sum(1)
        projected = (self.intrinsics[by] * local[:, None]).sum(-1)
        return projected[:, :2] / projected[:, 2:], local[:, 2]


def _relief(ground: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """Height of the ground; the z axis points away from the cameras."""
    x, y = ground.unbind(-1)
    height = torch.zeros_like(x)
    for amplitude, along_x, along_y, phase in _WAVES:
        height = height + amplitude * torch.sin(along_x * x + along_y * y + phase)
    return height


def _anchor_pixels(shape: tuple[int, int], subsample: int) -> Float[Tensor, "a 2"]:
    rows, columns = (torch.arange(subsample // 2, side, subsample, dtype=torch.float64) for side in shape)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), -1).reshape(-1, 2)


def _depth_errors(
    image: Int[Tensor, " A"], anchors: Float[Tensor, "a 2"], options: WalkOptions, generator: torch.Generator
) -> Float[Tensor, " A"]:
    """Factors of an image's depths: its scale, long waves, and a little for every anchor by itself."""
    height, width = options.shape
    count = options.images
    cycles = torch.randn(count, 2, 2, generator=generator, dtype=torch.float64) / torch.tensor(
        [width, height]
    )
    phase = 2 * math.pi * torch.rand(count, 1, 2, generator=generator, dtype=torch.float64)
    smooth = torch.sin(2 * math.pi * anchors @ cycles.transpose(1, 2) + phase).sum(-1).reshape(-1)
    white = torch.randn(len(image), generator=generator, dtype=torch.float64)
    scale = torch.randn(count, generator=generator, dtype=torch.float64)[image]
    exponent = options.smooth_noise * smooth + options.white_noise * white + options.scale_noise * scale
    return exponent.exp()


def _pairs(
    center: Float[Tensor, "N 3"], row: Int[Tensor, " N"], options: WalkOptions, generator: torch.Generator
) -> Int[Tensor, "P 2"]:
    """Neighbours along the walk, and some images with the nearest one of the next row."""
    count = options.images
    number = torch.arange(count)
    offsets = torch.arange(1, options.neighbors // 2 + 1)
    near = torch.stack((number[:, None].expand(-1, len(offsets)), number[:, None] + offsets), -1).reshape(
        -1, 2
    )
    near = near[near[:, 1] < count]
    chosen = (torch.rand(count, generator=generator) < options.long_range) & (row < row.max())
    distance = torch.cdist(center, center) + 1e6 * (row[None] != row[:, None] + 1)
    far = torch.stack((number, distance.argmin(1)), -1)[chosen]
    both = torch.cat((near, far))
    return torch.unique(both[both[:, 0] != both[:, 1]], dim=0)


def _matches(
    scene: _Scene, pairs: Int[Tensor, "P 2"], options: WalkOptions, generator: torch.Generator
) -> tuple[Int[Tensor, " M"], Float[Tensor, "2 M 2"], Tensor]:
    """Pair, pixels of both ends, and which are wrong."""
    height, width = options.shape
    limits = torch.tensor([width, height], dtype=torch.float64)
    tried = 3 * options.matches
    parts = []
    for piece in torch.split(torch.arange(len(pairs)), max(_PIXELS_AT_ONCE // tried, 1)):
        pair = piece.repeat_interleave(tried)
        first = (torch.rand(len(pair), 2, generator=generator, dtype=torch.float64) * limits).floor()
        second, depth = scene.seen(pairs[pair, 0], first, pairs[pair, 1])
        noise = options.pixel_noise * torch.randn(second.shape, generator=generator, dtype=torch.float64)
        second = (second + noise).round()
        good = ((second >= 0) & (second < limits)).all(-1) & (depth > 0)
        order = good.reshape(len(piece), tried).long().cumsum(1).reshape(-1)
        keep = good & (order <= options.matches)
        parts.append((pair[keep], first[keep], second[keep]))
    pair, first, second = (torch.cat(values) for values in zip(*parts, strict=True))
    wrong = torch.rand(len(pair), generator=generator) < options.outliers
    anywhere = (torch.rand(second.shape, generator=generator, dtype=torch.float64) * limits).floor()
    return pair, torch.stack((first, torch.where(wrong[:, None], anywhere, second))), wrong
