"""The losses of sparse alignment, over all pairs at once (spec 30 sections 6.4 and 6.5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cameras import Cameras, pixel_depth, project, to_camera, to_world
from .options import AlignOptions
from .problem import SparseProblem


@dataclass(frozen=True)
class Objective:
    """A problem's matches laid out for the losses. Rows 0 .. M-1 are first ends, M .. 2M-1 second ends.

    Attributes:
        image: (2M,) image of an end.
        anchor: (2M,) anchor of an end.
        xy: (2M, 2) pixel of an end.
        offset: (2M,) depth relative to the anchor.
        matched: (m,) indices of matches in matched pairs, or None if all are.
        weight: (m,) their confidences, divided by their sum.
        fallback_end: (F,) ends of the fallback loss.
        fallback_frame: (F,) image in whose frame the network saw the end's point.
        fallback_pts3d: (F, 3) where it saw it.
        fallback_weight: (F,) confidences divided by their sum.
        options: losses and weights.
    """

    image: Int[Tensor, " K"]
    anchor: Int[Tensor, " K"]
    xy: Float[Tensor, "K 2"]
    offset: Float[Tensor, " K"]
    matched: Int[Tensor, " m"] | None
    weight: Float[Tensor, " m"]
    fallback_end: Int[Tensor, " F"]
    fallback_frame: Int[Tensor, " F"]
    fallback_pts3d: Float[Tensor, "F 3"]
    fallback_weight: Float[Tensor, " F"]
    options: AlignOptions

    @classmethod
    def build(cls, problem: SparseProblem, options: AlignOptions, dtype: torch.dtype) -> Objective:
        """Lay out a problem in one floating point type."""
        matched: Bool[Tensor, " M"] = problem.match_is_matched
        conf = problem.conf.to(dtype)[matched]
        fallback_conf = problem.fallback_conf.to(dtype)
        return cls(
            image=problem.image.reshape(-1),
            anchor=problem.anchor.reshape(-1),
            xy=problem.xy.reshape(-1, 2).to(dtype),
            offset=problem.offset.reshape(-1).to(dtype),
            matched=None if bool(matched.all()) else matched.nonzero()[:, 0],
            weight=conf / conf.sum(),
            fallback_end=problem.fallback_end,
            fallback_frame=problem.fallback_frame,
            fallback_pts3d=problem.fallback_pts3d.to(dtype),
            fallback_weight=fallback_conf / fallback_conf.sum(),
            options=options,
        )

    def points(self, cameras: Cameras, anchor_depth: Float[Tensor, " A"]) -> Float[Tensor, "K 3"]:
        """World points of all ends."""
        depth = pixel_depth(cameras, anchor_depth, self.image, self.anchor, self.offset)
        return to_world(cameras, self.image, to_camera(cameras, self.image, self.xy, depth))

    def coarse(self, cameras: Cameras, anchor_depth: Float[Tensor, " A"]) -> Float[Tensor, ""]:
        """L3D + fallback."""
        points = self.points(cameras, anchor_depth)
        first, second = self._both_ends(points)
        loss = (self.weight * self.options.coarse_loss(first, second)).sum()
        return loss + self._fallback(cameras, points)

    def fine(self, cameras: Cameras, anchor_depth: Float[Tensor, " A"]) -> Float[Tensor, ""]:
        """L2D + fallback."""
        points = self.points(cameras, anchor_depth)
        first, second = self._both_ends(points)
        seen_by = torch.cat(self._both_ends(self.image))
        pixels = torch.cat(self._both_ends(self.xy))
        projected = project(cameras, seen_by, torch.cat((second, first)))
        losses = self.options.fine_loss(pixels, projected)
        return (self.weight * losses.reshape(2, -1)).sum() / 2 + self._fallback(cameras, points)

    def _both_ends(self, values: Tensor) -> tuple[Tensor, Tensor]:
        first, second = values.chunk(2)
        return (first, second) if self.matched is None else (first[self.matched], second[self.matched])

    def _fallback(self, cameras: Cameras, points: Float[Tensor, "K 3"]) -> Tensor | float:
        if not len(self.fallback_end) or not self.options.fallback_weight:
            return 0.0
        target = to_world(cameras, self.fallback_frame, self.fallback_pts3d)
        losses = self.options.fallback_loss(points[self.fallback_end], target)
        return self.options.fallback_weight * (self.fallback_weight * losses).sum()
