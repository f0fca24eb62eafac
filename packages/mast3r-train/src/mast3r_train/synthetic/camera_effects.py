"""What a camera does to a picture: exposure, white balance, gamma, vignetting, blur, noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, pad


def photograph(
    image: Float[Tensor, "views 3 height width"], rngs: Sequence[np.random.Generator]
) -> Float[Tensor, "views 3 height width"]:
    """Give each view its own exposure, colours, sharpness and noise, quantised to 8 bits, in [0, 1].

    Args:
        image: ideal pictures in [0, 1].
        rngs: one generator per view.
    """
    device = image.device
    _, _, height, width = image.shape

    def per_view(values: list[float] | list[np.ndarray]) -> Tensor:
        return torch.tensor(np.asarray(values), dtype=torch.float32, device=device)

    gain = per_view([np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.05, 3)) for rng in rngs])
    gamma = per_view([np.exp(rng.normal(0, 0.15)) for rng in rngs])
    vignette = per_view([rng.uniform(0, 0.35) * (rng.random() < 0.4) for rng in rngs])
    softness = per_view([rng.uniform(0.0, 0.22) * (rng.random() < 0.5) for rng in rngs])
    grain = per_view([rng.uniform(0.0, 0.035) for rng in rngs])
    seeds = [int(rng.integers(2**31)) for rng in rngs]

    y = torch.linspace(-1, 1, height, device=device)[:, None]
    x = torch.linspace(-1, 1, width, device=device)[None, :]
    falloff = 1 - vignette[:, None, None] * (x * x + y * y) * 0.5
    exposed = image * gain[:, :, None, None] * falloff[:, None]
    toned = exposed.clamp_(1e-4, 1.0).pow_(gamma[:, None, None, None])
    planes = _blur(toned, softness)
    noise = torch.stack(
        [torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    ).to(device)
    return (planes + noise * grain[:, None, None, None]).clamp_(0, 1).mul_(255).round_().div_(255)


def _blur(planes: Tensor, softness: Float[Tensor, " views"]) -> Tensor:
    """A separable [s, 1 - 2s, s] kernel per view."""
    views, channels, _, _ = planes.shape
    kernel = torch.stack([softness, 1 - 2 * softness, softness], dim=-1).repeat_interleave(channels, 0)
    flat = rearrange(planes, "v c h w -> 1 (v c) h w")
    flat = pad(flat, (1, 1, 1, 1), mode="replicate")
    flat = conv2d(flat, kernel[:, None, None, :], groups=views * channels)
    flat = conv2d(flat, kernel[:, None, :, None], groups=views * channels)
    return rearrange(flat, "1 (v c) h w -> v c h w", v=views)
