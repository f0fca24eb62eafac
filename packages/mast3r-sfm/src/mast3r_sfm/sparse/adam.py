"""Upstream's two-stage schedule with Adam, on flat tensors (spec 30 section 6.6)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection

import torch
from jaxtyping import Float
from torch import Tensor

from mast3r_model import InputError
from mast3r_sfm.progress import OnLoss

from .alignment import Alignment, StageReport
from .cameras import Cameras
from .objective import Objective
from .options import AdamOptions
from .parameters import CameraModel, Parameters, initial_parameters
from .priors import CameraPriors
from .problem import SparseProblem
from .tree import kinematic_tree

_LOG = logging.getLogger(__name__)

Loss = Callable[[Cameras, Tensor], Tensor]
#: Called with the stage's name, the iteration and their number.
Progress = Callable[[str, int, int], None]


def cosine_schedule(lr_base: float, lr_end: float, fraction: float) -> float:
    """Learning rate after a fraction of the iterations."""
    return lr_end + (lr_base - lr_end) * (1 + math.cos(math.pi * fraction)) / 2


def align_adam(
    problem: SparseProblem,
    options: AdamOptions,
    priors: CameraPriors,
    progress: Progress | None = None,
    on_coarse: Callable[[Alignment], None] | None = None,
    on_loss: OnLoss | None = None,
) -> Alignment:
    """Align with upstream's schedule.

    Known intrinsics are kept if their standard deviation is 0, and are only the start otherwise.

    Raises:
        InputError: poses are given (use the second-order solver), or the images are not connected.
    """
    if bool(priors.has_pose.any()):
        raise InputError("the solver 'adam' cannot use known poses", "use the solver 'lm'")
    tree = kinematic_tree(
        problem.match_counts(), mode=options.tree, shapes=problem.shapes, subsample=problem.subsample
    )
    model, parameters = initial_parameters(problem, tree, options, priors)
    objective = Objective.build(problem, options, options.dtype)
    solver = AdamSolver(model, parameters, options, priors)
    stages = [
        solver.run(
            "coarse",
            objective.coarse,
            ("quaternion", "translation", "log_size"),
            options.coarse_lr,
            options.coarse_iterations,
            progress,
            on_loss,
        )
    ]
    if options.fine and options.fine_iterations:
        if on_coarse is not None:
            on_coarse(Alignment.from_cameras(*solver.result, stages, "adam"))
        free = ["quaternion", "translation", "log_size", "log_focal"]
        free += ["principal_point"] * options.optimize_principal_point + ["core"] * options.optimize_depth
        stages.append(
            solver.run(
                "fine", objective.fine, free, options.fine_lr, options.fine_iterations, progress, on_loss
            )
        )
    cameras, depth = solver.result
    return Alignment.from_cameras(cameras, depth, stages, "adam")


class AdamSolver:
    """Parameters and what moves them; ``result`` is the state before the last step, as upstream's."""

    def __init__(
        self, model: CameraModel, parameters: Parameters, options: AdamOptions, priors: CameraPriors
    ) -> None:
        self.model, self.parameters, self.options = model, parameters, options
        with torch.no_grad():
            self.result = model.forward(parameters)
        self._fixed = self._fixed_entries(priors)

    def _fixed_entries(self, priors: CameraPriors) -> dict[str, Tensor]:
        device = self.model.group.device
        groups = len(self.parameters.log_focal)

        def fixed_groups(known: Tensor) -> Tensor:
            mask = torch.zeros(groups, dtype=torch.bool, device=device)
            mask[self.model.group[known.to(device)]] = True
            return mask

        root = torch.zeros(len(self.model.group), dtype=torch.bool, device=device)
        root[self.model.tree.root] = not self.options.strict_parity
        return {
            "log_focal": fixed_groups(priors.has_focal & (priors.focal_sigma == 0)),
            "principal_point": fixed_groups(priors.has_principal_point & (priors.principal_point_sigma == 0)),
            "quaternion": root,
            "translation": root,
        }

    def run(
        self,
        name: str,
        loss_of: Loss,
        free: Collection[str],
        lr: float,
        iterations: int,
        progress: Progress | None = None,
        on_loss: OnLoss | None = None,
    ) -> StageReport:
        """Minimise a loss over some of the parameters."""
        started = time.perf_counter()
        groups = []
        for key, tensor in self.parameters.named():
            tensor.requires_grad_(key in free)
            if key in free:
                shared = key in ("log_focal", "principal_point") and self.options.strict_parity
                images_per_row = len(self.model.group) / len(tensor) if shared else 1.0
                groups.append({"params": [tensor], "lr_factor": images_per_row})
        optimizer = torch.optim.Adam(groups, lr=lr, betas=(0.9, 0.9), eps=1e-8)
        losses: list[Float[Tensor, ""]] = []
        for iteration in range(iterations):
            step = cosine_schedule(lr, 0.0, iteration / iterations)
            for group in optimizer.param_groups:
                group["lr"] = step * group["lr_factor"]
            losses.append(self._iterate(loss_of, optimizer))
            if progress is not None:
                progress(name, iteration + 1, iterations)
            if on_loss is not None:
                on_loss(name, float(losses[-1]))
            if not bool(losses[-1].isfinite()):
                _LOG.warning("%s stage stopped at step %d: loss %s", name, iteration, losses[-1])
                break
        for _, tensor in self.parameters.named():
            tensor.requires_grad_(False)
        trace = torch.stack(losses).double().cpu() if losses else torch.zeros(0, dtype=torch.float64)
        return StageReport(name, trace, time.perf_counter() - started)

    def _iterate(self, loss_of: Loss, optimizer: torch.optim.Optimizer) -> Tensor:
        optimizer.zero_grad()
        self.result = self.model.forward(self.parameters)
        loss = loss_of(*self.result)
        if not bool(loss.isfinite()):
            return loss.detach()
        if loss.requires_grad:
            torch.autograd.backward(loss)
        for key, tensor in self.parameters.named():
            fixed = self._fixed.get(key)
            if fixed is not None and tensor.grad is not None:
                tensor.grad[fixed] = 0
        optimizer.step()
        with torch.no_grad():
            quaternion = self.parameters.quaternion
            quaternion /= quaternion.norm(dim=-1, keepdim=True)
        return loss.detach()
