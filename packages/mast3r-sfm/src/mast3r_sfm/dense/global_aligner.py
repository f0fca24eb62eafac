"""Upstream's face of the dense alignment: `global_aligner(output, device, mode)` (spec 30 section 9).

New code uses `DenseProblem` and `align_dense` directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from mast3r_model import InputError

from .alignment import Start, align_dense
from .initialization import initialize_randomly
from .network_output import edges_of_output, images_of_output
from .options import ConfidenceTransform, DenseOptions, Distance, KnownCameras
from .pair_viewer import view_pair
from .parameters import DenseParameters
from .problem import DenseProblem
from .scene_aligner import SceneAligner
from .solver import Schedule

Mask: TypeAlias = slice | int | Sequence[int] | Sequence[bool] | np.ndarray | None
"""Which images: all, a slice, one, a list of indices or a list of booleans, one an image."""

_STARTS: dict[str | None, Start] = {None: "random", "mst": "tree", "msp": "tree", "known_poses": "known"}


class GlobalAlignerMode(Enum):
    """Which aligner `global_aligner` makes."""

    PointCloudOptimizer = "PointCloudOptimizer"
    ModularPointCloudOptimizer = "ModularPointCloudOptimizer"
    PairViewer = "PairViewer"


def global_aligner(
    output: Mapping[str, Any],
    device: torch.device | str,
    mode: GlobalAlignerMode = GlobalAlignerMode.PointCloudOptimizer,
    **options: Any,
) -> SceneAligner:
    """Prepare the alignment of a network's output over pairs of images.

    Args:
        output: what `mast3r_model.inference` returns: ``view1``, ``view2`` with ``idx`` and optionally
            ``img``; ``pred1`` with ``pts3d`` and ``conf``, ``pred2`` with ``pts3d_in_other_view``, ``conf``.
        device: where to compute.
        mode: which aligner.
        **options: keywords of that aligner's class.
    """
    problem = DenseProblem.from_edges(edges_of_output(output), device=device)
    scene = _CLASSES[mode](problem, **options)
    scene.imgs = images_of_output(output, problem.image_count)
    return scene


class PointCloudOptimizer(SceneAligner):
    """All images' depths and cameras, optimised together.

    Args:
        problem: the pointmaps.
        dist: of points.
        conf: transform of confidences into weights.
        min_conf_thr: raw confidence above which pixels are used for PnP and `get_masks` is true.
        base_scale: geometric mean of the edges' scales, which the scene's scale follows.
        allow_pw_adaptors: let edges stretch depth against width.
        pw_break: adaptors are divided by it.
        focal_break: focals are exp(parameter / focal_break).
        optimize_pp: let principal points move.
        fx_and_fy: fx and fy apart.
        rand_pose: draws random poses for ``init=None``.
        verbose: show progress if stderr is a terminal.
    """

    _normalization: Literal["pixels", "edges"] = "pixels"

    def __init__(
        self,
        problem: DenseProblem,
        *,
        dist: Distance = "l1",
        conf: ConfidenceTransform = "log",
        min_conf_thr: float = 3.0,
        base_scale: float = 0.5,
        allow_pw_adaptors: bool = False,
        pw_break: float = 20.0,
        focal_break: float = 20.0,
        optimize_pp: bool = False,
        fx_and_fy: bool = False,
        rand_pose: Callable[..., Tensor] = torch.randn,
        verbose: bool = True,
    ) -> None:
        options = DenseOptions(
            distance=dist,
            confidence=conf,
            normalization=self._normalization,
            min_confidence=min_conf_thr,
            base_scale=base_scale,
            allow_adaptors=allow_pw_adaptors,
            adaptor_break=pw_break,
            focal_break=focal_break,
            optimize_principal_points=optimize_pp,
            separate_focals=fx_and_fy,
            focal_mode="weiszfeld",  # as upstream
        )
        super().__init__(problem, options, verbose=verbose)
        self.rand_pose = rand_pose
        self.known = KnownCameras.none(problem.image_count, problem.edges.device)

    def preset_pose(self, known_poses: Sequence[Any], pose_msk: Mask = None) -> None:
        """Fix cameras: one cam2world (4, 4) for each image of the mask."""
        self._preset("cam2world", known_poses, pose_msk, (4, 4))

    def preset_focal(self, known_focals: Sequence[Any], msk: Mask = None) -> None:
        """Fix focals: a number or (fx, fy) for each image of the mask, network pixels."""
        self._preset("focals", known_focals, msk, (2,))

    def preset_principal_point(self, known_pp: Sequence[Any], msk: Mask = None) -> None:
        """Fix principal points: (x, y) for each image of the mask, network pixels."""
        self._preset("principal_points", known_pp, msk, (2,))

    def compute_global_alignment(  # type: ignore[override]  # the base takes any options
        self,
        init: Literal["mst", "msp", "known_poses"] | None = None,
        niter_PnP: int = 10,
        *,
        lr: float = 0.01,
        niter: int = 300,
        schedule: Schedule = "cosine",
        lr_min: float = 1e-6,
    ) -> float:
        """Align the scene.

        Args:
            init: ``mst`` starts along the spanning tree, ``known_poses`` from preset poses and focals, None
                goes on where the scene is, or at random.
            niter_PnP: iterations of RANSAC.
            lr: step of Adam at the beginning.
            niter: iterations.
            schedule: of the step.
            lr_min: step at the end.

        Returns:
            The loss before the last step.
        """
        if init not in _STARTS:
            raise InputError(f"init is {init!r}, expected mst, known_poses or None")
        start: Start | DenseParameters = _STARTS[init]
        options = replace(self.options, min_confidence=self.min_conf_thr)
        if init is None and self.alignment is not None and self.alignment.parameters is not None:
            start = self.alignment.parameters
        elif init is None:
            start = initialize_randomly(self.problem, options, self.known, random=self.rand_pose)
        with _progress(niter, self.verbose) as on_iteration:
            self.alignment = align_dense(
                self.problem,
                options=options,
                known=self.known,
                start=start,
                pnp_iterations=niter_PnP,
                iterations=niter,
                lr=lr,
                lr_min=lr_min,
                schedule=schedule,
                on_iteration=on_iteration,
            )
        losses = self.alignment.losses
        return float(losses[-1]) if len(losses) else self.alignment.final_loss

    def _preset(self, name: str, values: Sequence[Any], mask: Mask, shape: tuple[int, ...]) -> None:
        images = _image_indices(mask, self.n_imgs)
        if len(values) != len(images):
            raise InputError(f"{len(values)} known {name} for {len(images)} images")
        target: Tensor = getattr(self.known, name)
        for image, value in zip(images, values, strict=True):
            tensor = torch.as_tensor(value, dtype=target.dtype, device=target.device).detach().squeeze()
            target[image] = tensor.expand(shape) if name == "focals" else tensor.reshape(shape)


class ModularPointCloudOptimizer(PointCloudOptimizer):
    """The same with the loss averaged edge by edge; see `PointCloudOptimizer` for its arguments."""

    _normalization = "edges"


class PairViewer(SceneAligner):
    """Two images, nothing optimised; solved at once."""

    def __init__(self, problem: DenseProblem, *, min_conf_thr: float = 3.0, verbose: bool = True) -> None:
        options = DenseOptions(min_confidence=min_conf_thr, focal_mode="weiszfeld")
        super().__init__(problem, options, verbose=verbose)
        self.alignment = view_pair(problem, options)

    def get_focals(self) -> Float[Tensor, " images"]:
        """(2,) network pixels."""
        return self._aligned.intrinsics[:, 0, 0]

    def compute_global_alignment(
        self,
        init: Literal["mst", "msp", "known_poses"] | None = None,
        niter_PnP: int = 10,
        **options: Any,
    ) -> float:
        """Nothing to do; the loss is NaN."""
        return float("nan")


_CLASSES: dict[GlobalAlignerMode, type[Any]] = {
    GlobalAlignerMode.PointCloudOptimizer: PointCloudOptimizer,
    GlobalAlignerMode.ModularPointCloudOptimizer: ModularPointCloudOptimizer,
    GlobalAlignerMode.PairViewer: PairViewer,
}


def _image_indices(mask: Mask, count: int) -> list[int]:
    numbers = np.arange(count)
    if mask is None:
        return numbers.tolist()
    return np.atleast_1d(numbers[mask if isinstance(mask, slice) else np.asarray(mask)]).tolist()


@contextmanager
def _progress(iterations: int, verbose: bool) -> Iterator[Callable[[int, float], None]]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (verbose and console.is_terminal)) as progress:
        task = progress.add_task("alignment", total=iterations)

        def on_iteration(iteration: int, loss: float) -> None:
            progress.update(task, completed=iteration + 1, description=f"alignment, loss {loss:.5f}")

        yield on_iteration
