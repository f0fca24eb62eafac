"""Which two frames of a scene make a good pair: overlap, angle, and a choice among them (spec 41 section 16).

For datasets and for anybody's posed photos::

    settings = PairSettings()
    geometry = SceneGeometry.of((depth, K, cam2world) for ...)
    candidates = candidate_pairs(geometry.cam2world, settings, np.random.default_rng(settings.seed))
    chosen = choose_pairs(candidates, score_pairs(geometry, candidates), settings)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mast3r_model import ConfigError
from mast3r_train.geometry import scaled_intrinsics

SMALL_WIDTH = 64
"""Pixels: how wide the depth maps are on which pairs are scored."""

DEPTH_TOLERANCE = 0.05
"""Relative difference of depths up to which two views see the same surface."""

_POINTS_AT_ONCE = 400_000


@dataclass(frozen=True)
class PairSettings:
    """How pairs are found and chosen.

    Attributes:
        strides: distances in frames of candidates.
        random_partners: random candidates per frame besides.
        random_degrees: viewing directions of those differ by less.
        overlap: least and most overlap of a pair that is kept.
        full_degrees: angle between the viewing rays from which on a pair's weight is its overlap; below it
            is less, in proportion.
        partners: most pairs that one image is in.
        max_pairs: most pairs of the whole dataset, or None.
        seed: of all randomness.

    Raises:
        ConfigError: a value is out of range.
    """

    strides: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    random_partners: int = 20
    random_degrees: float = 60.0
    overlap: tuple[float, float] = (0.1, 0.95)
    full_degrees: float = 10.0
    partners: int = 10
    max_pairs: int | None = None
    seed: int = 777

    def __post_init__(self) -> None:
        if any(stride < 1 for stride in self.strides):
            raise ConfigError(f"strides are whole numbers above 0, got {self.strides}")
        if self.random_partners < 0 or not (self.strides or self.random_partners):
            raise ConfigError("without strides and random partners there are no pairs to look at")
        if not 0 <= self.overlap[0] <= self.overlap[1] <= 1:
            raise ConfigError(f"overlap is (least, most) between 0 and 1, got {self.overlap}")
        if not self.full_degrees > 0 or not 0 < self.random_degrees <= 180:
            raise ConfigError(f"angles are above 0, got {self.full_degrees} and {self.random_degrees}")
        if self.partners < 1 or (self.max_pairs is not None and self.max_pairs < 1):
            raise ConfigError(
                f"partners and max_pairs are 1 or more, got {self.partners} and {self.max_pairs}"
            )


@dataclass(frozen=True, eq=False)
class SceneGeometry:
    """Small depth maps and cameras of all frames of a scene.

    Attributes:
        depth: z, 0 or less where unknown or sky; smaller maps are filled up with 0.
        intrinsics: of the small maps, pixel centres at integers.
        cam2world: x right, y down, z forward; in depth's unit.
    """

    depth: Float[np.ndarray, "n h w"]
    intrinsics: Float[np.ndarray, "n 3 3"]
    cam2world: Float[np.ndarray, "n 4 4"]

    @classmethod
    def of(
        cls,
        frames: Iterable[tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]],
    ) -> SceneGeometry:
        """From the depth map, intrinsics and cam2world of each frame, at any size; one is held at a time."""
        depths, intrinsics, poses = [], [], []
        for depth, K, cam2world in frames:
            small, K_small = shrink(depth, K)
            depths.append(small)
            intrinsics.append(K_small)
            poses.append(np.asarray(cam2world, dtype=np.float64))
        height = max((len(depth) for depth in depths), default=0)
        width = max((depth.shape[1] for depth in depths), default=0)
        stacked = np.zeros((len(depths), height, width), dtype=np.float32)
        for map_, depth in zip(stacked, depths, strict=True):
            map_[: depth.shape[0], : depth.shape[1]] = depth
        return cls(stacked, np.array(intrinsics).reshape(-1, 3, 3), np.array(poses).reshape(-1, 4, 4))

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.depth)


@dataclass(frozen=True, eq=False)
class PairScores:
    """How pairs score.

    Attributes:
        overlap: in [0, 1]: the lesser of the shares of either view's pixels with depth that the other sees.
        angle: degrees between the two viewing rays, median over what both see; 0 if that is nothing.
    """

    overlap: Float[np.ndarray, " n"]
    angle: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class ChosenPairs:
    """The pairs that were kept, in the order of their images.

    Attributes:
        pairs: numbers of two frames.
        weight: ``overlap * min(1, angle / full_degrees)``.
    """

    pairs: Int[np.ndarray, "n 2"]
    weight: Float[np.ndarray, " n"]


def shrink(
    depth: Float[np.ndarray, "h w"], K: Float[np.ndarray, "3 3"]
) -> tuple[Float[np.ndarray, "h2 w2"], Float[np.ndarray, "3 3"]]:
    """A depth map at most `SMALL_WIDTH` wide, by nearest neighbours, and its intrinsics."""
    height, width = depth.shape
    small_width = min(SMALL_WIDTH, width)
    small_height = max(1, round(height * small_width / width))
    rows = ((np.arange(small_height) + 0.5) * height / small_height).astype(int)
    columns = ((np.arange(small_width) + 0.5) * width / small_width).astype(int)
    small = scaled_intrinsics(K, (width, height), (small_width, small_height))
    return depth[rows[:, None], columns].astype(np.float32), small


def score_pairs(geometry: SceneGeometry, pairs: Int[np.ndarray, "n 2"]) -> PairScores:
    """Overlap and angle of pairs of frames.

    Args:
        geometry: of the scene.
        pairs: numbers of frames.
    """
    points = _world_points(geometry)
    valid = geometry.depth.reshape(len(geometry), -1) > 0
    overlap, angle = np.zeros(len(pairs)), np.zeros(len(pairs))
    step = max(1, _POINTS_AT_ONCE // max(1, valid.shape[1]))
    for start in range(0, len(pairs), step):
        some = slice(start, start + step)
        first, second = pairs[some].T
        seen = [_seen(geometry, points[a], valid[a], b) for a, b in ((first, second), (second, first))]
        shares = [
            covisible.sum(1) / np.maximum(valid[source].sum(1), 1)
            for covisible, source in zip(seen, (first, second), strict=True)
        ]
        overlap[some] = np.minimum(*shares)
        centers = geometry.cam2world[first, None, :3, 3], geometry.cam2world[second, None, :3, 3]
        angles = np.concatenate([_ray_angles(points[source], *centers) for source in (first, second)], axis=1)
        angle[some] = _median_where(angles, np.concatenate(seen, axis=1))
    return PairScores(overlap, angle)


def choose_pairs(
    candidates: Int[np.ndarray, "n 2"],
    scores: PairScores,
    settings: PairSettings,
    *,
    published: Bool[np.ndarray, " n"] | None = None,
) -> ChosenPairs:
    """Keep the pairs with enough and not too much overlap, and of each image the best.

    Args:
        candidates: numbers of frames.
        scores: of the candidates.
        settings: bounds.
        published: pairs that are kept whatever they score.
    """
    weight = scores.overlap * np.minimum(1.0, scores.angle / settings.full_degrees)
    low, high = settings.overlap
    good = (scores.overlap >= low) & (scores.overlap <= high)
    always = np.zeros(len(candidates), dtype=bool) if published is None else published
    places = np.flatnonzero(good | always)
    partners: dict[int, int] = {}
    kept = []
    for place in places[np.lexsort((places, -weight[places], ~always[places]))].tolist():
        first, second = candidates[place].tolist()
        free = max(partners.get(first, 0), partners.get(second, 0)) < settings.partners
        if free or always[place]:
            kept.append(place)
            for image in (first, second):
                partners[image] = partners.get(image, 0) + 1
    chosen = np.array(sorted(kept, key=lambda place: tuple(candidates[place])), dtype=np.int64)
    return ChosenPairs(candidates[chosen].reshape(-1, 2), weight[chosen].astype(np.float32))


def draw_pairs(weight: Float[np.ndarray, " n"], settings: PairSettings) -> Int[np.ndarray, " m"]:
    """Numbers of at most ``max_pairs`` pairs, sorted; drawn without repetition, by their weight.

    Pairs of weight 0 are drawn only when all others are taken.
    """
    if settings.max_pairs is None or len(weight) <= settings.max_pairs:
        return np.arange(len(weight))
    # The largest of u^(1/w): weighted sampling without replacement in one sort.
    exponent = 1 / np.maximum(weight.astype(np.float64), 1e-9)
    keys = np.log(np.random.default_rng(settings.seed).random(len(weight))) * exponent
    return np.sort(np.argpartition(-keys, settings.max_pairs - 1)[: settings.max_pairs])


def _world_points(geometry: SceneGeometry) -> Float[np.ndarray, "n pixels 3"]:
    height, width = geometry.depth.shape[1:]
    v, u = np.mgrid[:height, :width]
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3).astype(np.float64)
    rays = pixels @ np.linalg.inv(geometry.intrinsics).transpose(0, 2, 1)
    local = rays * geometry.depth.reshape(len(geometry), -1, 1)
    rotation, center = geometry.cam2world[:, :3, :3], geometry.cam2world[:, None, :3, 3]
    return local @ rotation.transpose(0, 2, 1) + center


def _seen(
    geometry: SceneGeometry,
    points: Float[np.ndarray, "k pixels 3"],
    valid: Bool[np.ndarray, "k pixels"],
    target: Int[np.ndarray, " k"],
) -> Bool[np.ndarray, "k pixels"]:
    """Which points the target frames see too: inside the image, at about the depth that is stored there."""
    rotation, center = geometry.cam2world[target, :3, :3], geometry.cam2world[target, None, :3, 3]
    local = (points - center) @ rotation
    z = local[..., 2]
    ahead = valid & (z > 0)
    pixels = (local @ geometry.intrinsics[target].transpose(0, 2, 1))[..., :2] / np.where(ahead, z, 1)[
        ..., None
    ]
    height, width = geometry.depth.shape[1:]
    inside = ahead & (np.abs(pixels + 0.5 - (width / 2, height / 2)) < (width / 2, height / 2)).all(-1)
    u, v = np.where(inside[..., None], np.rint(pixels), 0).astype(np.int64).transpose(2, 0, 1)
    there = geometry.depth[target[:, None], np.clip(v, 0, height - 1), np.clip(u, 0, width - 1)]
    return inside & (there > 0) & (np.abs(z - there) < DEPTH_TOLERANCE * there)


def _ray_angles(
    points: Float[np.ndarray, "k pixels 3"],
    first: Float[np.ndarray, "k 1 3"],
    second: Float[np.ndarray, "k 1 3"],
) -> Float[np.ndarray, "k pixels"]:
    """Degrees between the rays from two cameras to points."""
    a, b = points - first, points - second
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.degrees(np.arctan2(cross, (a * b).sum(-1)))


def _median_where(
    values: Float[np.ndarray, "k n"], where: Bool[np.ndarray, "k n"]
) -> Float[np.ndarray, " k"]:
    """The median of the marked values of each row; 0 where none is marked."""
    ordered = np.sort(np.where(where, values, np.inf), axis=1)
    count = where.sum(1)
    rows = np.arange(len(values))
    middle = (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, count // 2]) / 2
    return np.where(count > 0, middle, 0.0)
