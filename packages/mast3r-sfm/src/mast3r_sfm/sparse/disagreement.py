"""How far the network's depths contradict each other: what priors on them may be trusted with."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .objective import Objective
from .similarity import Similarities


def depth_disagreement(
    objective: Objective, canonical: Float[Tensor, "K 3"], similarities: Similarities
) -> float:
    """Median distance of matched points after the coarse stage, as a fraction of their depth.

    Good predictions come to 0.02 or less; those of the small built-in network to 0.04 and more.

    Args:
        objective: with the matches.
        canonical: (2M, 3) canonical points of all ends, in camera frames.
        similarities: of the images, from the coarse stage.

    Returns:
        The median by the matches' confidence; 0 if no pair counts as matched.
    """
    image = objective.image
    sized = similarities.log_scale[image].exp()[:, None] * canonical
    points = torch.einsum("kij,kj->ki", similarities.rotation[image], sized) + similarities.center[image]
    first, second = points.chunk(2)
    depth = sized[:, 2].reshape(2, -1).mean(0)
    relative = (first - second).norm(dim=-1) / depth.clamp_min(1e-9)
    if objective.matched is not None:
        relative = relative[objective.matched]
    if not len(relative):
        return 0.0
    order = relative.argsort()
    below = objective.weight[order].cumsum(0) < 0.5
    return float(relative[order[min(int(below.sum()), len(order) - 1)]])
