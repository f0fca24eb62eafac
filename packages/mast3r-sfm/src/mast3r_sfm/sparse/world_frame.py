"""Move a scene to where some of its cameras are known to be."""

from __future__ import annotations

import torch

from .priors import CameraPriors
from .rotations import nearest_rotation
from .similarity import Similarities


def moved_to_known_poses(scene: Similarities, priors: CameraPriors) -> Similarities:
    """Apply the similarity that brings the cameras with given poses closest to these, and put them there.

    The rotation follows the cameras' orientations; the scale the images whose scale is known, which then have
    it, else (with two or more poses) the centres' spread.
    """
    known = priors.has_pose.to(scene.center.device)
    poses = priors.cam2world.to(scene.center)[known]
    rotation = nearest_rotation((poses[:, :3, :3] @ scene.rotation[known].transpose(1, 2)).sum(0)[None])[0]
    turned = scene.center[known] @ rotation.T
    centered = turned - turned.mean(0)
    aimed = poses[:, :3, 3] - poses[:, :3, 3].mean(0)
    spread = centered.square().sum()
    scale = (centered * aimed).sum() / spread if float(spread) > 0 else torch.ones_like(spread)
    sized = priors.scale_known.to(known.device)
    if bool(sized.any()):
        scale = (-scene.log_scale[sized].median()).exp()
    scale = scale if float(scale) > 0 else torch.ones_like(scale)
    shift = poses[:, :3, 3].mean(0) - scale * turned.mean(0)
    center = scale * (scene.center @ rotation.T) + shift
    turned_all = rotation @ scene.rotation
    center[known], turned_all[known] = poses[:, :3, 3], poses[:, :3, :3]
    log_scale = torch.where(sized, torch.zeros_like(scene.log_scale), scene.log_scale + scale.log())
    return Similarities(turned_all, center, log_scale)
