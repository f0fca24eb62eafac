"""Second-order coarse stage: one similarity per image brings matched canonical points together.

With focals and relative depths fixed, an image's points move rigidly up to scale, so the coarse loss of
spec 30 section 6.4 depends on one similarity per image only. It starts from robust pairwise fits chained
along the kinematic tree. In an iteration the matches of a pair enter through the moments of their
coordinates only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mast3r_sfm.progress import OnLoss

from .adam import Progress
from .alignment import StageReport
from .block_system import BlockPattern, Grouping, grouped_outer
from .camera_system import CameraSystem
from .losses import GammaLoss
from .objective import Objective
from .options import LmOptions
from .rotations import exp_rotation, fit_similarities
from .tree import kinematic_tree

_PARAMETERS = 7  # rotation, translation, log scale
#: A match agrees with its pair's similarity if it is off by less than this fraction of its depth.
_AGREEMENT = 0.05
#: A pair's vote is 1 plus this for every match that agrees, so that every pair has one.
_VOTE = 16


@dataclass(frozen=True)
class Similarities:
    """Camera to world with a scale: P = scale R X + center for canonical points X.

    Attributes:
        rotation: (N, 3, 3).
        center: (N, 3).
        log_scale: (N,).
    """

    rotation: Float[Tensor, "N 3 3"]
    center: Float[Tensor, "N 3"]
    log_scale: Float[Tensor, " N"]

    def moved(self, step: Float[Tensor, "N 7"]) -> Similarities:
        """After a step (rotation about the own centre, translation, log scale)."""
        return Similarities(
            exp_rotation(step[:, :3]) @ self.rotation, self.center + step[:, 3:6], self.log_scale + step[:, 6]
        )

    def rescaled(self) -> Similarities:
        """With the smallest scale 1, which is upstream's gauge."""
        shift = self.log_scale.min()
        return Similarities(self.rotation, self.center / shift.exp(), self.log_scale - shift)

    def bounded(self) -> Similarities:
        """With no scale below 1: that bound keeps the scene from collapsing."""
        return Similarities(self.rotation, self.center, self.log_scale.clamp_min(0))


@dataclass(frozen=True)
class _Links:
    """Point pairs that a loss pulls together; the second ones may be of fixed size."""

    image: Int[Tensor, "2 n"]
    points: Float[Tensor, "2 n 3"]
    weight: Float[Tensor, " n"]
    grouping: Grouping
    group_image: Int[Tensor, "g 2"]
    loss: GammaLoss
    second_scales: bool


class CoarseSolver:
    """Minimise the coarse loss over similarities.

    Args:
        objective: matches and fallback records.
        canonical: (2M, 3) canonical points of all ends, in camera frames.
        root: the image whose pose stays where it starts, unless poses are known.
        fixed_pose: (N,) images whose pose must not move.
        fixed_scale: (N,) images whose size must not change.
        options: of the solver.
    """

    def __init__(
        self,
        objective: Objective,
        canonical: Float[Tensor, "K 3"],
        root: int,
        fixed_pose: Bool[Tensor, " N"],
        fixed_scale: Bool[Tensor, " N"],
        options: LmOptions,
    ) -> None:
        self._objective, self._canonical, self._root, self._options = objective, canonical, root, options
        self._fixed_pose, self._fixed_scale = fixed_pose, fixed_scale
        # The world's size is given by two poses, or by an image's; else no image may shrink below its own.
        self._sized = int(fixed_pose.sum()) > 1 or bool(fixed_scale.any())
        self._count = len(fixed_pose)
        self._links = [self._match_links()]
        if len(objective.fallback_end) and options.fallback_weight:
            self._links.append(self._fallback_links())
        first, second = torch.cat([links.group_image for links in self._links]).T
        self._pattern = BlockPattern.build(first, second, self._count)
        index = torch.arange(self._count * _PARAMETERS, device=first.device).reshape(-1, _PARAMETERS)
        self._system = CameraSystem.build(index, self._pattern.row, self._pattern.column, options.dense_limit)

    def _match_links(self) -> _Links:
        image, points = (
            values.reshape(2, -1, *values.shape[1:]) for values in (self._objective.image, self._canonical)
        )
        if self._objective.matched is not None:
            image, points = image[:, self._objective.matched], points[:, self._objective.matched]
        return self._grouped(image, points, self._objective.weight, self._options.coarse_loss, True)

    def _fallback_links(self) -> _Links:
        own = self._objective
        image = torch.stack((own.image[own.fallback_end], own.fallback_frame))
        points = torch.stack((self._canonical[own.fallback_end], own.fallback_pts3d))
        weight = self._options.fallback_weight * own.fallback_weight
        return self._grouped(image, points, weight, self._options.fallback_loss, False)

    def _grouped(
        self, image: Tensor, points: Tensor, weight: Tensor, loss: GammaLoss, second_scales: bool
    ) -> _Links:
        key, group = torch.unique(image[0] * self._count + image[1], return_inverse=True)
        pair = torch.stack((key // self._count, key % self._count), -1)
        grouping = Grouping.build(group, len(key))
        return _Links(image, points, weight, grouping, pair, loss, second_scales)

    def start(self) -> Similarities:
        """Robust similarities of all pairs, chained along the tree of those that most matches agree with.

        Upstream's trees may join images that have no match in common; these edges always do.
        """
        image = self._objective.image.reshape(2, -1)
        target, source = self._canonical.reshape(2, -1, 3)
        key, pair = torch.unique(image[0] * self._count + image[1], return_inverse=True)
        weight = torch.ones_like(target[:, 0])
        scale, rotation, translation = fit_similarities(source, target, weight, pair, len(key))
        moved = scale[pair][:, None] * (rotation[pair] * source[:, None]).sum(-1) + translation[pair]
        agrees = (moved - target).norm(dim=-1) < _AGREEMENT * target[:, 2].abs()
        votes = 1 + torch.zeros_like(key).index_add(0, pair, _VOTE * agrees.long())
        first, second = key // self._count, key % self._count
        scores = torch.zeros(self._count, self._count, dtype=torch.int64, device=key.device)
        scores[first, second] = scores[second, first] = votes
        tree = kinematic_tree(scores, mode="mst")
        place = torch.zeros_like(scores)
        place[first, second] = torch.arange(len(key), device=key.device)
        place[second, first] = -1 - place[first, second]
        state = Similarities(
            torch.eye(3).to(source).repeat(self._count, 1, 1),
            source.new_zeros(self._count, 3),
            source.new_zeros(self._count),
        )
        for above, below in (level.to(key.device).T for level in tree.levels):
            index = place[above, below]
            inverse = index < 0
            index = torch.where(inverse, -1 - index, index)
            fit = _inverted_where(inverse, scale[index], rotation[index], translation[index])
            lifted = (state.rotation[above] * fit[2][:, None]).sum(-1)
            center = state.center[above] + state.log_scale[above].exp()[:, None] * lifted
            state = Similarities(
                state.rotation.index_copy(0, below, state.rotation[above] @ fit[1]),
                state.center.index_copy(0, below, center),
                state.log_scale.index_copy(0, below, state.log_scale[above] + fit[0].log()),
            )
        return state.rescaled()

    def run(
        self, state: Similarities, progress: Progress | None = None, on_loss: OnLoss | None = None
    ) -> tuple[Similarities, StageReport]:
        """Levenberg-Marquardt on reweighted squares."""
        started = time.perf_counter()
        arms = self._arms(state)
        losses = [self._loss(arms)]
        damping = 1e-4
        limit = self._options.coarse_iterations
        for iteration in range(limit):
            system = self._linearized(state, arms)
            accepted = False
            while not accepted and damping < 1e8:
                step = self._step(state, system, damping)
                trial = state if step is None else state.moved(step)
                trial = trial if self._sized else trial.bounded()
                trial_arms = self._arms(trial)
                loss = self._loss(trial_arms)
                accepted = step is not None and loss < losses[-1]
                damping = max(damping / 5, 1e-9) if accepted else damping * 8
            if not accepted:
                break
            state, arms = trial, trial_arms
            losses.append(loss)
            if progress is not None:
                progress("coarse", iteration + 1, limit)
            if on_loss is not None:
                on_loss("coarse", losses[-1])
            if losses[-2] - losses[-1] < self._options.coarse_tolerance * losses[-2]:
                break
        report = StageReport(
            "coarse", torch.tensor(losses, dtype=torch.float64), time.perf_counter() - started
        )
        return state, report

    def _arms(self, state: Similarities) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For every set of links: points relative to their cameras' centres (both ends), and differences."""
        arms = []
        for links in self._links:
            ends = []
            for end in (0, 1):
                turned = (state.rotation[links.image[end]] * links.points[end][:, None]).sum(-1)
                scales = end == 0 or links.second_scales
                ends.append(state.log_scale[links.image[end]].exp()[:, None] * turned if scales else turned)
            centers = state.center[links.image]
            arms.append((ends[0], ends[1], ends[0] + centers[0] - ends[1] - centers[1]))
        return arms

    def _loss(self, arms: list[tuple[Tensor, Tensor, Tensor]]) -> float:
        total = 0.0
        for links, (_, _, difference) in zip(self._links, arms, strict=True):
            total += float((links.weight * links.loss.of_distance(difference.norm(dim=-1))).sum())
        return total

    def _linearized(
        self, state: Similarities, arms: list[tuple[Tensor, Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradient (N, 7), diagonal blocks, off-diagonal blocks and their (row, column)."""
        gradient = state.center.new_zeros(self._count, _PARAMETERS)
        diagonal = state.center.new_zeros(self._count, _PARAMETERS, _PARAMETERS)
        off_diagonal, places = [], []
        for links, (first, second, difference) in zip(self._links, arms, strict=True):
            distance = difference.norm(dim=-1)
            weight = links.weight * links.loss.slope(distance) / distance.clamp_min(1e-9)
            one = torch.ones_like(distance)[:, None]
            rows = torch.cat((first, one, second, one, difference), -1)[:, None]
            moments = grouped_outer(rows, weight, links.grouping)
            lever = _lever().to(moments)
            second_lever = lever.clone()
            if not links.second_scales:
                second_lever[..., 6] = 0
            row, column = links.group_image.T
            blocks = (
                torch.einsum("gkl,kap,laq->gpq", moments[:, :4, :4], lever, lever),
                torch.einsum("gkl,kap,laq->gpq", moments[:, 4:8, 4:8], second_lever, second_lever),
                -torch.einsum("gkl,kap,laq->gpq", moments[:, :4, 4:8], lever, second_lever),
            )
            diagonal = diagonal.index_add(0, row, blocks[0]).index_add(0, column, blocks[1])
            off_diagonal.append(blocks[2])
            places.append(links.group_image)
            pull = torch.einsum("gka,kap->gp", moments[:, :4, 8:], lever)
            push = -torch.einsum("gka,kap->gp", moments[:, 4:8, 8:], second_lever)
            gradient = gradient.index_add(0, row, pull).index_add(0, column, push)
        return gradient, diagonal, torch.cat(off_diagonal), torch.cat(places)

    def _step(
        self, state: Similarities, system: tuple[Tensor, Tensor, Tensor, Tensor], damping: float
    ) -> Float[Tensor, "N 7"] | None:
        gradient, diagonal, off_diagonal, places = system
        free = torch.ones_like(gradient)
        if bool(self._fixed_pose.any()):
            free[self._fixed_pose, :6] = 0
        else:
            free[self._root, :6] = 0
        free[self._fixed_scale, 6] = 0
        if not self._sized:
            free[(state.log_scale <= 0) & (gradient[:, 6] > 0), 6] = 0
        strength = diagonal.diagonal(dim1=1, dim2=2)
        extra = damping * strength + 1e-12 * strength.max() + (1 - free) * strength.max()
        masked = free[:, :, None] * diagonal * free[:, None] + torch.diag_embed(extra)
        row, column = places.T
        between = free[row][:, :, None] * off_diagonal * free[column][:, None]
        return self._system.solve(self._pattern.assemble(masked, between), -(free * gradient))


def _inverted_where(
    mask: Bool[Tensor, " n"], scale: Tensor, rotation: Tensor, translation: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Similarities, replaced by their inverses where the mask is set."""
    back = rotation.transpose(1, 2)
    returned = -(back * translation[:, None]).sum(-1) / scale[:, None]
    return (
        torch.where(mask, 1 / scale, scale),
        torch.where(mask[:, None, None], back, rotation),
        torch.where(mask[:, None], returned, translation),
    )


def _lever() -> Float[Tensor, "4 3 7"]:
    """How a point (arm, 1) moves with (rotation, translation, log scale): J = sum_k (arm, 1)_k lever[k]."""
    lever = torch.zeros(4, 3, _PARAMETERS, dtype=torch.float64)
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        # e_one x e_axis = -e_two, and e_two x e_axis = e_one.
        lever[axis, two, one] = -1
        lever[axis, one, two] = 1
        lever[axis, axis, 6] = 1
        lever[3, axis, 3 + axis] = 1
    return lever
