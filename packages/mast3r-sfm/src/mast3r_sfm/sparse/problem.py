"""The condensed problem: all matches of all pairs as flat tensors (spec 30 section 5).

Upstream keeps every match twice (once per ordered pair) in dictionaries of images. Here pairs are unordered,
every match is stored once, and its two ends are rows 0 and 1 of the tensors of shape (2, M, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mast3r_model import InputError


@dataclass(frozen=True)
class SparseProblem:
    """N images with A anchors, and P unordered pairs with M matches; network pixels.

    Attributes:
        shapes: (N, 2) int64 (height, width).
        subsample: side of an anchor's block in pixels.
        principal_point: (N, 2) (x, y) in pixels.
        focal: (N,) canonical focal in pixels.
        focal_log_std: (N,) spread of log focal over an image's predictions.
        mean_conf: (N,) mean canonical confidence.
        anchor_start: (N + 1,) int64; image i owns the anchors anchor_start[i] .. anchor_start[i + 1] - 1.
        core_depth: (A,) canonical depth of the anchors.
        anchor_conf: (A,) canonical confidence at the anchors.
        pairs: (P, 2) int64 images of a pair.
        pair_is_matched: (P,) whether the best match passes the threshold; the others enter the fallback loss.
        match_pair: (M,) int64 pair of a match, ascending.
        xy: (2, M, 2) pixels (x, y) of both ends of the matches.
        anchor: (2, M) int64 anchor of both ends, counted over all images.
        offset: (2, M) depth of the pixel relative to its anchor's.
        conf: (M,) confidence of a match.
        fallback_end: (F,) int64 an end e of a match m, as e * M + m, whose point should lie at ...
        fallback_frame: (F,) int64 in the frame of this image's camera ...
        fallback_pts3d: (F, 3) this point, predicted by the network (metric) ...
        fallback_conf: (F,) with this confidence.
    """

    shapes: Int[Tensor, "N 2"]
    subsample: int
    principal_point: Float[Tensor, "N 2"]
    focal: Float[Tensor, " N"]
    focal_log_std: Float[Tensor, " N"]
    mean_conf: Float[Tensor, " N"]
    anchor_start: Int[Tensor, " N+1"]
    core_depth: Float[Tensor, " A"]
    anchor_conf: Float[Tensor, " A"]
    pairs: Int[Tensor, "P 2"]
    pair_is_matched: Bool[Tensor, " P"]
    match_pair: Int[Tensor, " M"]
    xy: Float[Tensor, "2 M 2"]
    anchor: Int[Tensor, "2 M"]
    offset: Float[Tensor, "2 M"]
    conf: Float[Tensor, " M"]
    fallback_end: Int[Tensor, " F"]
    fallback_frame: Int[Tensor, " F"]
    fallback_pts3d: Float[Tensor, "F 3"]
    fallback_conf: Float[Tensor, " F"]

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.shapes)

    @property
    def num_anchors(self) -> int:
        """A."""
        return len(self.core_depth)

    @property
    def num_matches(self) -> int:
        """M."""
        return len(self.conf)

    @property
    def image(self) -> Int[Tensor, "2 M"]:
        """Images of both ends of the matches."""
        return self.pairs[self.match_pair].T

    @property
    def anchor_image(self) -> Int[Tensor, " A"]:
        """The image that owns each anchor."""
        counts = self.anchor_start.diff()
        return torch.repeat_interleave(torch.arange(self.num_images, device=counts.device), counts)

    @property
    def match_is_matched(self) -> Bool[Tensor, " M"]:
        """Whether a match belongs to a pair that passes the threshold."""
        return self.pair_is_matched[self.match_pair]

    def match_counts(self) -> Int[Tensor, "N N"]:
        """Number of matches between all pairs of images, symmetric."""
        counts = torch.bincount(self.match_pair, minlength=len(self.pairs))
        scores = torch.zeros(self.num_images, self.num_images, dtype=torch.int64, device=counts.device)
        first, second = self.pairs.T
        scores[first, second] = counts
        scores[second, first] = counts
        return scores

    def to(self, device: torch.device | str) -> SparseProblem:
        """The same problem with its tensors on a device."""
        moved: dict[str, Any] = {
            field.name: value.to(device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)

    def restricted_to(self, images: Sequence[int]) -> SparseProblem:
        """The problem of some images only, renumbered in the given order.

        Args:
            images: distinct images; pairs with any other image are left out.

        Raises:
            InputError: an image is named twice or does not exist.
        """
        if len(set(images)) != len(images) or not all(0 <= image < self.num_images for image in images):
            raise InputError(f"images {list(images)} are not distinct numbers below {self.num_images}")
        device = self.pairs.device
        chosen = torch.as_tensor(list(images), dtype=torch.int64, device=device)
        new_image = torch.full((self.num_images,), -1, dtype=torch.int64, device=device)
        new_image[chosen] = torch.arange(len(chosen), device=device)
        counts = self.anchor_start.diff()[chosen]
        anchor_start = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
        old_anchor = torch.arange(int(anchor_start[-1]), device=device) + torch.repeat_interleave(
            self.anchor_start[chosen] - anchor_start[:-1], counts
        )
        shift = torch.zeros_like(self.anchor_start[:-1])
        shift[chosen] = anchor_start[:-1] - self.anchor_start[chosen]

        keep_pair = (new_image[self.pairs] >= 0).all(-1)
        keep_match = keep_pair[self.match_pair]
        new_pair = keep_pair.cumsum(0) - 1
        new_match = keep_match.cumsum(0) - 1
        end, match = (
            self.fallback_end.div(max(self.num_matches, 1), rounding_mode="floor"),
            self.fallback_end.remainder(max(self.num_matches, 1)),
        )
        keep_fallback = keep_match[match] & (new_image[self.fallback_frame] >= 0)
        kept_matches = int(keep_match.sum())
        return SparseProblem(
            shapes=self.shapes[chosen],
            subsample=self.subsample,
            principal_point=self.principal_point[chosen],
            focal=self.focal[chosen],
            focal_log_std=self.focal_log_std[chosen],
            mean_conf=self.mean_conf[chosen],
            anchor_start=anchor_start,
            core_depth=self.core_depth[old_anchor],
            anchor_conf=self.anchor_conf[old_anchor],
            pairs=new_image[self.pairs[keep_pair]],
            pair_is_matched=self.pair_is_matched[keep_pair],
            match_pair=new_pair[self.match_pair[keep_match]],
            xy=self.xy[:, keep_match],
            anchor=(self.anchor + shift[self.image])[:, keep_match],
            offset=self.offset[:, keep_match],
            conf=self.conf[keep_match],
            fallback_end=(end * kept_matches + new_match[match])[keep_fallback],
            fallback_frame=new_image[self.fallback_frame[keep_fallback]],
            fallback_pts3d=self.fallback_pts3d[keep_fallback],
            fallback_conf=self.fallback_conf[keep_fallback],
        )
