"""From canonical views and correspondences to a sparse problem (spec 30 sections 4.4, 5 and 6.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_match import Correspondences
from mast3r_model import InputError
from mast3r_sfm.canonical import CanonicalView, anchors_of_pixels

from .problem import SparseProblem


@dataclass(frozen=True)
class CrossPointmap:
    """The pointmap of one image in the frame of another one's camera, sampled once per anchor.

    Attributes:
        pts3d: (anchors, 3) in raster order of the grid of anchors.
        conf: (anchors,) the network's confidence.
    """

    pts3d: Float[Tensor, "anchors 3"]
    conf: Float[Tensor, " anchors"]

    @classmethod
    def sample(
        cls,
        pts3d: Float[Tensor, "h w 3"],
        conf: Float[Tensor, "h w"],
        *,
        subsample: int = 8,
        at: Literal["center", "corner"] = "center",
    ) -> CrossPointmap:
        """Sample a pointmap at the blocks' centres, where anchors live, or at their corners as upstream."""
        start = subsample // 2 if at == "center" else 0
        return cls(
            pts3d[start::subsample, start::subsample].reshape(-1, 3).float().clone(),
            conf[start::subsample, start::subsample].reshape(-1).float().clone(),
        )


def build_problem(
    views: Sequence[CanonicalView],
    pairs: Sequence[tuple[int, int]],
    correspondences: Sequence[Correspondences],
    *,
    cross_pointmaps: Mapping[tuple[int, int], CrossPointmap] | None = None,
    matching_conf_thr: float = 0.0,
    min_conf_thr: float = 0.0,
) -> SparseProblem:
    """Gather all matches into flat tensors.

    Pairs without matches, pairs of an image with itself, and a pair seen a second time (in either order)
    are left out; the order of the others is kept.

    Args:
        views: canonical view of every image.
        pairs: images of each pair.
        correspondences: matches of each pair, network pixels.
        cross_pointmaps: by (image, frame): the pointmap of ``image`` in the frame of ``frame``; only those of
            pairs that fail ``matching_conf_thr`` are used. Without them the losses ignore such pairs.
        matching_conf_thr: a pair is matched if its best confidence is above this (upstream: 5; its demo: 0).
        min_conf_thr: matches at or below this are dropped, unless it is 0.

    Raises:
        InputError: numbers of pairs and correspondences differ, a pair names an unknown image, the views
            differ in subsample, or a match lies outside its image.
    """
    if len(pairs) != len(correspondences):
        raise InputError(
            f"{len(pairs)} pairs were given with {len(correspondences)} lists of correspondences"
        )
    steps = {view.subsample for view in views}
    if len(steps) != 1:
        raise InputError(f"canonical views of one subsample are needed, given: {sorted(steps)}")
    kept = _kept_pairs(len(views), pairs, correspondences, min_conf_thr)
    device = views[0].pts3d.device
    anchor_counts = torch.tensor([view.core_depth.numel() for view in views], device=device)
    anchor_start = torch.cat((anchor_counts.new_zeros(1), anchor_counts.cumsum(0)))
    half, step = steps.copy().pop() // 2, steps.pop()

    ends = [
        [_end(views[image], int(anchor_start[image]), xy, image) for image, xy in zip(pair, xys, strict=True)]
        for pair, xys, _ in kept
    ]
    confs = [conf for _, _, conf in kept]
    matched = torch.tensor(
        [float(conf.max()) > matching_conf_thr for conf in confs], dtype=torch.bool, device=device
    )
    counts = torch.tensor([len(conf) for conf in confs], dtype=torch.int64, device=device)

    def joined(part: int, empty: Tensor) -> Tensor:
        rows = [torch.cat([pair_ends[end][part] for pair_ends in ends] or [empty]) for end in (0, 1)]
        return torch.stack(rows)

    problem = SparseProblem(
        shapes=torch.tensor([view.shape for view in views], dtype=torch.int64, device=device),
        subsample=step,
        principal_point=torch.stack([view.principal_point.to(device) for view in views]).float(),
        focal=torch.tensor([view.focal for view in views], device=device),
        focal_log_std=torch.tensor([view.focal_log_std for view in views], device=device),
        mean_conf=torch.stack([view.conf.mean() for view in views]),
        anchor_start=anchor_start,
        core_depth=torch.cat([view.core_depth.reshape(-1) for view in views]),
        anchor_conf=torch.cat([view.conf[half::step, half::step].reshape(-1) for view in views]),
        pairs=torch.tensor([pair for pair, _, _ in kept], dtype=torch.int64, device=device).reshape(-1, 2),
        pair_is_matched=matched,
        match_pair=torch.repeat_interleave(torch.arange(len(kept), device=device), counts),
        xy=joined(0, torch.zeros(0, 2, device=device)),
        anchor=joined(1, torch.zeros(0, dtype=torch.int64, device=device)),
        offset=joined(2, torch.zeros(0, device=device)),
        conf=torch.cat(confs) if confs else torch.zeros(0, device=device),
        fallback_end=torch.zeros(0, dtype=torch.int64, device=device),
        fallback_frame=torch.zeros(0, dtype=torch.int64, device=device),
        fallback_pts3d=torch.zeros(0, 3, device=device),
        fallback_conf=torch.zeros(0, device=device),
    )
    return _with_fallback(problem, cross_pointmaps or {})


def _kept_pairs(
    num_images: int,
    pairs: Sequence[tuple[int, int]],
    correspondences: Sequence[Correspondences],
    min_conf_thr: float,
) -> list[tuple[tuple[int, int], tuple[Tensor, Tensor], Tensor]]:
    kept, seen = [], set()
    for (first, second), matches in zip(pairs, correspondences, strict=True):
        if not (0 <= first < num_images and 0 <= second < num_images):
            raise InputError(
                f"pair ({first}, {second}) names an image that is not among the {num_images} views"
            )
        key = (min(first, second), max(first, second))
        chosen = (
            matches.confidence > min_conf_thr if min_conf_thr else torch.ones_like(matches.confidence).bool()
        )
        if first == second or key in seen or not bool(chosen.any()):
            continue
        seen.add(key)
        conf = matches.confidence[chosen].float()
        kept.append(((first, second), (matches.xy0[chosen], matches.xy1[chosen]), conf))
    return kept


def _end(view: CanonicalView, first_anchor: int, xy: Tensor, image: int) -> tuple[Tensor, Tensor, Tensor]:
    height, width = view.shape
    inside = (xy >= 0).all() & (xy[:, 0] < width).all() & (xy[:, 1] < height).all()
    if not bool(inside):
        raise InputError(f"a match lies outside image {image} of height {height} and width {width}")
    index, offset = anchors_of_pixels(view.relative_depth, xy, view.subsample)
    return xy.float(), first_anchor + index, offset


def _with_fallback(
    problem: SparseProblem, cross_pointmaps: Mapping[tuple[int, int], CrossPointmap]
) -> SparseProblem:
    """Add a record for every anchored pixel of both images of every pair that is not matched."""
    images = problem.image.reshape(-1)
    anchors = problem.anchor.reshape(-1)
    ends, frames, points, confs = [], [], [], []
    for pair in problem.pairs[~problem.pair_is_matched].tolist():
        for image, frame in (pair, reversed(pair)):
            cross = cross_pointmaps.get((image, frame))
            if cross is None:
                continue
            end = (images == image).nonzero()[:, 0]
            local = anchors[end] - problem.anchor_start[image]
            ends.append(end)
            frames.append(torch.full_like(end, frame))
            points.append(cross.pts3d.to(images.device)[local])
            confs.append(cross.conf.to(images.device)[local])
    if not ends:
        return problem
    return replace(
        problem,
        fallback_end=torch.cat(ends),
        fallback_frame=torch.cat(frames),
        fallback_pts3d=torch.cat(points),
        fallback_conf=torch.cat(confs),
    )
