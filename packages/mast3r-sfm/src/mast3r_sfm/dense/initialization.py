"""Where the dense alignment starts: along the best spanning tree, from known cameras, or anywhere.

Spec 30 section 9.5 and 9.6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import InputError

from .options import DenseOptions, KnownCameras
from .parameters import PRINCIPAL_POINT_UNIT, DenseParameters, encode_poses
from .problem import DenseProblem
from .registration import Similarity, register_cameras, register_points
from .single_cameras import default_focal, known_focal, pose_by_pnp, reference_focal

MIN_DEPTH = 1e-2  # of the image's median depth: what points behind their camera start from


@dataclass(frozen=True, eq=False)
class InitialScene:
    """A first guess of points and cameras.

    Attributes:
        pts3d: (images, 3, samples) in the world.
        cam2world: (images, 4, 4).
        focals: (images, 2) network pixels.
        pairwise: of every edge, from the reference camera's frame into the world.
    """

    pts3d: Float[Tensor, "images 3 samples"]
    cam2world: Float[Tensor, "images 4 4"]
    focals: Float[Tensor, "images 2"]
    pairwise: Similarity


def initialize_from_tree(
    problem: DenseProblem,
    options: DenseOptions,
    known: KnownCameras | None = None,
    *,
    pnp_iterations: int = 10,
    replay_stale_focals: bool = False,
) -> DenseParameters:
    """Place images one after another along the spanning tree of the most confident edges.

    Args:
        problem: the pointmaps; its edges must join all images.
        options: the model.
        known: cameras that are given. Two or more known poses set the world's frame and scale, a single one
            its frame alone.
        pnp_iterations: of RANSAC, for images that the tree only reaches as second view.
        replay_stale_focals: repeat upstream's mistake of taking a focal from the edge before (only to replay
            recorded runs).

    Raises:
        InputError: the edges fall into several components.
    """
    known = known or KnownCameras.none(problem.image_count, problem.edges.device)
    placed, focals, poses = _grow_tree(problem, options, known, replay_stale_focals)
    pts3d = torch.stack([placed[image] for image in range(problem.image_count)])
    for image in range(problem.image_count):
        best = _best_reference_edge(problem, image)
        if focals[image] is None and best is not None:
            focals[image] = reference_focal(problem, best, options.focal_mode)
    msk = problem.image_confidence > options.min_confidence
    for image in (image for image in range(problem.image_count) if image not in poses):
        found = pose_by_pnp(
            problem, image, pts3d[image], msk[image], focals[image], known, iterations=pnp_iterations
        )
        focals[image], poses[image] = found or (focals[image], _registered_pose(problem, image, pts3d[image]))
    cam2world = torch.stack([poses[image].to(pts3d) for image in range(problem.image_count)])
    pairwise = _register_edges(problem, pts3d, options.max_points)
    if known.has_pose.any():
        given = known.cam2world[known.has_pose].to(cam2world)
        moved = register_cameras(
            cam2world[known.has_pose], given, scale=_normalizing_factor(pairwise.scale, options)
        )
        pts3d, cam2world, pairwise = moved.points(pts3d), moved.poses(cam2world), moved.after(pairwise)
        cam2world[known.has_pose] = given
    solved = [focal or default_focal(problem, image) for image, focal in enumerate(focals)]
    scene = InitialScene(pts3d, cam2world, torch.tensor(solved).to(pts3d), pairwise)
    return parameters_of(scene, problem, options, known)


def initialize_from_known_cameras(
    problem: DenseProblem, options: DenseOptions, known: KnownCameras, *, pnp_iterations: int = 10
) -> DenseParameters:
    """Every pose and focal is known: edges' scales and the images' depths follow.

    Camera j is placed in camera i's frame by PnP on j's own pixels, focal, principal point and confidences;
    that pair of cameras, moved onto the known two, gives the edge's similarity.

    Raises:
        InputError: a pose or a focal is missing.
    """
    for name, has in (("pose", known.has_pose), ("focal", known.has_focal)):
        if not has.all():
            missing = (~has).nonzero()[:, 0].tolist()
            raise InputError(
                f"images {missing[:5]} have no known {name}, but starting from known cameras needs all",
                hint="start along the tree (init 'mst') instead",
            )
    similarities = []
    msk = problem.confidence > options.min_confidence
    for edge, (i, j) in enumerate(problem.edges.tolist()):
        focal = known_focal(known, j)
        found = pose_by_pnp(
            problem, j, problem.pts3d[edge, 1], msk[edge, 1], focal, known, iterations=pnp_iterations
        )
        pose_j = found[1].to(problem.pts3d) if found else torch.eye(4).to(problem.pts3d)
        local = torch.stack([torch.eye(4).to(pose_j), pose_j])
        similarities.append(register_cameras(local, known.cam2world[[i, j]].to(local)))
    pairwise = Similarity(
        torch.stack([s.scale for s in similarities]),
        torch.stack([s.rotation for s in similarities]),
        torch.stack([s.translation for s in similarities]),
    )
    scene = InitialScene(
        _points_of_best_edges(problem, pairwise),
        known.cam2world.to(problem.pts3d),
        known.focals.to(problem.pts3d),
        pairwise,
    )
    return parameters_of(scene, problem, options, known)


def initialize_randomly(
    problem: DenseProblem,
    options: DenseOptions,
    known: KnownCameras | None = None,
    *,
    random: Callable[..., Tensor] = torch.randn,
) -> DenseParameters:
    """Random poses and depths around 1 (upstream's start without ``init``; seldom converges).

    Args:
        problem: the pointmaps.
        options: the model.
        known: cameras that are given.
        random: draws a tensor of the shape that it is called with.
    """
    known = known or KnownCameras.none(problem.image_count, problem.edges.device)
    count, edges = problem.image_count, len(problem.edges)

    def normal(*shape: int) -> Tensor:
        return random(*shape).to(problem.pts3d)

    cam2world = torch.eye(4).to(problem.pts3d).repeat(count, 1, 1)
    focals = torch.tensor([default_focal(problem, image) for image in range(count)]).to(cam2world)
    start = InitialScene(
        pts3d=torch.zeros(count, 3, problem.pixels.shape[-1]).to(cam2world),
        cam2world=torch.where(known.has_pose[:, None, None], known.cam2world.to(cam2world), cam2world),
        focals=torch.where(known.has_focal[:, None], known.focals.to(focals), focals),
        pairwise=Similarity(torch.ones(edges), torch.eye(3).repeat(edges, 1, 1), torch.zeros(edges, 3)),
    )
    base = parameters_of(start, problem, options, known)
    poses = torch.where(known.has_pose[:, None], base.poses, normal(count, 7))
    return DenseParameters(
        pairwise=torch.cat([normal(edges, 7), torch.zeros(edges, 1).to(poses)], dim=-1),
        adaptors=base.adaptors,
        poses=poses,
        focals=base.focals,
        principal_points=base.principal_points,
        log_depths=0.1 * normal(*base.log_depths.shape),
    )


def parameters_of(
    scene: InitialScene, problem: DenseProblem, options: DenseOptions, known: KnownCameras
) -> DenseParameters:
    """The parameters that stand for a first guess, brought to the normalised scale if there is one."""
    scale = scene.pairwise.scale.to(problem.pts3d)
    factor = _normalizing_factor(scale, options)
    centers = scene.cam2world[:, :3, 3] * factor
    local = scene.cam2world[:, :3, :3].mT @ (scene.pts3d * factor - centers[:, :, None])
    rows = encode_poses(
        scene.pairwise.rotation.to(scale), scene.pairwise.translation.to(scale) / scale[:, None]
    )
    focals = options.focal_break * scene.focals.log()
    known_points = known.principal_points.to(centers)
    return DenseParameters(
        pairwise=torch.cat([rows, scale.log()[:, None]], dim=-1),
        adaptors=torch.zeros(len(scale), 2).to(scale),
        poses=encode_poses(scene.cam2world[:, :3, :3], centers),
        focals=focals if options.separate_focals else focals.mean(dim=-1, keepdim=True),
        principal_points=torch.where(
            known.has_principal_point[:, None], (known_points - problem.centers) / PRINCIPAL_POINT_UNIT, 0
        ),
        log_depths=_log_depths(local[:, 2], problem),
    )


def _normalizing_factor(scales: Float[Tensor, " edges"], options: DenseOptions) -> Float[Tensor, ""]:
    """What all lengths are multiplied with for the edges' scales to have the wanted geometric mean."""
    if options.normalize_scale is False:
        return torch.ones_like(scales[0])
    return options.base_scale / scales.log().mean().exp()


def _log_depths(depths: Tensor, problem: DenseProblem) -> Tensor:
    """Logarithms; points at or behind their camera start a little before it; padding is 0."""
    positive = problem.valid & (depths > 0)
    median = torch.where(positive, depths, torch.nan).nanmedian(dim=-1, keepdim=True).values.nan_to_num(1.0)
    return torch.where(problem.valid, torch.maximum(depths, MIN_DEPTH * median).log(), 0)


def _grow_tree(
    problem: DenseProblem, options: DenseOptions, known: KnownCameras, replay_stale_focals: bool
) -> tuple[dict[int, Tensor], list[tuple[float, float] | None], dict[int, Tensor]]:
    """Points of every image in one frame; focals and poses of those that are some tree edge's first view."""
    queue = deque(_tree_edges(problem))  # best edge on the right
    focals = [known_focal(known, image) for image in range(problem.image_count)]
    first = queue.pop()
    i, j = problem.edges[first].tolist()
    placed = {i: problem.pts3d[first, 0], j: problem.pts3d[first, 1]}
    poses = {i: torch.eye(4)}
    focals[i] = focals[i] or reference_focal(problem, first, options.focal_mode)
    previous = first
    while queue:
        edge = queue.pop()
        i, j = problem.edges[edge].tolist()
        source = previous if replay_stale_focals else edge
        focals[i] = focals[i] or reference_focal(problem, source, options.focal_mode)
        if i not in placed and j not in placed:
            queue.appendleft(edge)
            continue
        anchor = 0 if i in placed else 1
        known_image, new_image = (i, j) if i in placed else (j, i)
        moved = register_points(
            problem.pts3d[edge, anchor], placed[known_image], problem.confidence[edge, anchor]
        )
        placed[new_image] = moved.points(problem.pts3d[edge, 1 - anchor])
        if i not in poses:
            poses[i] = moved.poses(torch.eye(4).to(moved.rotation))
        previous = edge
    return placed, focals, poses


def _tree_edges(problem: DenseProblem) -> list[int]:
    """Edges of the maximum spanning tree of the edge scores, worst first."""
    count = problem.image_count
    scores = problem.edge_scores.cpu().numpy().astype(np.float64)
    edges = problem.edges.cpu().numpy()
    index = {(i, j): edge for edge, (i, j) in enumerate(edges.tolist())}
    matrix = np.zeros((count, count))
    matrix[edges[:, 0], edges[:, 1]] = -scores
    tree = scipy.sparse.csgraph.minimum_spanning_tree(scipy.sparse.csr_array(matrix)).tocoo()
    if tree.nnz != count - 1:
        number, labels = scipy.sparse.csgraph.connected_components(matrix != 0, directed=False)
        sizes = np.bincount(labels).tolist()
        raise InputError(
            f"the edges fall into {number} components of {sizes} images, expected one",
            hint="align each component on its own",
        )
    ordered = sorted(zip((-tree.data).tolist(), tree.row.tolist(), tree.col.tolist(), strict=True))
    return [index[i, j] for _, i, j in ordered]


def _best_reference_edge(problem: DenseProblem, image: int) -> int | None:
    """The best edge with this image as reference."""
    candidates = (problem.edges[:, 0] == image).nonzero()[:, 0]
    if len(candidates) == 0:
        return None
    return int(candidates[problem.edge_scores[candidates].argmax()])


def _registered_pose(problem: DenseProblem, image: int, pts3d: Tensor) -> Tensor:
    """Where PnP fails: the pose that takes the image's own best pointmap to its points; else the identity."""
    edge = _best_reference_edge(problem, image)
    if edge is None:
        return torch.eye(4)
    moved = register_points(problem.pts3d[edge, 0], pts3d, problem.confidence[edge, 0])
    return moved.poses(torch.eye(4).to(moved.rotation))


def _register_edges(problem: DenseProblem, pts3d: Tensor, max_points: int) -> Similarity:
    """Every edge's reference pointmap onto its image's points, some edges at a time."""
    at_once = max(1, max_points // problem.pts3d.shape[-1])
    parts = [
        register_points(
            problem.pts3d[start : start + at_once, 0],
            pts3d[problem.edges[start : start + at_once, 0]],
            problem.confidence[start : start + at_once, 0],
        )
        for start in range(0, len(problem.edges), at_once)
    ]
    return Similarity(
        torch.cat([part.scale for part in parts]),
        torch.cat([part.rotation for part in parts]),
        torch.cat([part.translation for part in parts]),
    )


def _points_of_best_edges(problem: DenseProblem, pairwise: Similarity) -> Tensor:
    """Every image's points in the world from its most confident map, a reference one where there is one."""
    mean = problem.confidence.sum(-1) / problem.sample_counts[problem.edges]
    points = []
    for image in range(problem.image_count):
        candidates = (problem.edges == image).nonzero()
        candidates = candidates[candidates[:, 1] == candidates[:, 1].min()]
        edge, side = candidates[mean[candidates[:, 0], candidates[:, 1]].argmax()].tolist()
        one = Similarity(pairwise.scale[edge], pairwise.rotation[edge], pairwise.translation[edge])
        points.append(one.points(problem.pts3d[edge, side]))
    return torch.stack(points)
